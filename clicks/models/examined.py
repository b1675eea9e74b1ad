"""Fits models in which a click is an examined place and an attractive document."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.inference.examination_counts import Evidence, gather_evidence
from clicks.inference.examination_em import Spread, learn_examination
from clicks.inference.identification import Identified, identify_places
from clicks.inference.rate_prior import FIRST_TO_LEARN_FROM, PairRates, RatePrior, learn_prior
from clicks.log.click_log import ClickLog
from clicks.log.pair_counts import PairCounts, count_pairs, count_places
from clicks.log.trials import Array, Trials
from clicks.models.base import ClickModel
from corpus.errors import InputError

RATE_ROUNDS = 3


@dataclass(frozen=True)
class Examination:
    """What the fit of `examine` found.

    Attributes:
        places: P(examined) of each place, float64 in (0, 1], shape (places,); NaN where the log
            does not tell it.
        assumed: the same, but where the log does not tell it, what it would be if documents there
            were as attractive as those of all places.
        attractiveness: of each pair, with what is assumed.
        iterations: of EM.
        converged: whether it ended by the tolerance.
    """

    places: Array
    assumed: Array
    attractiveness: PairRates
    iterations: int
    converged: bool


@dataclass(frozen=True)
class LearnedPlaces:
    """How much places are examined, and what that was learned from.

    Attributes:
        counts: of pairs.
        identified: what the log tells.
        evidence: the counts that it was learned from.
        spread: what was found: of the places that the log tells of.
        iterations: of EM.
        converged: whether it ended by the tolerance.
    """

    counts: PairCounts
    identified: Identified
    evidence: Evidence
    spread: Spread
    iterations: int
    converged: bool

    @property
    def places(self) -> Array:
        """P(examined) of each place, NaN where the log does not tell it."""
        places = np.full(len(self.identified.places), np.nan)
        places[self.identified.places] = self.spread.places
        return places


def check_fitting(max_iterations: int, tolerance: float) -> tuple[int, float]:
    """Refuses, with an InputError, limits that no fit can keep."""
    if max_iterations < 1:
        raise InputError(f"max_iterations must be at least 1, not {max_iterations}")
    if not tolerance >= 0:
        raise InputError(f"tolerance must be at least 0, not {tolerance}")
    return max_iterations, tolerance


def examine(
    log: ClickLog, place: NDArray[np.int32], places: int, max_iterations: int, tolerance: float
) -> Examination:
    """Fits P(click) = examination[place] * attractiveness[pair].

    Most pairs of a log are seen a few times. EM for the joint maximum puts an estimate of their
    attractiveness in its place, which makes places look more examined than they are. So
    attractiveness is integrated out while examination is learned, and its distribution is
    learned along: a weight for each of 128 levels (the nonparametric maximum likelihood estimate;
    Laird, JASA 1978), of which pairs of few impressions see up to sixteen as one. Both maximise
    the marginal likelihood of the counts, by EM (`clicks.inference.examination_em`); pairs with
    equal counts are integrated once.

    Each pair's attractiveness is then its rate of clicks in examined impressions, shrunk as
    `clicks.inference.rate_prior` has it. Of impressions without a click the share that was examined
    is

        P(examined | no click) = e (1 - a) / (1 - e a).

    The scale is set by examination[0] = 1: the first place is always examined. Two weak priors
    keep all probabilities inside (0, 1): each other place has one examined and one unexamined
    impression more than the log, and the distribution of attractiveness one document more,
    spread over the levels evenly (Jeffreys' prior, Beta(1/2, 1/2)).

    Places that no chain of clicked pairs links to the first one, and places that nobody clicks,
    have no part in that (`clicks.inference.identification`).

    Args:
        log: the sessions.
        place: where each result is, from 0, shape of `log.pair`.
        places: how many places there are.
        max_iterations: of EM, at the most.
        tolerance: end when an iteration gains less log-likelihood, an impression's mean.
    """
    found = learn_places(log, place, places, max_iterations, tolerance)
    assumed = found.places
    if (untold := ~found.identified.places).any():
        every_pair = np.zeros(len(log.pairs.query), dtype=np.uint8)
        [clicks], [impressions] = count_places(log, place, places, every_pair, 1)
        rate = (clicks + 1) / (impressions * found.spread.mean + 2)
        assumed[untold] = np.minimum(rate[untold], 1.0)
    attractiveness = _attractiveness(log, found.counts, assumed)
    return Examination(found.places, assumed, attractiveness, found.iterations, found.converged)


def learn_places(
    log: ClickLog, place: NDArray[np.int32], places: int, max_iterations: int, tolerance: float
) -> LearnedPlaces:
    """The part of `examine` that learns how much places are examined."""
    counts = count_pairs(log, place, places)
    identified = identify_places(log, place, places, counts.pair_clicks)
    evidence = gather_evidence(log, counts, place, identified)
    return LearnedPlaces(
        *(counts, identified, evidence),
        *learn_examination(evidence, max_iterations, tolerance),
    )


def _attractiveness(log: ClickLog, counts: PairCounts, examination: Array) -> PairRates:
    document, documents = log.pairs.document, len(log.pairs.documents)
    attractiveness = np.full(len(counts.pair_clicks), 0.5)
    prior: RatePrior | None = None
    for rounds in range(RATE_ROUNDS):
        examined = np.empty_like(attractiveness)
        _examine_non_clicks(
            *(counts.first, counts.last, counts.place, counts.non_clicks),
            *(examination, attractiveness, examined),
        )
        known = Trials(counts.pair_clicks, counts.pair_clicks + examined, document, documents)
        if prior is None:
            prior = learn_prior(known, most=FIRST_TO_LEARN_FROM)
        elif rounds == 1:
            prior = learn_prior(known, prior)
        rates = prior.rates(known)
        attractiveness = rates.pair
    return rates


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _examine_non_clicks(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    place: NDArray[np.int32],
    non_clicks: Array,
    examination: Array,
    attractiveness: Array,
    examined: Array,
) -> None:
    """How many non-clicks of each pair were examined, as is expected."""
    for pair in prange(len(first)):
        a, total = attractiveness[pair], 0.0
        for row in range(first[pair], last[pair]):
            e = examination[place[row]]
            total += non_clicks[row] * e / (1 - e * a)
        examined[pair] = total * (1 - a)


class ExaminationModel(ClickModel):
    """What models share in which a click is an examined place and an attractive document."""

    numbers = ("examination_", "assumed_examination_")
    rates = ("attractiveness_",)
    examination_: Array
    assumed_examination_: Array
    attractiveness_: PairRates
    iterations_: int
    converged_: bool

    def __init__(self, max_iterations: int = 200, tolerance: float = 1e-6) -> None:
        """Sets how long to fit.

        Args:
            max_iterations: the most iterations of EM, at least 1.
            tolerance: stop once an iteration gains less log-likelihood, an impression's mean.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    @abstractmethod
    def _places(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        """The place of each result, shape of `log.pair`, and the shape of `examination_`."""

    def _fit(self, log: ClickLog) -> None:
        place, shape = self._places(log)
        count = int(np.prod(shape))
        found = examine(log, place, count, self.max_iterations, self.tolerance)
        self.examination_ = found.places.reshape(shape)
        self.assumed_examination_ = found.assumed.reshape(shape)
        self.attractiveness_ = found.attractiveness
        self.iterations_, self.converged_ = found.iterations, found.converged

    @property
    def untold(self) -> NDArray[np.int64]:
        """The positions, from 1, of which the log tells no examination."""
        unknown = np.isnan(self.examination_)
        return np.flatnonzero(unknown.reshape(len(unknown), -1).all(axis=1)) + 1

    def _relevance(self) -> Array:
        return self.attractiveness_.pair
