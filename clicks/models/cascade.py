"""The cascade model and the dependent click model."""

import numpy as np
from numpy.typing import NDArray

from clicks.inference.composite_likelihood import maximize_composite_likelihood
from clicks.inference.graded_prior import learn_pair_prior
from clicks.inference.rate_prior import PairRates
from clicks.inference.sequential_em import ExpectedExaminations, observe_examinations
from clicks.log.click_log import ClickLog
from clicks.log.trials import Array
from clicks.models.sequential import SequentialModel


class CascadeModel(SequentialModel):
    """The user examines results until the first click, and stops (Craswell et al., WSDM 2008).

        P(click | examined) = attractiveness[q, d], after_skip = 1, after_click = 0

    Under the model a second click in a session has probability 0. So the fit maximizes a composite
    likelihood of the marginal click at each position (`clicks.inference.composite_likelihood`).
    Initial rates and the prior come from the closed form: attractiveness is the click-through rate
    in the results down to the last click, or in the whole page where there is none. A session of
    several clicks counts there as several cascades, each beginning below the click before it.

    Attributes:
        attractiveness_: posterior mean attractiveness of each pair, rates in (0, 1).
    """

    rates = ("attractiveness_",)

    def __init__(self) -> None:
        """The model has no settings."""

    def _continuation(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        return 1.0, np.zeros(1)

    def _fit(self, log: ClickLog) -> None:
        last = observe_examinations(log).last
        examined = log.starts[:-1] + np.where(last < 0, log.lengths, last + 1)
        known = log.trials(np.arange(len(log.pair)) < np.repeat(examined, log.lengths))
        self.prior_ = learn_pair_prior(known)
        (self.attractiveness_,) = maximize_composite_likelihood(
            log, [self.prior_.rates(known)], [self.prior_]
        ).rates


class DependentClickModel(SequentialModel):
    """After a click the user continues with a probability that depends on the position.

        P(click | examined) = attractiveness[q, d], after_skip = 1, after_click = continuation[k]

    (Guo, Liu & Wang, WSDM 2009. They maximize a lower bound of the likelihood, in which the last
    click always ends the session; here the likelihood itself is maximized.)

    Attributes:
        attractiveness_: posterior mean attractiveness of each pair, rates in (0, 1).
        continuation_: P(continue | clicked) at each position, float64 in (0, 1), shape
            (positions,); NaN where the log has no click with a document below it. Predictions there
            use the nearest known position above, or else below.
        iterations_: the number of EM iterations of the fit.
        converged_: whether the fit reached `tolerance` within `max_iterations`.
    """

    numbers = ("continuation_",)
    rates = ("attractiveness_",)
    attractiveness_: PairRates
    continuation_: Array

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.continuation_ = np.full(positions, 0.5)

    def _fit(self, log: ClickLog) -> None:
        super()._fit(log)
        clicks = observe_examinations(log).certain.position_clicks
        self.continuation_ = np.where(clicks > 0, self.continuation_, np.nan)

    def _continuation(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        known = np.flatnonzero(~np.isnan(self.continuation_))
        if len(known) == 0:
            return 1.0, np.full(len(position), 0.5)
        above = np.maximum(np.searchsorted(known, position, side="right") - 1, 0)
        return 1.0, self.continuation_[known[above]]

    def _maximize(
        self, expected: ExpectedExaminations, learning: int
    ) -> tuple[Array | float, Array | float]:
        self.continuation_ = (expected.position_continuations + 1) / (expected.position_clicks + 2)
        return 0.0, 0.0
