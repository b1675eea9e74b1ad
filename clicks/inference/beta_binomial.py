"""The beta-binomial log-likelihood of pairs and documents under a two-level prior."""

from math import log
from typing import NamedTuple

import numpy as np

from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array

CHUNKS = 16  # of pairs, that threads work on
LARGE = 8.0  # from here on, both asymptotic series are exact to 1e-11


@compiled()  # type: ignore[untyped-decorator]
def log_gamma_and_slope(x: float) -> tuple[float, float]:
    """log Gamma(x) and its derivative, the digamma function, for x > 0.

    By asymptotic series (Abramowitz & Stegun, 6.1.40 and 6.3.18) of a large argument, to which
    Gamma(x + 1) = x Gamma(x) leads.
    """
    product, its_slope = 1.0, 0.0
    while x < LARGE:
        its_slope = its_slope * x + product
        product *= x
        x += 1
    inverse = 1 / x
    square = inverse * inverse
    log_x = log(x)
    value = (x - 0.5) * log_x - x + 0.9189385332046727 - log(product)
    value += inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    slope = log_x - 0.5 * inverse - its_slope / product
    slope -= square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    return value, slope


@compiled()  # type: ignore[untyped-decorator]
def _beta_binomial(
    successes: float, misses: float, expected: float, strength: float
) -> tuple[float, float, float]:
    """The log-likelihood, and its derivatives by `expected` and by `strength`."""
    alpha = expected * strength
    beta = strength - alpha
    likelihood = of_alpha = of_beta = 0.0
    if successes > 0:
        after, slope_after = log_gamma_and_slope(alpha + successes)
        before, slope = log_gamma_and_slope(alpha)
        likelihood, of_alpha = after - before, slope_after - slope
    if misses > 0:
        after, slope_after = log_gamma_and_slope(beta + misses)
        before, slope = log_gamma_and_slope(beta)
        likelihood, of_beta = likelihood + after - before, slope_after - slope
    after, slope_after = log_gamma_and_slope(strength + successes + misses)
    before, slope = log_gamma_and_slope(strength)
    of_expected = strength * (of_alpha - of_beta)
    of_strength = expected * of_alpha + (1 - expected) * of_beta + slope - slope_after
    return likelihood + before - after, of_expected, of_strength


class PairTrials(NamedTuple):
    """Successes and trials of pairs and of the other pairs of their documents."""

    successes: Array
    trials: Array
    other_successes: Array
    other_trials: Array


class TwoLevels(NamedTuple):
    """The parameters of the prior."""

    mean: float
    document_strength: float
    pair_strength: float


def two_level_likelihood(
    successes: Array,
    trials: Array,
    other_successes: Array,
    other_trials: Array,
    mean: float,
    document_strength: float,
    pair_strength: float,
) -> Array:
    """Log-likelihood of each pair's successes, given those of the other pairs of its document.

    With an infinite `pair_strength`, and without other pairs, it is the likelihood of documents.

    Args:
        successes: successes of each pair, float64, at least 0, shape (pairs,). Expected successes
            need not be whole.
        trials: trials of each pair, float64, shape (pairs,); fewer than its successes count as
            many.
        other_successes: successes of the other pairs of the same document, shape (pairs,).
        other_trials: trials of the other pairs of the same document, at least their successes,
            shape (pairs,).
        mean: mean of all rates, in (0, 1); as in `clicks.inference.rate_prior.RatePrior`.
        document_strength: strength of the prior of document rates, in trials, above 0.
        pair_strength: strength of the prior of pair rates, in trials, above 0.

    Returns:
        The log-likelihood in nats, and its derivatives by the mean and by the logarithms of
        document_strength and pair_strength; float64, shape (4,).
    """
    sums = np.zeros((CHUNKS, 4))
    pairs = PairTrials(successes, trials, other_successes, other_trials)
    prior = TwoLevels(float(mean), float(document_strength), float(pair_strength))
    for_each_part(_add_two_levels, CHUNKS, pairs, prior, sums)
    return np.asarray(sums.sum(axis=0))


@compiled()  # type: ignore[untyped-decorator]
def _add_two_levels(chunk: int, pairs: PairTrials, prior: TwoLevels, sums: Array) -> None:
    """Writes the likelihood and its slopes of a chunk of pairs into its row of `sums`."""
    of_chunk, within = sums[chunk], 1 / (prior.pair_strength + 1)
    for row in range(
        chunk * len(pairs.successes) // CHUNKS, (chunk + 1) * len(pairs.successes) // CHUNKS
    ):
        others = pairs.other_trials[row] + prior.document_strength
        expected = (pairs.other_successes[row] + prior.mean * prior.document_strength) / others
        # The strength of the prior of this pair: see `rate_prior._rate_pairs`.
        between = (1 - within) / (others + 1)
        spread = within + between
        strength = 1 / spread - 1
        likelihood, of_expected, of_strength = _beta_binomial(
            pairs.successes[row],
            max(pairs.trials[row] - pairs.successes[row], 0.0),
            expected,
            strength,
        )
        of_strength /= spread * spread
        of_chunk[0] += likelihood
        of_chunk[1] += of_expected * prior.document_strength / others
        of_others = of_strength * between / (others + 1) + of_expected * (
            (prior.mean - expected) / others
        )
        of_chunk[2] += of_others * prior.document_strength
        of_chunk[3] += of_strength * within * (1 - within) * others / (others + 1)


def beta_binomial_likelihood(
    successes: Array, trials: Array, expected: Array, strength: Array
) -> Array:
    """Log-likelihood of each pair's successes, whose rate has a Beta distribution of its own.

    Args:
        successes: successes of each pair, float64, at least 0, shape (pairs,). Expected successes
            need not be whole.
        trials: trials of each pair, shape (pairs,); fewer than its successes count as many.
        expected: mean of the Beta distribution, in (0, 1), shape (pairs,).
        strength: its strength in trials, above 0, shape (pairs,).

    Returns:
        The log-likelihood in nats, and its derivatives by `expected` and by `strength`; float64,
        shape (3, pairs).
    """
    values = np.empty((3, len(successes)))
    misses = np.maximum(trials - successes, 0.0)
    for_each_part(_fill_likelihood, CHUNKS, successes, misses, expected, strength, values)
    return values


@compiled()  # type: ignore[untyped-decorator]
def _fill_likelihood(
    chunk: int, successes: Array, misses: Array, expected: Array, strength: Array, values: Array
) -> None:
    rows = len(successes)
    for row in range(chunk * rows // CHUNKS, (chunk + 1) * rows // CHUNKS):
        found = _beta_binomial(successes[row], misses[row], expected[row], strength[row])
        values[0, row], values[1, row], values[2, row] = found
