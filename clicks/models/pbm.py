"""The position-based click model."""

import numpy as np
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, PageBlock
from clicks.log.trials import Array
from clicks.models.examination import ExaminationModel


class PositionBasedModel(ExaminationModel):
    """A click is an examined position and an attractive document (Craswell et al., WSDM 2008).

        P(click on d at position k for q) = examination[k] * attractiveness[q, d]

    Clicks determine only the product. The scale is set by examination[1] = 1: the first position is
    always examined, and attractiveness is the click-through rate there. No position is examined
    more than the first. The fit maximizes the marginal likelihood of the impressions and clicks of
    each pair at each position (`clicks.models.examination.fit_examination`).

    Attributes:
        examination_: P(examined) at each position, float64 in (0, 1], shape (positions,); NaN where
            the log does not identify it (`clicks.inference.identification`).
        assumed_examination_: P(examined) that predictions and attractiveness use: `examination_`,
            and where that is NaN, the probability under which documents there are as attractive as
            the average document. Float64 in (0, 1], shape (positions,). Positions beyond the
            longest page of the log have that of its last one.
        attractiveness_: posterior mean attractiveness of each pair, rates in (0, 1).
        iterations_: the number of EM iterations of the fit.
        converged_: whether the fit reached `tolerance` within `max_iterations`.

    >>> import pyarrow as pa
    >>> sessions = pa.table(
    ...     {
    ...         "session_id": ["s1", "s2", "s3"],
    ...         "query_id": ["q", "q", "q"],
    ...         "doc_ids": [["a", "b"], ["a", "b"], ["b", "a"]],
    ...         "clicks": [[True, False], [True, False], [False, True]],
    ...     }
    ... )
    >>> PositionBasedModel().fit(sessions).relevance()["doc_id"].to_pylist()
    ['a', 'b']
    """

    def _slots(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        return log.position, (log.positions,)

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        position = np.minimum(np.arange(pages.pair.shape[1]), len(self.assumed_examination_) - 1)
        return self.assumed_examination_[position] * rates[0]

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        return self._click(pages, *rates)
