"""The position-based click model."""

import numpy as np

from clicks.click_log import ClickLog
from clicks.click_model import Array, ClickModel
from clicks.examination import check_fitting, examine
from clicks.shrinkage import PairRates


class PositionBasedModel(ClickModel):
    """A click is an examined position and an attractive document (Craswell et al., WSDM 2008).

        P(click on d at position k for q) = examination[k] * attractiveness[q, d]

    Only products can be seen in clicks. The scale is set by examination[1] = 1: the first
    position is always examined, and the attractiveness of a document is its click-through rate
    there. No position is examined more than the first. Fitted to the impressions and clicks of
    each pair at each position by their marginal likelihood (`clicks.examination.examine`).

    Attributes:
        examination_: by position, float64 in (0, 1], shape (positions,). A position beyond
            those of the log is taken to be examined as the last one.
        attractiveness_: of each pair.
        iterations_: of the optimizer.
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

    numbers = ("examination_",)
    rates = ("attractiveness_",)
    examination_: Array
    attractiveness_: PairRates
    iterations_: int
    converged_: bool

    def __init__(self, max_iterations: int = 200, tolerance: float = 1e-6) -> None:
        """Sets how long to fit.

        Args:
            max_iterations: the most iterations of L-BFGS, at least 1.
            tolerance: stop once an iteration gains less log-likelihood, relative to all of it.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    def _fit(self, log: ClickLog) -> None:
        shown = log.shown
        positions = shown.shape[1]
        place = np.broadcast_to(np.arange(positions), shown.shape)[shown]
        found = examine(log, place, positions, self.max_iterations, self.tolerance)
        self.examination_, self.attractiveness_ = found.places, found.attractiveness
        self.iterations_, self.converged_ = found.iterations, found.converged

    def _relevance(self) -> Array:
        return self.attractiveness_.pair

    def _click(self, log: ClickLog) -> Array:
        position = np.minimum(np.arange(log.pair.shape[1]), len(self.examination_) - 1)
        return self.examination_[position] * self._rate(self.attractiveness_, log)

    def _click_given_earlier(self, log: ClickLog) -> Array:
        return self._click(log)
