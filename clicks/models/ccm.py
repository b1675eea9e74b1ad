"""The click chain model."""

import numpy as np
from numpy.typing import NDArray

from clicks.inference.reading_em import Reads
from clicks.log.trials import Array
from clicks.models.reading_down import ChainModel


class ClickChainModel(ChainModel):
    """How the user goes on after a click depends on how relevant the document is.

        P(click | read) = relevance[q, d]
        after_skip = continuation[0]
        after_click = continuation[1] * (1 - relevance[q, d]) + continuation[2] * relevance[q, d]

    (Guo et al., WWW 2009, where the three are alpha 1, 2 and 3. They integrate relevance out under
    a flat prior; here it has the prior of all click models, learned from the log.) A clicked
    document turns out relevant with the chance that is its relevance, and the user goes on
    accordingly; EM sums over that, too.

    Attributes:
        attractiveness_: the relevance of each pair.
        continuation_: in (0, 1), shape (3,).
        iterations_: of EM.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.
    """

    numbers = ("continuation_",)
    rates = ("attractiveness_",)
    continuation_: Array

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.continuation_ = np.array([0.9, 0.6, 0.4])

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        after_skip, irrelevant, relevant = self.continuation_
        return float(after_skip), irrelevant * (1 - rates[0]) + relevant * rates[0]

    def _improve(self, reads: Reads, learning: int) -> tuple[Array | float, Array | float]:
        relevance = self.attractiveness_.pair
        _, irrelevant, relevant = self.continuation_
        on = irrelevant * (1 - relevance) + relevant * relevance
        relevant_on = reads.went_on * relevant * relevance / on
        stopped = (reads.clicks - reads.went_on) / (1 - on)
        found_relevant = relevant_on + stopped * (1 - relevant) * relevance
        irrelevant_on = reads.went_on.sum() - relevant_on.sum()
        not_relevant = reads.clicks.sum() - found_relevant.sum()
        self.continuation_ = np.array(
            [
                (reads.skips_went_on + 1) / (reads.skips + 2),
                (irrelevant_on + 1) / (not_relevant + 2),
                (relevant_on.sum() + 1) / (found_relevant.sum() + 2),
            ]
        )
        return found_relevant, reads.clicks
