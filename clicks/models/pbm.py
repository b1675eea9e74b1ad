"""The position-based click model."""

import numpy as np
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, PageBlock
from clicks.log.trials import Array
from clicks.models.examined import ExaminationModel


class PositionBasedModel(ExaminationModel):
    """A click is an examined position and an attractive document (Craswell et al., WSDM 2008).

        P(click on d at position k for q) = examination[k] * attractiveness[q, d]

    Only products can be seen in clicks. The scale is set by examination[1] = 1: the first
    position is always examined, and the attractiveness of a document is its click-through rate
    there. No position is examined more than the first. Fitted to the impressions and clicks of
    each pair at each position by their marginal likelihood (`clicks.models.examined.examine`).

    Attributes:
        examination_: by position, float64 in (0, 1], shape (positions,); NaN where the log does
            not tell it (`clicks.inference.identification`).
        assumed_examination_: what predictions and attractiveness take it for: the same where the
            log tells it, and elsewhere what it would be if documents there were as attractive as
            those of all positions. A position beyond those of the log is taken to be examined as
            the last one.
        attractiveness_: of each pair.
        iterations_: of EM.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.

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

    def _places(self, log: ClickLog) -> tuple[NDArray[np.int32], tuple[int, ...]]:
        return log.position, (log.positions,)

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        position = np.minimum(np.arange(pages.pair.shape[1]), len(self.assumed_examination_) - 1)
        return self.assumed_examination_[position] * rates[0]

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        return self._click(pages, *rates)
