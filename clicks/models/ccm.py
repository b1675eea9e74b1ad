"""The click chain model."""

import numpy as np
from numpy.typing import NDArray

from clicks.inference.sequential_em import ExpectedExaminations
from clicks.log.threads import in_parallel
from clicks.log.trials import Array
from clicks.models.sequential import SequentialModel


class ClickChainModel(SequentialModel):
    """After a click the user continues with a probability that depends on the relevance.

        P(click | examined) = relevance[q, d]
        after_skip = continuation[0]
        after_click = continuation[1] * (1 - relevance[q, d]) + continuation[2] * relevance[q, d]

    (Guo et al., WWW 2009, where the three are alpha 1, 2 and 3. They integrate relevance out under
    a uniform prior; here it has the prior of all click models, learned from the log.) Whether a
    clicked document turns out relevant is a further hidden variable of EM, with the probability
    relevance[q, d].

    Attributes:
        attractiveness_: posterior mean relevance of each pair, rates in (0, 1).
        continuation_: P(continue) after a skip, after a click on an irrelevant and on a relevant
            document; float64 in (0, 1), shape (3,).
        iterations_: the number of EM iterations of the fit.
        converged_: whether the fit reached `tolerance` within `max_iterations`.
    """

    numbers = ("continuation_",)
    rates = ("attractiveness_",)
    continuation_: Array

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.continuation_ = np.array([0.9, 0.6, 0.4])

    def _continuation(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        after_skip, irrelevant, relevant = self.continuation_
        return float(after_skip), irrelevant * (1 - rates[0]) + relevant * rates[0]

    def _maximize(
        self, expected: ExpectedExaminations, learning: int
    ) -> tuple[Array | float, Array | float]:
        _, irrelevant, relevant = self.continuation_

        def of_continued(relevance: Array, continuations: Array) -> Array:
            on = irrelevant * (1 - relevance) + relevant * relevance
            return continuations * (relevant * relevance / on)

        def of_stopped(relevance: Array, clicks: Array, continuations: Array) -> Array:
            on = irrelevant * (1 - relevance) + relevant * relevance
            return (clicks - continuations) * ((1 - relevant) * relevance / (1 - on))

        relevance, continuations = self.attractiveness_.pair, expected.continuations
        relevant_on = in_parallel(of_continued, relevance, continuations)
        relevant_stopped = in_parallel(of_stopped, relevance, expected.clicks, continuations)
        found_relevant = relevant_on + relevant_stopped
        irrelevant_on = expected.continuations.sum() - relevant_on.sum()
        not_relevant = expected.clicks.sum() - found_relevant.sum()
        self.continuation_ = np.array(
            [
                (expected.skip_continuations + 1) / (expected.skips + 2),
                (irrelevant_on + 1) / (not_relevant + 2),
                (relevant_on.sum() + 1) / (found_relevant.sum() + 2),
            ]
        )
        return found_relevant, expected.clicks
