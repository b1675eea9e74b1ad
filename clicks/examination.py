"""Fits models in which a click is an examined place and an attractive document."""

from abc import abstractmethod
from dataclasses import dataclass
from math import exp, log

import numpy as np
import pandas as pd
from numba import njit, prange
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

from clicks.click_log import ClickLog
from clicks.click_model import ClickModel
from clicks.shrinkage import Array, PairRates, Trials, learn_prior, total
from corpus.errors import InputError

# Attractiveness takes one of these values while examination is learned. They are equally spaced in
# arcsin(sqrt(a)), the scale on which the standard error of a share is the same everywhere (half
# of 1/sqrt(impressions)), so the grid is finer than the sampling error up to about 4,000
# impressions of a document.
LEVELS = np.sin(np.pi / 2 * (np.arange(100) + 0.5) / 100) ** 2
CHUNKS = 16  # of evidence, that threads work on
NEGLIGIBLE = 20.0  # nats below the peak
RATE_ROUNDS = 10


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
    log: ClickLog, place: NDArray[np.int64], places: int, max_iterations: int, tolerance: float
) -> Examination:
    """Fits P(click) = examination[place] * attractiveness[pair].

    Most pairs of a log are seen a few times. EM for the joint maximum puts an estimate of their
    attractiveness in its place, which makes places look more examined than they are. So
    attractiveness is integrated out while examination is learned, and its distribution is
    learned along: a weight for each of 100 levels (the nonparametric maximum likelihood estimate;
    Laird, JASA 1978). Both maximise the marginal likelihood of the counts, by L-BFGS on its exact
    gradient; pairs with equal counts are integrated once.

    Each pair's attractiveness is then its rate of clicks in examined impressions, shrunk as
    `clicks.shrinkage` has it. Of impressions without a click the share that was examined is

        P(examined | no click) = e (1 - a) / (1 - e a).

    The scale is set by examination[0] = 1: the first place is always examined. Two weak priors
    keep all probabilities inside (0, 1): each other place has one examined and one unexamined
    impression more than the log, and the distribution of attractiveness one document more,
    spread over the levels evenly (Jeffreys' prior, Beta(1/2, 1/2)).

    Args:
        log: the sessions.
        place: where each document that is shown stands, from 0; shape (documents shown,), in the
            order of `log.pair[log.shown]`.
        places: how many places there are; those of no observation get examination 1/2.
        max_iterations: of the optimizer, at the most.
        tolerance: end when an iteration gains less log-likelihood, relative to the whole.
    """
    # Only places that occur are worked on: few of the many that long pages could have.
    occurring, place = np.unique(np.append(0, place), return_inverse=True)
    counts = _count(log, place[1:], len(occurring))
    evidence = _distinct_evidence(counts)
    rates = (counts.place_clicks + 1) / (counts.place_impressions + 2)
    start = np.clip(rates[1:] / rates[0], 0.02, 0.98)
    found = minimize(
        _marginal,
        np.concatenate([logit(start), np.zeros(len(LEVELS))]),
        args=(counts, evidence, log.sessions.sum()),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-15, 15)] * len(start) + [(-30, 30)] * len(LEVELS),
        options={"maxiter": max_iterations, "ftol": tolerance, "maxcor": 20},
    )
    of_occurring = np.append(1.0, expit(found.x[: len(start)]))
    attractiveness = _attractiveness(log, counts, of_occurring)
    examination = np.full(places, 0.5)
    examination[occurring] = of_occurring
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
    def _places(self, log: ClickLog) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        """The place of each position, shape of `log.pair`, and the shape of `examination_`."""

    def _fit(self, log: ClickLog) -> None:
        place, shape = self._places(log)
        count = int(np.prod(shape))
        found = examine(log, place[log.shown], count, self.max_iterations, self.tolerance)
        self.examination_ = found.places.reshape(shape)
        self.attractiveness_ = found.attractiveness
        self.iterations_, self.converged_ = found.iterations, found.converged

    def _relevance(self) -> Array:
        return self.attractiveness_.pair


@dataclass(frozen=True)
class _Counts:
    """Clicks of pairs and places; the non-clicks of pair p are the rows first[p] to first[p+1]."""

    pair_clicks: Array
    place_clicks: Array
    place_impressions: Array
    first: NDArray[np.int64]
    place: NDArray[np.int64]
    non_clicks: Array


@dataclass(frozen=True)
class _Evidence:
    """What some pairs have in common: clicks, non-clicks by place, and how many pairs they are."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    clicks: Array
    pairs: Array


def _count(log: ClickLog, place: NDArray[np.int64], places: int) -> _Counts:
    shown, count = log.shown, len(log.pairs.query)
    pair, clicked = log.pair[shown], log.clicks[shown]
    impressions = np.broadcast_to(log.sessions[:, None], shown.shape)[shown]
    code, distinct = pd.factorize(pair[~clicked] * places + place[~clicked])
    order = np.argsort(distinct)
    distinct = distinct[order]
    return _Counts(
        pair_clicks=total(pair[clicked], impressions[clicked], count),
        place_clicks=total(place[clicked], impressions[clicked], places),
        place_impressions=total(place, impressions, places),
        first=np.searchsorted(distinct, np.arange(count + 1) * places),
        place=distinct % places,
        non_clicks=total(code, impressions[~clicked], len(distinct))[order],
    )


def _distinct_evidence(counts: _Counts) -> _Evidence:
    # Evidence is told apart by a random 64-bit number for each click, and each place's non-click.
    random = np.random.default_rng(0).integers(1, 2**63, len(counts.place_clicks) + 1, np.uint64)
    rows = counts.non_clicks.astype(np.uint64) * random[counts.place]
    of_pair = np.append(np.uint64(0), np.cumsum(rows))[counts.first]
    key = np.diff(of_pair) + counts.pair_clicks.astype(np.uint64) * random[-1]
    kind, distinct = pd.factorize(key)
    example = np.empty(len(distinct), dtype=np.int64)
    example[kind] = np.arange(len(kind))
    return _Evidence(
        first=counts.first[example],
        last=counts.first[example + 1],
        clicks=counts.pair_clicks[example],
        pairs=np.bincount(kind).astype(np.float64),
    )


def _marginal(
    parameters: Array, counts: _Counts, evidence: _Evidence, sessions: float
) -> tuple[float, Array]:
    """Minus the log marginal likelihood and priors, a session's mean, and its gradient."""
    others = len(counts.place_clicks) - 1
    e = expit(parameters[:others])
    weights = softmax(parameters[others:])
    likelihood = np.zeros(CHUNKS)
    level_pairs = np.zeros((CHUNKS, len(LEVELS)))
    level_non_clicks = np.zeros((CHUNKS, others + 1, len(LEVELS)))
    _integrate(
        *(evidence.first, evidence.last, evidence.clicks, evidence.pairs),
        *(counts.place, counts.non_clicks),
        *(np.log(LEVELS), np.log1p(-np.outer(np.append(1.0, e), LEVELS)), np.log(weights)),
        *(likelihood, level_pairs, level_non_clicks),
    )
    value = (
        likelihood.sum()
        + counts.place_clicks[1:] @ np.log(e)
        + np.sum(np.log(e) + np.log1p(-e))
        + np.mean(np.log(weights))
    )
    # In logits: a click gives 1 - e, and so does an examined non-click; an unexamined one, -e.
    passed_over = e[:, None] * (1 - LEVELS) / (1 - np.outer(e, LEVELS))
    examined = (level_non_clicks.sum(axis=0)[1:] * passed_over).sum(axis=1)
    of_places = counts.place_clicks[1:] + examined + 1 - e * (counts.place_impressions[1:] + 2)
    of_levels = level_pairs.sum(axis=0) + 1 / len(LEVELS)
    of_levels -= of_levels.sum() * weights
    return -value / sessions, -np.append(of_places, of_levels) / sessions


@njit(parallel=True, cache=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _integrate(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    clicks: Array,
    pairs: Array,
    place: NDArray[np.int64],
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


def _attractiveness(log: ClickLog, counts: _Counts, examination: Array) -> PairRates:
    document, documents = log.pairs.document, len(log.pairs.documents)
    pair = np.repeat(np.arange(len(counts.pair_clicks)), np.diff(counts.first))
    e = examination[counts.place]
    attractiveness = np.full(len(counts.pair_clicks), 0.5)
    for rounds in range(RATE_ROUNDS):
        a = attractiveness[pair]
        examined = counts.non_clicks * e * (1 - a) / (1 - e * a)
        trials = counts.pair_clicks + total(pair, examined, len(attractiveness))
        known = Trials(counts.pair_clicks, trials, document, documents)
        if rounds in (0, RATE_ROUNDS // 2):
            prior = learn_prior(known)
        rates = prior.rates(known)
        attractiveness = rates.pair
    return rates
