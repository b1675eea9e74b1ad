"""What models share in which a click needs an examined slot and an attractive document."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clicks.inference.examination_counts import DistinctCounts, gather_counts
from clicks.inference.examination_em import ExaminationParameters, maximize_marginal_likelihood
from clicks.inference.graded_prior import GradedPrior, learn_pair_prior
from clicks.inference.identification import Identified, identify_slots
from clicks.inference.rate_prior import FIRST_TO_LEARN_FROM, PairRates, RatePrior
from clicks.log.click_log import ClickLog
from clicks.log.large_arrays import large_zeros
from clicks.log.pair_counts import CHUNKS, NonClicks, PairCounts, count_by_slot, count_pairs
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array
from clicks.models.base import ClickModel
from corpus.errors import InputError

RATE_ROUNDS = 3


@dataclass(frozen=True)
class ExaminationFit:
    """What `fit_examination` found.

    Attributes:
        examination: P(examined) of each slot, float64 in (0, 1], shape (slots,); NaN where the log
            does not identify it.
        assumed: the same, but where the log does not identify it, the probability under which
            documents there are as attractive as the average document; in (0, 1], shape (slots,).
        attractiveness: posterior mean attractiveness of each pair, given `assumed`.
        prior: the prior of attractiveness that was learned.
        iterations: the number of EM iterations.
        converged: whether the tolerance was reached.
    """

    examination: Array
    assumed: Array
    attractiveness: PairRates
    prior: RatePrior | GradedPrior
    iterations: int
    converged: bool


@dataclass(frozen=True)
class LearnedExamination:
    """Examination probabilities, and the counts that they were learned from.

    Attributes:
        counts: clicks and non-clicks of all pairs.
        identified: which slots the log identifies.
        distinct: the distinct counts of the pairs that examination was learned from.
        parameters: the parameters that maximize the marginal likelihood; of identified slots only.
        iterations: the number of EM iterations.
        converged: whether the tolerance was reached.
    """

    counts: PairCounts
    identified: Identified
    distinct: DistinctCounts
    parameters: ExaminationParameters
    iterations: int
    converged: bool

    @property
    def examination(self) -> Array:
        """P(examined) of each slot, NaN where the log does not identify it; shape (slots,)."""
        examination = np.full(len(self.identified.slots), np.nan)
        examination[self.identified.slots] = self.parameters.examination
        return examination


def check_fitting(max_iterations: int, tolerance: float) -> tuple[int, float]:
    """Gives back the stopping rule of a fit as it is.

    Raises:
        InputError: max_iterations is below 1, or tolerance is negative or NaN.
    """
    if max_iterations < 1:
        raise InputError(f"max_iterations must be at least 1, not {max_iterations}")
    if not tolerance >= 0:
        raise InputError(f"tolerance must be at least 0, not {tolerance}")
    return max_iterations, tolerance


def fit_examination(
    log: ClickLog, slot: NDArray[np.int32], slots: int, max_iterations: int, tolerance: float
) -> ExaminationFit:
    """Fits P(click) = examination[slot] * attractiveness[pair].

    Most pairs of a log have few impressions. EM for the joint maximum replaces their attractiveness
    by a noisy estimate, which makes slots look more examined than they are. So attractiveness is
    integrated out while examination is learned, and its distribution is learned with it: a weight
    for each of 128 levels (the nonparametric maximum likelihood estimate; Laird, JASA 1978); pairs
    of few impressions use a coarser grid. Both maximize the marginal likelihood of the counts, by
    EM (`clicks.inference.examination_em`).

    The attractiveness of each pair is then the posterior mean of its clicks per examined
    impression, under the prior of `clicks.inference.rate_prior`, or where a judge has graded pairs
    that of `clicks.inference.graded_prior`. Of impressions without a click,
    the expected share that was examined is

        P(examined | no click) = e (1 - a) / (1 - e a).

    The scale is set by examination[0] = 1: the first slot is always examined. Two weak priors keep
    all probabilities inside (0, 1): one examined and one unexamined impression for each other slot,
    and one document spread evenly over the levels (Jeffreys' prior, Beta(1/2, 1/2)).

    Slots that no chain of clicked pairs links to the first one, and slots without clicks, take no
    part in that (`clicks.inference.identification`).

    Args:
        log: the encoded sessions.
        slot: examination slot of each result, from 0, int32, shape (results,).
        slots: the number of slots.
        max_iterations: the largest number of EM iterations, at least 1.
        tolerance: stop when an iteration raises the mean log-likelihood of an impression by less
            than this; in nats.
    """
    found = learn_examination(log, slot, slots, max_iterations, tolerance)
    assumed = found.examination
    if (unknown := ~found.identified.slots).any():
        every_pair = np.zeros(len(log.pairs.query), dtype=np.uint8)
        [clicks], [impressions] = count_by_slot(log, slot, slots, every_pair, 1)
        rate = (clicks + 1) / (impressions * found.parameters.mean_attractiveness + 2)
        assumed[unknown] = np.minimum(rate[unknown], 1.0)
    attractiveness, prior = _attractiveness(log, found.counts, assumed)
    return ExaminationFit(
        found.examination, assumed, attractiveness, prior, found.iterations, found.converged
    )


def learn_examination(
    log: ClickLog, slot: NDArray[np.int32], slots: int, max_iterations: int, tolerance: float
) -> LearnedExamination:
    """Learns the examination probabilities of `fit_examination`, whose arguments it takes."""
    counts = count_pairs(log, slot, slots)
    identified = identify_slots(log, slot, slots, counts.pair_clicks)
    distinct = gather_counts(log, counts, slot, identified)
    return LearnedExamination(
        *(counts, identified, distinct),
        *maximize_marginal_likelihood(distinct, max_iterations, tolerance),
    )


def _attractiveness(
    log: ClickLog, counts: PairCounts, examination: Array
) -> tuple[PairRates, RatePrior | GradedPrior]:
    pairs = len(counts.pair_clicks)
    attractiveness = large_zeros(pairs, np.float64)
    attractiveness[:] = 0.5
    non_clicks = NonClicks(counts.first, counts.last, counts.slot, counts.non_clicks)
    prior: RatePrior | GradedPrior | None = None
    for rounds in range(RATE_ROUNDS):
        examined = large_zeros(pairs, np.float64)
        for_each_part(
            _examine_non_clicks, CHUNKS, non_clicks, examination, attractiveness, examined
        )
        examined += counts.pair_clicks
        known = log.pairs.trials(counts.pair_clicks, examined)
        if prior is None:
            prior = learn_pair_prior(known, most=FIRST_TO_LEARN_FROM)
        elif rounds == 1:
            prior = learn_pair_prior(known, prior)
        rates = prior.rates(known)
        attractiveness = rates.pair
    assert prior is not None
    return rates, prior


@compiled()  # type: ignore[untyped-decorator]
def _examine_non_clicks(
    chunk: int, of: NonClicks, examination: Array, attractiveness: Array, examined: Array
) -> None:
    """Writes into `examined` how many non-clicks of each pair are expected to be examined."""
    pairs = len(of.first)
    for pair in range(chunk * pairs // CHUNKS, (chunk + 1) * pairs // CHUNKS):
        a, total = attractiveness[pair], 0.0
        for row in range(of.first[pair], of.last[pair]):
            e = examination[of.slot[row]]
            total += of.non_clicks[row] * e / (1 - e * a)
        examined[pair] = total * (1 - a)


class ExaminationModel(ClickModel):
    """A click is an examined slot and an attractive document.

        P(click on d in slot s for q) = examination[s] * attractiveness[q, d]

    Subclasses define the slots: the positions, or positions and last clicks.
    """

    numbers = ("examination_", "assumed_examination_")
    rates = ("attractiveness_",)
    examination_: Array
    assumed_examination_: Array
    attractiveness_: PairRates
    iterations_: int
    converged_: bool

    def __init__(self, max_iterations: int = 200, tolerance: float = 1e-6) -> None:
        """Sets the stopping rule of EM.

        Args:
            max_iterations: the largest number of EM iterations, at least 1.
            tolerance: stop when an iteration raises the mean log-likelihood of an impression by
                less than this; in nats, at least 0.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    @abstractmethod
    def _slots(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        """The slot of each result, int32, shape (results,), and the shape of `examination_`."""

    def _fit(self, log: ClickLog) -> None:
        slot, shape = self._slots(log)
        count = int(np.prod(shape))
        found = fit_examination(log, slot, count, self.max_iterations, self.tolerance)
        self.examination_ = found.examination.reshape(shape)
        self.assumed_examination_ = found.assumed.reshape(shape)
        self.attractiveness_, self.prior_ = found.attractiveness, found.prior
        self.iterations_, self.converged_ = found.iterations, found.converged

    @property
    def unidentified_positions(self) -> NDArray[np.int64]:
        """The positions, from 1, of which the log identifies no examination probability; sorted."""
        unknown = np.isnan(self.examination_)
        return np.flatnonzero(unknown.reshape(len(unknown), -1).all(axis=1)) + 1

    def _relevance(self) -> Array:
        return self.attractiveness_.pair
