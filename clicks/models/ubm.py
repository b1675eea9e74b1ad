"""The user browsing model."""

import numpy as np
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, PageBlock
from clicks.log.trials import Array
from clicks.models.examination import ExaminationModel

MOST_POSITIONS = 100  # all further ones count as this one


class UserBrowsingModel(ExaminationModel):
    """Examination depends on the position and on the position of the last click.

        P(click on d at position k for q) = examination[k, r] * attractiveness[q, d]

    after a last click at position r, or r = 0 where nothing was clicked before (Dupret &
    Piwowarski, SIGIR 2008). The scale is set by examination[1, 0] = 1: the first position is
    always examined. The fit maximizes the marginal likelihood of the impressions and clicks of each
    pair at each (k, r) (`clicks.models.examination.fit_examination`).

    Positions from the 100th on share one probability; a last click there counts as one at the
    100th.

    Attributes:
        examination_: P(examined) at position k after a last click r, in row k - 1 and column r;
            float64 in (0, 1], shape (positions, positions), of which only r < k are used. NaN where
            the log does not identify it (`clicks.inference.identification`).
        assumed_examination_: P(examined) that predictions and attractiveness use: `examination_`,
            and where that is NaN, the probability under which documents there are as attractive as
            the average document. Same type and shape. Positions beyond the longest page of the log
            count as its last one.
        attractiveness_: posterior mean attractiveness of each pair, rates in (0, 1).
        iterations_: the number of EM iterations of the fit.
        converged_: whether the fit reached `tolerance` within `max_iterations`.
    """

    def _slots(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        positions = min(log.positions, MOST_POSITIONS)
        slot = np.minimum(_last_click(log.starts, log.clicks), positions - 1)
        slot += np.minimum(log.position, positions - 1) * positions
        return slot, (positions, positions)

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        attractiveness, deepest = rates[0], len(self.assumed_examination_) - 1
        # P(last click at r) before each position, r = 0 for none.
        last = np.zeros((len(attractiveness), deepest + 1))
        last[:, 0] = 1.0
        click = np.zeros_like(attractiveness)
        for position in range(click.shape[1]):
            before = np.arange(min(position, deepest) + 1)
            chance = attractiveness[:, [position]] * self._examined(position, before)
            click[:, position] = (last[:, before] * chance).sum(axis=1)
            last[:, before] *= 1 - chance
            last[:, min(position + 1, deepest)] += click[:, position]
        return click

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        position = np.arange(pages.pair.shape[1])
        starts = np.arange(0, pages.clicks.size + 1, len(position))
        last = _last_click(starts, pages.clicks.ravel())
        return self._examined(position, last.reshape(pages.pair.shape)) * rates[0]

    def _examined(
        self, position: int | NDArray[np.int64], last: NDArray[np.signedinteger]
    ) -> Array:
        deepest = len(self.assumed_examination_) - 1
        return self.assumed_examination_[np.minimum(position, deepest), np.minimum(last, deepest)]


def _last_click(starts: NDArray[np.int64], clicks: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The position, from 1, of the last click before each result, int32; 0 where there is none."""
    at = np.arange(len(clicks))
    clicked = np.maximum.accumulate(np.where(clicks, at, -1))
    before = (
        np.append(-1, clicked[:-1])[: len(clicks)] + 1 - np.repeat(starts[:-1], np.diff(starts))
    )
    return np.maximum(before, 0).astype(np.int32)
