"""A judge of pairs whose accuracy is a number: it reads the topical grade, and that with an error.

What the judge reads is the grade plus normal noise, as in models of ordered choice (McKelvey &
Zavoina, "A statistical model for the analysis of ordinal level dependent variables", 1975), so that
wrong grades are mostly off by one. So are those of the demo's judge: it is right on 95.6 % of pairs
with a quadratic kappa of 0.976; this judge has 0.98 at that accuracy, and one that answered at
random where it is wrong would have 0.93. The judge knows how large its noise is, and tells the
probability of each grade by it, as one that is asked by probabilities does.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

GRADES = np.arange(4)


def grade_chances(
    topical: NDArray[np.int64], spread: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """What the judge says of pairs: the probability of each grade; the likeliest is its answer.

    Args:
        topical: topical grades, 0 to 3, int64, shape (pairs,).
        spread: standard deviation of its noise, in grades, at least 0.
        rng: draws the noise. The same state with another spread draws the same noise, scaled.

    Returns:
        float64 in [0, 1], shape (pairs, 4); each row adds up to 1.
    """
    noise = rng.standard_normal(len(topical))
    if spread == 0:
        return (topical[:, None] == GRADES).astype(np.float64)
    distance = topical[:, None] + spread * noise[:, None] - GRADES
    chances: NDArray[np.float64] = softmax(-(distance**2) / (2 * spread**2), axis=1)
    return chances


def spread_of_error(topical: NDArray[np.int64], error: float) -> float:
    """The spread at which the judge's answer is wrong on a share `error` of pairs, in expectation.

    An answer is wrong where the noise passes half a grade; at grade 0 and grade 3 only one of its
    two directions counts.

    Args:
        topical: topical grades of the pairs, 0 to 3, int64, shape (pairs,), at least one.
        error: at least 0 and below 0.5.

    >>> round(spread_of_error(np.array([1, 2]), 0.3173), 3)  # what passes one standard deviation
    0.5
    """
    directions = 1 + np.mean((topical > 0) & (topical < GRADES[-1]))
    return 0.0 if error == 0 else float(0.5 / norm.isf(error / directions))
