"""The user browsing model."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.click_log import ClickLog
from clicks.examination import ExaminationModel
from clicks.shrinkage import Array


class UserBrowsingModel(ExaminationModel):
    """Examination depends on the position and on where the last click was.

        P(click on d at position k for q) = examination[k, r] * attractiveness[q, d]

    after a last click at position r, or r = 0 where nothing was clicked before (Dupret &
    Piwowarski, SIGIR 2008). The scale is set by examination[1, 0] = 1: the first position is
    always examined. Fitted to the impressions and clicks of each pair at each (k, r) by their
    marginal likelihood (`clicks.examination.examine`).

    Attributes:
        examination_: by position k - 1 and last click r, float64 in (0, 1], shape (positions,
            positions); only r < k mean anything. Positions beyond those of the log are taken as
            the last one.
        attractiveness_: of each pair.
        iterations_: of EM.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.
    """

    def _places(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        positions = log.pair.shape[1]
        place = _last_click(log.clicks)
        place += np.arange(0, positions**2, positions, dtype=np.int32)
        return place, (positions, positions)

    def _click(self, log: ClickLog) -> Array:
        attractiveness = self._rate(self.attractiveness_, log)
        sessions, positions = log.pair.shape
        # P(last click at r) before each position, r = 0 for none.
        last = np.zeros((sessions, positions + 1))
        last[:, 0] = 1.0
        click = np.zeros(log.pair.shape)
        for position in range(positions):
            before = np.arange(position + 1)
            chance = attractiveness[:, [position]] * self._examined(position, before)
            click[:, position] = (last[:, before] * chance).sum(axis=1)
            last[:, before] *= 1 - chance
            last[:, position + 1] = click[:, position]
        return click

    def _click_given_earlier(self, log: ClickLog) -> Array:
        position = np.arange(log.pair.shape[1])
        examined = self._examined(position, _last_click(log.clicks))
        return examined * self._rate(self.attractiveness_, log)

    def _examined(
        self, position: int | NDArray[np.int64], last: NDArray[np.signedinteger]
    ) -> Array:
        deepest = len(self.examination_) - 1
        return self.examination_[np.minimum(position, deepest), np.minimum(last, deepest)]


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _last_click(clicks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The last clicked position, from 1, before each position; 0 where there is none."""
    before = np.empty(clicks.shape, dtype=np.int32)
    for row in prange(len(clicks)):
        last = 0
        for position in range(clicks.shape[1]):
            before[row, position] = last
            if clicks[row, position]:
                last = position + 1
    return before
