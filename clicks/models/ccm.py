"""The click chain model."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clicks.inference.beta_binomial import CHUNKS
from clicks.inference.sequential_em import ExpectedExaminations
from clicks.log.threads import compiled, for_each_part
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
        return float(after_skip), irrelevant + (relevant - irrelevant) * rates[0]

    def _maximize(
        self, expected: ExpectedExaminations, learning: int
    ) -> tuple[Array | float, Array | float]:
        found_relevant, relevant_on = np.empty(len(expected.clicks)), np.zeros(CHUNKS)
        relevance = self.attractiveness_.pair
        clicked = Clicked(relevance, expected.clicks, expected.continuations, self.continuation_)
        for_each_part(_find_relevant, CHUNKS, clicked, found_relevant, relevant_on)
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


class Clicked(NamedTuple):
    """Relevance, clicks and continuations after clicks of each pair, and `continuation_`."""

    relevance: Array
    clicks: Array
    continuations: Array
    continuation: Array


@compiled()  # type: ignore[untyped-decorator]
def _find_relevant(chunk: int, of: Clicked, found_relevant: Array, relevant_on: Array) -> None:
    """Writes how many clicked documents of each pair are expected to turn out relevant.

    Adds to the place of the chunk in `relevant_on` after how many of them the user continued.
    """
    pairs, irrelevant, relevant = len(of.relevance), of.continuation[1], of.continuation[2]
    for pair in range(chunk * pairs // CHUNKS, (chunk + 1) * pairs // CHUNKS):
        relevance = of.relevance[pair]
        on = irrelevant * (1 - relevance) + relevant * relevance
        continued = of.continuations[pair] * relevant * relevance / on
        stopped = (of.clicks[pair] - of.continuations[pair]) / (1 - on)
        found_relevant[pair] = continued + stopped * (1 - relevant) * relevance
        relevant_on[chunk] += continued
