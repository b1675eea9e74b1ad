"""Anderson acceleration of EM, which creeps where its steps are small."""

import numpy as np

from clicks.log.trials import Array

MEMORY = 4  # the last iterations, which are combined
RIDGE = 1e-8  # relative, on the diagonal of the least-squares system
MOST_GROWTH = 2.0  # of the length of a step, from one iteration to the next
FARTHEST = 5.0  # from the end of the last iteration, for each parameter


class Extrapolation:
    """Combines the last iterations so that their steps cancel out.

    Near the maximum, the step of an iteration is nearly a linear function of where it starts. So
    among the affine combinations of the last four iterations, the one with the shortest step is the
    closest to the fixed point; the next iteration starts at its end (Walker & Ni, SIAM Journal on
    Numerical Analysis 2011; for EM: Henderson & Varadhan, Journal of Computational and Graphical
    Statistics 2019). The memory restarts after a step more than twice as long as the one before.
    """

    def __init__(self, weights: Array) -> None:
        """Starts with an empty memory.

        Args:
            weights: weight of each parameter in the squared length of a step, above 0; float64,
                shape (parameters,).
        """
        self._scale = np.sqrt(weights)
        self._steps: list[Array] = []
        self._ends: list[Array] = []

    def forget(self) -> None:
        """Empties the memory, as the function that EM maximizes has changed."""
        self._steps, self._ends = [], []

    def next_start(self, start: Array, end: Array) -> Array:
        """The start of the next iteration.

        Args:
            start: parameters at the start of the last iteration, float64, shape (parameters,).
            end: parameters at its end, same shape.

        Returns:
            Parameters, float64, shape (parameters,), on the same unbounded scale.
        """
        self._steps = [*self._steps[1 - MEMORY :], (end - start) * self._scale]
        self._ends = [*self._ends[1 - MEMORY :], end]
        steps = np.stack(self._steps)
        squares = steps @ steps.T
        if len(steps) > 1 and squares[-1, -1] > MOST_GROWTH**2 * squares[-2, -2]:
            self._steps, self._ends = self._steps[-1:], self._ends[-1:]
            return end
        squares[np.diag_indices_from(squares)] *= 1 + RIDGE
        squares[np.diag_indices_from(squares)] += 1e-100
        shares = np.linalg.solve(squares, np.ones(len(squares)))
        far = shares / shares.sum() @ np.stack(self._ends)
        return np.clip(far, end - FARTHEST, end + FARTHEST)
