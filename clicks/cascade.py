"""The cascade model and the dependent click model."""

import numpy as np
from numpy.typing import NDArray

from clicks.chain import ChainModel
from clicks.click_log import ClickLog
from clicks.expected_reads import Reads
from clicks.shrinkage import Array, PairRates, learn_prior


class CascadeModel(ChainModel):
    """The user reads on until the first click, and stops (Craswell et al., WSDM 2008).

        P(click | read) = attractiveness[q, d], after_skip = 1, after_click = 0

    In closed form: attractiveness is the rate of first clicks in the results down to them. Later
    clicks, which the model holds to be impossible, are not counted in the fit, and have a
    log-likelihood of minus infinity.

    Attributes:
        attractiveness_: of each pair.
    """

    rates = ("attractiveness_",)

    def __init__(self) -> None:
        """There is nothing to set."""

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        return 1.0, np.zeros(1)

    def _fit(self, log: ClickLog) -> None:
        read = log.shown & (np.cumsum(log.clicks, axis=1) - log.clicks == 0)
        known = log.trials(read)
        self.attractiveness_ = learn_prior(known).rates(known)


class DependentClickModel(ChainModel):
    """After a click the user goes on with a chance that depends on the position.

        P(click | read) = attractiveness[q, d], after_skip = 1, after_click = continuation[k]

    (Guo, Liu & Wang, WSDM 2009; they maximise a lower bound of this likelihood, in which the last
    click always ends the session. Here the likelihood itself is maximised.)

    Attributes:
        attractiveness_: of each pair.
        continuation_: after a click, by position, float64 in (0, 1), shape (positions,). A
            position beyond those of the log has that of the last one.
        iterations_: of EM.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.
    """

    numbers = ("continuation_",)
    rates = ("attractiveness_",)
    attractiveness_: PairRates
    continuation_: Array

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.continuation_ = np.full(positions, 0.5)

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        return 1.0, self.continuation_[np.minimum(position, len(self.continuation_) - 1)]

    def _improve(self, reads: Reads, learning: bool) -> tuple[Array | float, Array | float]:
        self.continuation_ = (reads.position_went_on + 1) / (reads.position_clicks + 2)
        return 0.0, 0.0
