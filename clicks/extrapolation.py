"""SQUAREM: where an EM that creeps would get to."""

import numpy as np

from clicks.beta_binomial import Array

LONGEST_STEP = 16.0


def extrapolate(first: Array, second: Array, third: Array) -> Array:
    """Where three iterates lead, by the third step length, kept to between 1 and 16 steps.

    Varadhan & Roland, "Simple and globally convergent methods for accelerating the convergence of
    any EM algorithm", Scandinavian Journal of Statistics 2008.

    >>> extrapolate(np.array([0.0]), np.array([0.5]), np.array([0.75])).tolist()
    [1.0]
    """
    step, bend = second - first, third - 2 * second + first
    length = float(np.linalg.norm(step) / max(float(np.linalg.norm(bend)), 1e-150))
    length = min(max(length, 1.0), LONGEST_STEP)
    return first + 2 * length * step + length**2 * bend
