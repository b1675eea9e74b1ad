"""How likely the successes of pairs and documents are under a prior in two levels."""

from math import log

import numpy as np
from numba import njit, prange

from clicks.log.trials import Array

CHUNKS = 16  # of pairs, that threads work on
LARGE = 8.0  # from here on, the two series are exact to 1e-11


@njit(cache=True)  # type: ignore[untyped-decorator]
def log_gamma_and_slope(x: float) -> tuple[float, float]:
    """log Gamma(x) and the digamma function, for x > 0 (Abramowitz & Stegun, 6.1.40 and 6.3.18).

    Both are brought to large x, where their series are short, by Gamma(x + 1) = x Gamma(x).
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


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def two_level_likelihood(
    hits: Array,
    tries: Array,
    other_hits: Array,
    other_tries: Array,
    mean: float,
    document_strength: float,
    pair_strength: float,
) -> Array:
    """Log-likelihood of the hits of pairs, given those of the other pairs of their documents.

    Args:
        hits: of each pair, at least 0; expected ones need not be whole; shape (pairs,).
        tries: of each pair; taken for at least the hits.
        other_hits: of the other pairs of its document.
        other_tries: of the other pairs of its document, at least other_hits; shape (pairs,).
        mean: these three are a `clicks.inference.rate_prior.RatePrior`; with an infinite
            pair_strength and no others, this is the likelihood of documents.
        document_strength: see mean.
        pair_strength: see mean.

    Returns:
        The log-likelihood, and its slopes by the mean and by the logarithms of both strengths;
        shape (4,).
    """
    sums = np.zeros((CHUNKS, 4))
    within = 1 / (pair_strength + 1)
    for chunk in prange(CHUNKS):
        of_chunk = sums[chunk]
        for row in range(chunk * len(hits) // CHUNKS, (chunk + 1) * len(hits) // CHUNKS):
            others = other_tries[row] + document_strength
            expected = (other_hits[row] + mean * document_strength) / others
            # See shrinkage._rate_pairs.
            between = (1 - within) / (others + 1)
            spread = within + between
            strength = 1 / spread - 1
            alpha = expected * strength
            beta = strength - alpha
            misses = max(tries[row] - hits[row], 0.0)
            likelihood = of_alpha = of_beta = 0.0
            if hits[row] > 0:
                after, slope_after = log_gamma_and_slope(alpha + hits[row])
                before, slope = log_gamma_and_slope(alpha)
                likelihood, of_alpha = after - before, slope_after - slope
            if misses > 0:
                after, slope_after = log_gamma_and_slope(beta + misses)
                before, slope = log_gamma_and_slope(beta)
                likelihood, of_beta = likelihood + after - before, slope_after - slope
            after, slope_after = log_gamma_and_slope(strength + hits[row] + misses)
            before, slope = log_gamma_and_slope(strength)
            of_expected = strength * (of_alpha - of_beta)
            of_strength = expected * of_alpha + (1 - expected) * of_beta + slope - slope_after
            of_strength /= spread * spread
            of_chunk[0] += likelihood + before - after
            of_chunk[1] += of_expected * document_strength / others
            of_others = of_strength * between / (others + 1) + of_expected * (
                (mean - expected) / others
            )
            of_chunk[2] += of_others * document_strength
            of_chunk[3] += of_strength * within * (1 - within) * others / (others + 1)
    return sums.sum(axis=0)
