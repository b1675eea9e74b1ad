"""How much places are examined, by EM with the attractiveness of pairs integrated out."""

from dataclasses import dataclass
from math import log

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from clicks.inference.anderson import Extrapolation
from clicks.inference.examination_counts import Evidence
from clicks.log.trials import Array

# Attractiveness takes one of these values while examination is learned. They are equally spaced in
# arcsin(sqrt(a)), the scale on which the standard error of a share is the same everywhere (half
# of 1/sqrt(impressions)). Pairs of few impressions see two to sixteen neighbours as one: the
# spacing is finer than the sampling error up to 6,600 impressions on the finest grid, and up to 25
# on the coarsest.
GRIDS = (8, 16, 32, 64, 128)
FINEST = GRIDS[-1]
LEVELS = np.concatenate([np.sin(np.pi / 2 * (np.arange(n) + 0.5) / n) ** 2 for n in GRIDS])
ENDS = np.cumsum(GRIDS)
MOST_IMPRESSIONS = np.array([6_600 * (n / FINEST) ** 2 for n in GRIDS[:-1]])
NEGLIGIBLE = 20.0  # nats below the peak
LANES = GRIDS[0]  # levels that are worked on at once, in vector instructions
CHUNKS = 16  # of evidence, that threads work on
NEWTON_STEPS = 4
LEAST_WEIGHT = 1e-100

Grids = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Spread:
    """How much each place is examined, and how attractiveness spreads.

    Attributes:
        places: P(examined) of each place of the evidence, 1 at the first; shape (places,).
        weights: of each of the finest levels, summing to 1.
    """

    places: Array
    weights: Array

    @property
    def mean(self) -> float:
        """Of attractiveness."""
        return float(self.weights @ LEVELS[-FINEST:])


@dataclass(frozen=True)
class Expected:
    """What the evidence leads one to expect.

    Attributes:
        likelihood: log marginal likelihood of the evidence, and log density of the priors.
        weights: pairs of each of the finest levels, shape (128,).
        non_clicks: by place and level of all grids, shape (places, levels).
    """

    likelihood: float
    weights: Array
    non_clicks: Array


def learn_examination(
    evidence: Evidence, max_iterations: int, tolerance: float, start: Spread | None = None
) -> tuple[Spread, int, bool]:
    """Maximises the marginal likelihood of the counts.

    Hidden is the level of each pair; an iteration of EM finds the chances of all levels of all
    pairs and then the best spread for them. The next one starts from where the last few lead, in
    logits of examination and logarithms of weights (`clicks.inference.anderson`), or, where that is
    less likely than what they started from, from where the last one ended.

    Args:
        evidence: the counts.
        max_iterations: at the most.
        tolerance: end when an iteration gains less log-likelihood, an impression's mean.
        start: where to start from; without, as if all places showed equally attractive documents.

    Returns:
        The spread, the number of iterations, and whether they ended by the tolerance.
    """
    rates = (evidence.place_clicks + 1) / (evidence.place_impressions + 2)
    places = np.append(1.0, np.clip(rates[1:] / rates[0], 0.02, 0.98))
    spread = start or Spread(places, np.full(FINEST, 1 / FINEST))
    impressions, grids = evidence.place_impressions.sum(), grids_of(evidence)
    extrapolation = Extrapolation(np.append(np.ones(len(places) - 1), np.full(FINEST, 1 / FINEST)))
    likelihood, kept = -np.inf, spread
    for iteration in range(1, max_iterations + 1):
        expected = expect(spread, evidence, grids)
        gain = expected.likelihood / impressions - likelihood
        if gain < 0:
            spread = kept
            extrapolation.forget()
            continue
        if gain < tolerance:
            return spread, iteration, True
        likelihood = expected.likelihood / impressions
        kept = maximise(expected, spread, evidence)
        spread = _spread(extrapolation.onward(_state(spread), _state(kept)))
    return spread, max_iterations, False


def grids_of(evidence: Evidence) -> Grids:
    """Where in LEVELS the levels start that each piece of evidence sees, and where they end."""
    grid = np.searchsorted(MOST_IMPRESSIONS, evidence.impressions)
    return (ENDS[grid] - np.array(GRIDS)[grid]) // LANES, ENDS[grid] // LANES


def expect(spread: Spread, evidence: Evidence, grids: Grids) -> Expected:
    """The expectation step: the levels of all pairs, given their counts."""
    places, weights = spread.places, spread.weights
    level_weights = np.concatenate([weights.reshape(n, -1).sum(axis=1) for n in GRIDS])
    likelihood = np.zeros(CHUNKS)
    blocks = (len(LEVELS) // LANES, LANES)
    level_pairs = np.zeros((CHUNKS, *blocks))
    level_non_clicks = np.zeros((CHUNKS, len(places), *blocks))
    _integrate(
        *(*grids, evidence.first, evidence.last, evidence.clicks, evidence.pairs),
        *(evidence.place, evidence.non_clicks),
        *(np.log(LEVELS).reshape(blocks), np.log1p(-np.outer(places, LEVELS)).reshape(-1, *blocks)),
        np.log(level_weights).reshape(blocks),
        *(likelihood, level_pairs, level_non_clicks),
    )
    share = level_pairs.sum(axis=0).ravel() / level_weights
    of_finest = sum(
        np.repeat(share[end - n : end], FINEST // n) for n, end in zip(GRIDS, ENDS, strict=True)
    )
    others = places[1:]
    value = likelihood.sum() + evidence.place_clicks[1:] @ np.log(others)
    value += np.sum(np.log(others) + np.log1p(-others)) + np.mean(np.log(weights))
    non_clicks = level_non_clicks.sum(axis=0).reshape(len(places), -1)
    return Expected(float(value), weights * of_finest, non_clicks)


def maximise(expected: Expected, spread: Spread, evidence: Evidence) -> Spread:
    """The maximisation step: the best spread for these expectations.

    The weights are in closed form. Each place has the maximum of

        (clicks + 1) log e + log(1 - e) + sum over levels of non-clicks * log(1 - e a),

    concave in the logit of e, by Newton's method.
    """
    weights = expected.weights + 1 / FINEST
    e = spread.places[1:, None]
    non_clicks, clicks = expected.non_clicks[1:], evidence.place_clicks[1:, None] + 1
    trials = clicks + non_clicks.sum(axis=1, keepdims=True) + 1
    for _ in range(NEWTON_STEPS):
        # P(examined | no click) of an impression, by level
        unclicked = 1 - e * LEVELS
        examined = non_clicks * (e * (1 - LEVELS) / unclicked)
        slope = clicks + examined.sum(axis=1, keepdims=True) - e * trials
        bend = e * (1 - e) * trials
        bend -= (examined * ((1 - e) / unclicked)).sum(axis=1, keepdims=True)
        e = expit(np.clip(logit(e) + np.clip(slope / bend, -2, 2), -15, 15))
    return Spread(np.append(1.0, e[:, 0]), weights / weights.sum())


def _state(spread: Spread) -> Array:
    """Logits of places and logarithms of weights."""
    return np.append(logit(spread.places[1:]), np.log(spread.weights))


def _spread(state: Array) -> Spread:
    places, weights = expit(np.clip(state[:-FINEST], -15, 15)), softmax(state[-FINEST:])
    return Spread(np.append(1.0, places), np.maximum(weights, LEAST_WEIGHT))


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _exp(x: float) -> float:
    """exp(x) for -20 <= x <= 0 to 1e-8 of it: exp(x / 64), by its series, six times squared.

    A loop over it is compiled to vector instructions, one over math.exp is not.
    """
    x *= 1 / 64
    y = 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720))))))
    y *= y
    y *= y
    y *= y
    y *= y
    y *= y
    return y * y


@njit(parallel=True, cache=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _integrate(
    low: NDArray[np.int64],
    high: NDArray[np.int64],
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
    chunks = len(likelihood)
    for chunk in prange(chunks):
        joint = np.empty((len(log_level), LANES))
        for row in range(chunk, len(clicks), chunks):
            for block in range(low[row], high[row]):
                for lane in range(LANES):
                    joint[block, lane] = (
                        clicks[row] * log_level[block, lane] + log_weight[block, lane]
                    )
                for seen in range(first[row], last[row]):
                    at, count = place[seen], non_clicks[seen]
                    for lane in range(LANES):
                        joint[block, lane] += count * log_unclicked[at, block, lane]
            peak = joint[low[row], 0]
            for block in range(low[row], high[row]):
                for lane in range(LANES):
                    peak = max(peak, joint[block, lane])
            total = 0.0
            for block in range(low[row], high[row]):
                for lane in range(LANES):
                    gap = joint[block, lane] - peak
                    chance = _exp(max(gap, -NEGLIGIBLE))
                    joint[block, lane] = chance if gap > -NEGLIGIBLE else 0.0
                    total += joint[block, lane]
            likelihood[chunk] += pairs[row] * (peak + log(total))
            share = pairs[row] / total
            for block in range(low[row], high[row]):
                for lane in range(LANES):
                    joint[block, lane] *= share
                    level_pairs[chunk, block, lane] += joint[block, lane]
                for seen in range(first[row], last[row]):
                    at, count = place[seen], non_clicks[seen]
                    for lane in range(LANES):
                        level_non_clicks[chunk, at, block, lane] += count * joint[block, lane]
