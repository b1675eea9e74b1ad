"""Anderson acceleration: where an EM that creeps would get to."""

import numpy as np

from clicks.log.trials import Array

MEMORY = 4  # iterations that are combined
RIDGE = 1e-8
MOST_GROWTH = 2.0  # of steps, from one iteration to the next
FARTHEST = 5.0


class Extrapolation:
    """Combines the last iterations so that their steps cancel out.

    Where EM creeps, its steps are nearly linear in where they start. Of the combinations, with
    shares that sum to 1, of the last four iterations, that with the shortest step is nearest to
    where there is none, and from its end EM goes on (Walker & Ni, SIAM Journal on Numerical
    Analysis 2011; for EM: Henderson & Varadhan, Journal of Computational and Graphical Statistics
    2019). After a step twice as long as that before it, what came before is forgotten.
    """

    def __init__(self, weights: Array) -> None:
        """Begins with no iterations.

        Args:
            weights: what the square of a step counts, of each number; shape (numbers,).
        """
        self._scale = np.sqrt(weights)
        self._steps: list[Array] = []
        self._ends: list[Array] = []

    def forget(self) -> None:
        """Forgets all iterations, as what they led to has changed."""
        self._steps, self._ends = [], []

    def onward(self, start: Array, end: Array) -> Array:
        """Where to go on from, after an iteration led from start to end; shape (numbers,)."""
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
