"""Examination probabilities by EM on the marginal likelihood: attractiveness is integrated out."""

from dataclasses import dataclass
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from clicks.inference.anderson import Extrapolation
from clicks.inference.examination_counts import DistinctCounts
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array

# The levels of the discrete distribution of attractiveness. They are equally spaced in
# arcsin(sqrt(a)), the scale on which the standard error of a proportion is the same everywhere
# (1 / (2 sqrt(impressions))). A pair of few impressions uses a coarser grid, whose levels stand for
# two to sixteen of the finest ones: the spacing is finer than the sampling error up to 6,600
# impressions on the finest grid, and up to 25 on the coarsest.
GRIDS = (8, 16, 32, 64, 128)
FINEST = GRIDS[-1]
LEVELS = np.concatenate([np.sin(np.pi / 2 * (np.arange(n) + 0.5) / n) ** 2 for n in GRIDS])
ENDS = np.cumsum(GRIDS)
MOST_IMPRESSIONS = np.array([6_600 * (n / FINEST) ** 2 for n in GRIDS[:-1]])
NEGLIGIBLE = 20.0  # nats below the peak of a posterior
LANES = GRIDS[0]  # levels that are worked on at once, in vector instructions
CHUNKS = 16  # of distinct counts, that threads work on
NEWTON_STEPS = 4
LEAST_WEIGHT = 1e-100

Grids = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class ExaminationParameters:
    """The parameters of the marginal likelihood.

    Attributes:
        examination: P(examined) of each identified slot, in (0, 1], 1 at the first; float64, shape
            (slots,).
        level_weights: P(attractiveness = level) of the 128 levels of the finest grid, in (0, 1],
            sum 1; float64, shape (128,).
    """

    examination: Array
    level_weights: Array

    @property
    def mean_attractiveness(self) -> float:
        """The mean of the distribution of attractiveness, in (0, 1)."""
        return float(self.level_weights @ LEVELS[-FINEST:])


@dataclass(frozen=True)
class ExpectedCounts:
    """What the expectation step gives to the maximization step.

    Attributes:
        likelihood: the log marginal likelihood of the counts plus the log density of the priors,
            in nats.
        level_pairs: expected number of pairs at each level of the finest grid, float64, shape
            (128,).
        non_clicks: expected impressions without a click, by slot and by level of all grids;
            float64, shape (slots, 248).
    """

    likelihood: float
    level_pairs: Array
    non_clicks: Array


def maximize_marginal_likelihood(
    counts: DistinctCounts,
    max_iterations: int,
    tolerance: float,
    start: ExaminationParameters | None = None,
) -> tuple[ExaminationParameters, int, bool]:
    """Maximizes the marginal likelihood of the counts and the priors by EM.

    The hidden variable is the attractiveness level of each pair; the expectation step computes the
    posterior of all levels of all pairs. Each iteration starts from the Anderson extrapolation of
    the last ones, in logits of examination and logarithms of weights (`clicks.inference.anderson`);
    where that lowers the likelihood, from the end of the last iteration.

    Args:
        counts: distinct clicks and non-clicks by slot, from `gather_counts`.
        max_iterations: the largest number of EM iterations, at least 1.
        tolerance: stop when an iteration raises the mean log-likelihood of an impression by less
            than this; in nats.
        start: the initial parameters; without them, the click-through rates of the slots relative
            to the first, as if all slots showed equally attractive documents, and equal weights.

    Returns:
        The parameters, the number of iterations, and whether the tolerance was reached.
    """
    rates = (counts.slot_clicks + 1) / (counts.slot_impressions + 2)
    slots = np.append(1.0, np.clip(rates[1:] / rates[0], 0.02, 0.98))
    parameters = start or ExaminationParameters(slots, np.full(FINEST, 1 / FINEST))
    impressions, grids = counts.slot_impressions.sum(), grids_of(counts)
    extrapolation = Extrapolation(np.append(np.ones(len(slots) - 1), np.full(FINEST, 1 / FINEST)))
    likelihood, kept = -np.inf, parameters
    for iteration in range(1, max_iterations + 1):
        expected = expectation_step(parameters, counts, grids)
        gain = expected.likelihood / impressions - likelihood
        if gain < 0:
            parameters = kept
            extrapolation.forget()
            continue
        if gain < tolerance:
            return parameters, iteration, True
        likelihood = expected.likelihood / impressions
        kept = maximization_step(expected, parameters, counts)
        parameters = _parameters(extrapolation.next_start(_state(parameters), _state(kept)))
    return parameters, max_iterations, False


def grids_of(counts: DistinctCounts) -> Grids:
    """The grid that suits the impressions of each distinct counts: its range in LEVELS / LANES.

    Returns:
        The first block of LANES levels, and the one behind the last; int64, shape (distinct,).
    """
    grid = np.searchsorted(MOST_IMPRESSIONS, counts.impressions)
    return (ENDS[grid] - np.array(GRIDS)[grid]) // LANES, ENDS[grid] // LANES


def expectation_step(
    parameters: ExaminationParameters, counts: DistinctCounts, grids: Grids
) -> ExpectedCounts:
    """Sums over the posterior of the attractiveness level of all pairs, given their counts."""
    slots, weights = parameters.examination, parameters.level_weights
    level_weights = np.concatenate([weights.reshape(n, -1).sum(axis=1) for n in GRIDS])
    likelihood = np.zeros(CHUNKS)
    blocks = (len(LEVELS) // LANES, LANES)
    level_pairs = np.zeros((CHUNKS, *blocks))
    level_non_clicks = np.zeros((CHUNKS, len(slots), *blocks))
    values = Values(
        *(*grids, counts.first, counts.last, counts.clicks, counts.pairs),
        *(counts.slot, counts.non_clicks),
    )
    logs = Logarithms(
        np.log(LEVELS).reshape(blocks),
        np.log1p(-np.outer(slots, LEVELS)).reshape(-1, *blocks),
        np.log(level_weights).reshape(blocks),
    )
    for_each_part(_integrate, CHUNKS, values, logs, likelihood, level_pairs, level_non_clicks)
    share = level_pairs.sum(axis=0).ravel() / level_weights
    of_finest = sum(
        np.repeat(share[end - n : end], FINEST // n) for n, end in zip(GRIDS, ENDS, strict=True)
    )
    others = slots[1:]
    value = likelihood.sum() + counts.slot_clicks[1:] @ np.log(others)
    value += np.sum(np.log(others) + np.log1p(-others)) + np.mean(np.log(weights))
    non_clicks = level_non_clicks.sum(axis=0).reshape(len(slots), -1)
    return ExpectedCounts(float(value), weights * of_finest, non_clicks)


def maximization_step(
    expected: ExpectedCounts, parameters: ExaminationParameters, counts: DistinctCounts
) -> ExaminationParameters:
    """The parameters that maximize the expected log-likelihood of counts and levels.

    The weights are in closed form. The examination probability e of each slot maximizes

        (clicks + 1) log e + log(1 - e) + sum over levels of non-clicks * log(1 - e a),

    which is concave in the logit of e, by Newton's method.
    """
    weights = expected.level_pairs + 1 / FINEST
    e = parameters.examination[1:, None]
    non_clicks, clicks = expected.non_clicks[1:], counts.slot_clicks[1:, None] + 1
    trials = clicks + non_clicks.sum(axis=1, keepdims=True) + 1
    for _ in range(NEWTON_STEPS):
        # P(examined | no click) of an impression, by level
        unclicked = 1 - e * LEVELS
        examined = non_clicks * (e * (1 - LEVELS) / unclicked)
        slope = clicks + examined.sum(axis=1, keepdims=True) - e * trials
        bend = e * (1 - e) * trials
        bend -= (examined * ((1 - e) / unclicked)).sum(axis=1, keepdims=True)
        e = expit(np.clip(logit(e) + np.clip(slope / bend, -2, 2), -15, 15))
    return ExaminationParameters(np.append(1.0, e[:, 0]), weights / weights.sum())


def _state(parameters: ExaminationParameters) -> Array:
    """Logits of examination and logarithms of weights, shape (slots - 1 + 128,)."""
    return np.append(logit(parameters.examination[1:]), np.log(parameters.level_weights))


def _parameters(state: Array) -> ExaminationParameters:
    slots, weights = expit(np.clip(state[:-FINEST], -15, 15)), softmax(state[-FINEST:])
    return ExaminationParameters(np.append(1.0, slots), np.maximum(weights, LEAST_WEIGHT))


@compiled(inline="always")  # type: ignore[untyped-decorator]
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


class Values(NamedTuple):
    """The distinct counts of `DistinctCounts`, and the blocks of levels from `grids_of` of each."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    clicks: Array
    pairs: Array
    slot: NDArray[np.int32]
    non_clicks: Array


class Logarithms(NamedTuple):
    """Of the levels, of the chance of no click by slot and level, and of the levels' weights."""

    level: Array
    unclicked: Array
    weight: Array


@compiled(fastmath=True)  # type: ignore[untyped-decorator]
def _integrate(
    chunk: int,
    of: Values,
    logs: Logarithms,
    likelihood: Array,
    level_pairs: Array,
    level_non_clicks: Array,
) -> None:
    """Adds the likelihood, and the pairs and non-clicks by level, of a chunk of counts."""
    joint = np.empty((len(logs.level), LANES))
    for row in range(chunk, len(of.clicks), CHUNKS):
        for block in range(of.low[row], of.high[row]):
            for lane in range(LANES):
                joint[block, lane] = (
                    of.clicks[row] * logs.level[block, lane] + logs.weight[block, lane]
                )
            for seen in range(of.first[row], of.last[row]):
                at, count = of.slot[seen], of.non_clicks[seen]
                for lane in range(LANES):
                    joint[block, lane] += count * logs.unclicked[at, block, lane]
        peak = joint[of.low[row], 0]
        for block in range(of.low[row], of.high[row]):
            for lane in range(LANES):
                peak = max(peak, joint[block, lane])
        total = 0.0
        for block in range(of.low[row], of.high[row]):
            for lane in range(LANES):
                gap = joint[block, lane] - peak
                chance = _exp(max(gap, -NEGLIGIBLE))
                joint[block, lane] = chance if gap > -NEGLIGIBLE else 0.0
                total += joint[block, lane]
        likelihood[chunk] += of.pairs[row] * (peak + log(total))
        share = of.pairs[row] / total
        for block in range(of.low[row], of.high[row]):
            for lane in range(LANES):
                joint[block, lane] *= share
                level_pairs[chunk, block, lane] += joint[block, lane]
            for seen in range(of.first[row], of.last[row]):
                at, count = of.slot[seen], of.non_clicks[seen]
                for lane in range(LANES):
                    level_non_clicks[chunk, at, block, lane] += count * joint[block, lane]
