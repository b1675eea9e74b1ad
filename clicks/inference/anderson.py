"""Anderson acceleration of EM, which creeps where its steps are small."""

import numpy as np
from scipy.special import expit

from clicks.log.threads import for_each_part, in_parallel, slices_to_share
from clicks.log.trials import Array

MEMORY = 4  # the last iterations, which are combined
RIDGE = 1e-8  # relative, on the diagonal of the least-squares system
MOST_GROWTH = 2.0  # of the length of a step, from one iteration to the next
FARTHEST = 5.0  # from the end of the last iteration, for each parameter


def to_logits(probabilities: Array) -> Array:
    """The logits of probabilities in (0, 1); twice as fast as by scipy's function."""
    return in_parallel(lambda p: np.log(p / (1 - p)), probabilities)


def from_logits(logits: Array) -> Array:
    """The probabilities of logits."""
    return in_parallel(expit, logits)


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
        self._steps, self._ends = np.zeros((2, MEMORY, len(weights)))
        self._squares = np.zeros((MEMORY, MEMORY))  # products of steps
        self._rows: list[int] = []  # of the iterations that are remembered, the last one last

    def forget(self) -> None:
        """Empties the memory, as the function that EM maximizes has changed."""
        self._keep([])

    def _keep(self, rows: list[int]) -> None:
        self._rows = rows
        # They are combined with weight 0, which an infinite one would survive.
        self._ends[sorted(set(range(MEMORY)) - set(rows))] = 0.0

    def next_start(self, start: Array, end: Array) -> Array:
        """The start of the next iteration.

        Args:
            start: parameters at the start of the last iteration, float64, shape (parameters,).
            end: parameters at its end, same shape.

        Returns:
            Parameters, float64, shape (parameters,), on the same unbounded scale.
        """
        row = self._remember(start, end)
        if len(self._rows) > 1:
            before = self._rows[-2]
            if self._squares[row, row] > MOST_GROWTH**2 * self._squares[before, before]:
                self._keep([row])
                return end
        squares = self._squares[np.ix_(self._rows, self._rows)]
        squares[np.diag_indices_from(squares)] *= 1 + RIDGE
        squares[np.diag_indices_from(squares)] += 1e-100
        shares = np.linalg.solve(squares, np.ones(len(squares)))
        of_rows = np.zeros(MEMORY)
        of_rows[self._rows] = shares / shares.sum()
        far, slices = np.empty(len(end)), slices_to_share(len(end))

        def combine(part: int) -> None:
            here = slices[part]
            nearest, farthest = end[here] - FARTHEST, end[here] + FARTHEST
            far[here] = np.clip(of_rows @ self._ends[:, here], nearest, farthest)

        for_each_part(combine, len(slices))
        return far

    def _remember(self, start: Array, end: Array) -> int:
        """Takes an iteration into the memory, in place of the oldest one; returns its row there."""
        self._rows = self._rows[1 - MEMORY :]
        row = min(set(range(MEMORY)) - set(self._rows))
        self._rows.append(row)
        slices = slices_to_share(len(end))
        squares = np.empty((len(slices), MEMORY))

        def measure(part: int) -> None:
            here = slices[part]
            step = self._steps[row, here]
            np.subtract(end[here], start[here], out=step)
            step *= self._scale[here]
            self._ends[row, here] = end[here]
            squares[part] = self._steps[:, here] @ step

        for_each_part(measure, len(slices))
        self._squares[row] = self._squares[:, row] = squares.sum(axis=0)
        return row
