"""Fits models in which a click is an examined place and an attractive document."""

from abc import abstractmethod
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

from clicks.click_log import ClickLog
from clicks.click_model import ClickModel
from clicks.pair_counts import PairCounts, count_pairs, count_places
from clicks.shrinkage import Array, PairRates, RatePrior, Trials, learn_prior
from corpus.errors import InputError

# Attractiveness takes one of these values while examination is learned. They are equally spaced in
# arcsin(sqrt(a)), the scale on which the standard error of a share is the same everywhere (half
# of 1/sqrt(impressions)), so the grid is finer than the sampling error up to 6,600 impressions of
# a document, and the coarse one up to FEW.
LEVELS = np.sin(np.pi / 2 * (np.arange(128) + 0.5) / 128) ** 2
COARSE_LEVELS = np.sin(np.pi / 2 * (np.arange(16) + 0.5) / 16) ** 2
COARSER = len(LEVELS) // len(COARSE_LEVELS)
FEW = 6_600 // COARSER**2
# Examination is learned from the pairs with the most impressions, at least so many. Which pairs
# they are does not depend on clicks, so that this loses precision, but does not bias; the pairs
# that are left out have few impressions each, which say little of examination.
MOST_PAIRS = 50_000
CHUNKS = 16  # of evidence, that threads work on
NEGLIGIBLE = 20.0  # nats below the peak
RATE_ROUNDS = 4


@dataclass(frozen=True)
class Examination:
    """What the fit of `examine` found.

    Attributes:
        places: P(examined) of each place, float64 in (0, 1], shape (places,).
        attractiveness: of each pair.
        iterations: of the optimizer.
        converged: whether it ended by the tolerance.
    """

    places: Array
    attractiveness: PairRates
    iterations: int
    converged: bool


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
    Laird, JASA 1978), of which pairs of few impressions see each eight as one. Both maximise the
    marginal likelihood of the counts, by L-BFGS on its exact gradient; pairs with equal counts
    are integrated once.

    Each pair's attractiveness is then its rate of clicks in examined impressions, shrunk as
    `clicks.shrinkage` has it. Of impressions without a click the share that was examined is

        P(examined | no click) = e (1 - a) / (1 - e a).

    The scale is set by examination[0] = 1: the first place is always examined. Two weak priors
    keep all probabilities inside (0, 1): each other place has one examined and one unexamined
    impression more than the log, and the distribution of attractiveness one document more,
    spread over the levels evenly (Jeffreys' prior, Beta(1/2, 1/2)).

    Args:
        log: the sessions.
        place: where each position is, from 0, shape of `log.pair`; beyond a page's end, any.
        places: how many places there are; those of no observation get examination 1/2.
        max_iterations: of the optimizer, at the most.
        tolerance: end when an iteration gains less log-likelihood, relative to the whole.
    """
    counts = count_pairs(log, place, places)
    evidence, occurring = _evidence(log, counts, place, places)
    rates = (evidence.place_clicks + 1) / (evidence.place_impressions + 2)
    start = np.clip(rates[1:] / rates[0], 0.02, 0.98)
    found = minimize(
        _marginal,
        np.concatenate([logit(start), np.zeros(len(LEVELS))]),
        args=(evidence,),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-15, 15)] * len(start) + [(-30, 30)] * len(LEVELS),
        options={"maxiter": max_iterations, "ftol": tolerance, "maxcor": 20},
    )
    examination = np.full(places, 0.5)
    examination[occurring] = np.append(1.0, expit(found.x[: len(start)]))
    attractiveness = _attractiveness(log, counts, examination)
    return Examination(examination, attractiveness, found.nit, bool(found.success))


class ExaminationModel(ClickModel):
    """What models share in which a click is an examined place and an attractive document."""

    numbers = ("examination_",)
    rates = ("attractiveness_",)
    examination_: Array
    attractiveness_: PairRates
    iterations_: int
    converged_: bool

    def __init__(self, max_iterations: int = 200, tolerance: float = 1e-6) -> None:
        """Sets how long to fit.

        Args:
            max_iterations: the most iterations of L-BFGS, at least 1.
            tolerance: stop once an iteration gains less log-likelihood, relative to all of it.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    @abstractmethod
    def _places(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        """The place of each position, shape of `log.pair`, and the shape of `examination_`."""

    def _fit(self, log: ClickLog) -> None:
        place, shape = self._places(log)
        count = int(np.prod(shape))
        found = examine(log, place, count, self.max_iterations, self.tolerance)
        self.examination_ = found.places.reshape(shape)
        self.attractiveness_ = found.attractiveness
        self.iterations_, self.converged_ = found.iterations, found.converged

    def _relevance(self) -> Array:
        return self.attractiveness_.pair


@dataclass(frozen=True)
class _Evidence:
    """What examination is learned from: pairs with equal counts stand side by side.

    Places that occur are numbered from 1; 0 is the first place. The non-clicks of evidence n are
    the rows first[n] to last[n]; the first `few` of it are pairs of few impressions.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    clicks: Array
    pairs: Array
    place: NDArray[np.int32]
    non_clicks: Array
    place_clicks: Array
    place_impressions: Array
    few: int


def _evidence(
    log: ClickLog, counts: PairCounts, place: NDArray[np.int32], places: int
) -> tuple[_Evidence, NDArray[np.int64]]:
    """The evidence of the pairs that are shown most, and the places that occur in it."""
    impressions = counts.pair_impressions
    if len(impressions) > MOST_PAIRS:
        least = np.partition(impressions, -MOST_PAIRS)[-MOST_PAIRS]
    else:
        least = 0.0
    chosen = impressions >= least
    place_clicks, place_impressions = count_places(log, place, places, chosen)
    # Only places that occur are worked on: few of the many that long pages could have.
    occurring = np.union1d(0, np.flatnonzero(place_impressions))
    number = np.zeros(places, dtype=np.int32)
    number[occurring] = np.arange(len(occurring))
    pairs = np.flatnonzero(chosen)
    # Evidence is told apart by a random 64-bit number for each click, and each place's non-click.
    random = np.random.default_rng(0).integers(1, 2**63, places + 1, np.uint64)
    key = _keys(
        *(pairs, counts.first, counts.last, counts.pair_clicks),
        *(counts.place, counts.non_clicks, random),
    )
    _, example, multiplicity = np.unique(key, return_index=True, return_counts=True)
    has_few = impressions[pairs[example]] <= FEW
    order = np.argsort(~has_few, kind="stable")
    example, multiplicity = example[order], multiplicity[order]
    first, last = counts.first[pairs[example]], counts.last[pairs[example]]
    row = np.repeat(first - np.append(0, np.cumsum(last - first)[:-1]), last - first)
    row += np.arange(len(row))
    ends = np.cumsum(last - first)
    evidence = _Evidence(
        first=ends - (last - first),
        last=ends,
        clicks=counts.pair_clicks[pairs[example]],
        pairs=multiplicity.astype(np.float64),
        place=number[counts.place[row]],
        non_clicks=counts.non_clicks[row],
        place_clicks=place_clicks[occurring],
        place_impressions=place_impressions[occurring],
        few=int(has_few.sum()),
    )
    return evidence, occurring


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _keys(
    pairs: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    clicks: Array,
    place: NDArray[np.int32],
    non_clicks: Array,
    random: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """A number for each pair; pairs with equal counts have the same one."""
    keys = np.empty(len(pairs), dtype=np.uint64)
    for item in prange(len(pairs)):
        pair = pairs[item]
        key = np.uint64(clicks[pair]) * random[-1]
        for row in range(first[pair], last[pair]):
            key += np.uint64(non_clicks[row]) * random[place[row]]
        keys[item] = key
    return keys


def _marginal(parameters: Array, evidence: _Evidence) -> tuple[float, Array]:
    """Minus the log marginal likelihood and priors, an impression's mean, and its gradient."""
    others = len(evidence.place_clicks) - 1
    e = np.append(1.0, expit(parameters[:others]))
    weights = softmax(parameters[others:])
    value, of_places, of_levels = 0.0, np.zeros(others + 1), np.full(len(LEVELS), 1 / len(LEVELS))
    few, coarse_weights = evidence.few, weights.reshape(-1, COARSER).sum(axis=1)
    for rows, levels, level_weights in (
        (np.s_[:few], COARSE_LEVELS, coarse_weights),
        (np.s_[few:], LEVELS, weights),
    ):
        likelihood = np.zeros(CHUNKS)
        level_pairs = np.zeros((CHUNKS, len(levels)))
        level_non_clicks = np.zeros((CHUNKS, others + 1, len(levels)))
        _integrate(
            *(evidence.first[rows], evidence.last[rows]),
            *(evidence.clicks[rows], evidence.pairs[rows]),
            *(evidence.place, evidence.non_clicks),
            *(np.log(levels), np.log1p(-np.outer(e, levels)), np.log(level_weights)),
            *(likelihood, level_pairs, level_non_clicks),
        )
        value += likelihood.sum()
        # In logits: a click gives 1 - e, and so does an examined non-click; an unexamined one, -e.
        passed_over = e[:, None] * (1 - levels) / (1 - np.outer(e, levels))
        of_places += (level_non_clicks.sum(axis=0) * passed_over).sum(axis=1)
        share = level_pairs.sum(axis=0) / level_weights
        of_levels += weights * np.repeat(share, len(LEVELS) // len(levels))
    e = e[1:]
    value += evidence.place_clicks[1:] @ np.log(e) + np.sum(np.log(e) + np.log1p(-e))
    value += np.mean(np.log(weights))
    of_places = of_places[1:] + evidence.place_clicks[1:] + 1
    of_places -= e * (evidence.place_impressions[1:] + 2)
    of_levels -= of_levels.sum() * weights
    impressions = evidence.place_impressions.sum()
    return -value / impressions, -np.append(of_places, of_levels) / impressions


@njit(parallel=True, cache=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _integrate(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    clicks: Array,
    pairs: Array,
    place: NDArray[np.int32],
    non_clicks: Array,
    log_level: Array,
    log_unclicked: Array,
    log_weight: Array,
    likelihood: Array,
    level_pairs: Array,
    level_non_clicks: Array,
) -> None:
    """Adds, for each chunk of evidence, its likelihood and its pairs and non-clicks by level."""
    chunks, levels = len(likelihood), len(log_level)
    for chunk in prange(chunks):
        joint = np.empty(levels)
        for row in range(chunk, len(clicks), chunks):
            for level in range(levels):
                joint[level] = clicks[row] * log_level[level] + log_weight[level]
            for seen in range(first[row], last[row]):
                unclicked, count = log_unclicked[place[seen]], non_clicks[seen]
                for level in range(levels):
                    joint[level] += count * unclicked[level]
            peak = joint.max()
            total = 0.0
            for level in range(levels):
                gap = joint[level] - peak
                joint[level] = exp(gap) if gap > -NEGLIGIBLE else 0.0
                total += joint[level]
            likelihood[chunk] += pairs[row] * (peak + log(total))
            share = pairs[row] / total
            for level in range(levels):
                joint[level] *= share
                level_pairs[chunk, level] += joint[level]
            for seen in range(first[row], last[row]):
                sums, count = level_non_clicks[chunk, place[seen]], non_clicks[seen]
                for level in range(levels):
                    sums[level] += count * joint[level]


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
        if prior is None or rounds < 2:
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
