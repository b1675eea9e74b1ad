"""The dynamic Bayesian network model, and its simplified form."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from clicks.inference.composite_likelihood import maximize_composite_likelihood
from clicks.inference.graded_prior import GradedPrior, learn_pair_prior
from clicks.inference.rate_prior import PairRates, RatePrior
from clicks.inference.sequential_em import ExpectedExaminations
from clicks.log.click_log import ClickLog
from clicks.log.trials import Array
from clicks.models.sequential import SequentialModel


class DynamicBayesianNetwork(SequentialModel):
    """A click may satisfy the user, who then stops; an unsatisfied user continues or gives up.

        P(click | examined) = attractiveness[q, d]
        after_skip = perseverance
        after_click = perseverance * (1 - satisfaction[q, d])

    (Chapelle & Zhang, WWW 2009.) The relevance of a document is the probability that its
    examination satisfies the user: attractiveness * satisfaction.

    Attributes:
        attractiveness_: posterior mean attractiveness of each pair, rates in (0, 1).
        satisfaction_: posterior mean P(satisfied | clicked) of each pair, rates in (0, 1).
        perseverance_: P(continue | examined, not satisfied), in (0, 1].
        iterations_: the number of EM iterations of the fit.
        converged_: whether the fit reached `tolerance` within `max_iterations`.
    """

    numbers: ClassVar[tuple[str, ...]] = ("perseverance_",)
    rates = ("attractiveness_", "satisfaction_")
    satisfaction_: PairRates
    perseverance_: float
    _satisfaction_prior: RatePrior | GradedPrior | None

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.satisfaction_ = PairRates(np.full(pairs, 0.5), np.full(documents, 0.5), 0.5)
        self.perseverance_ = 0.9
        self._satisfaction_prior = None

    def _continuation(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        _, satisfaction = rates
        return self.perseverance_, self.perseverance_ * (1 - satisfaction)

    def _maximize(
        self, expected: ExpectedExaminations, learning: int
    ) -> tuple[Array | float, Array | float]:
        satisfied = self._satisfy(expected, learning)
        unsatisfied = expected.clicks.sum() - satisfied
        went_on = expected.skip_continuations + expected.continuations.sum()
        self.perseverance_ = float((went_on + 1) / (expected.skips + unsatisfied + 2))
        return 0.0, 0.0

    def _satisfy(self, expected: ExpectedExaminations, learning: int) -> float:
        """Updates satisfaction; returns the expected number of satisfying clicks."""
        satisfaction = self.satisfaction_.pair
        stopped = 1 - self.perseverance_ * (1 - satisfaction)
        satisfied = (expected.clicks - expected.continuations) * satisfaction / stopped
        known = self.pairs_.trials(satisfied, expected.clicks)
        if learning or self._satisfaction_prior is None:
            self._satisfaction_prior = learn_pair_prior(known, self._satisfaction_prior, learning)
        self.satisfaction_ = self._satisfaction_prior.rates(known)
        return float(satisfied.sum())

    def _relevance(self) -> Array:
        return self.attractiveness_.pair * self.satisfaction_.pair


class SimplifiedDynamicBayesianNetwork(DynamicBayesianNetwork):
    """The dynamic Bayesian network with a perseverance of 1.

        P(click | examined) = attractiveness[q, d]
        after_skip = 1
        after_click = 1 - satisfaction[q, d]

    (Chapelle & Zhang, WWW 2009, section 5. Their closed form takes the last click for satisfying.
    Here it may also leave the user unsatisfied, who then clicks nothing below.) The fit maximizes
    the likelihood, and from there a composite likelihood of the marginal click at each position,
    with the priors of rates that the first fit learned (`clicks.inference.composite_likelihood`).
    The relevance of a document is attractiveness * satisfaction.

    Attributes:
        attractiveness_: posterior mean attractiveness of each pair, rates in (0, 1).
        satisfaction_: posterior mean P(satisfied | clicked) of each pair, rates in (0, 1).
        iterations_: the number of EM iterations of both fits.
        converged_: whether both fits reached `tolerance` within `max_iterations`.
    """

    numbers = ()

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        super()._start(pairs, documents, positions)
        self.perseverance_ = 1.0

    def _fit(self, log: ClickLog) -> None:
        super()._fit(log)
        assert self.prior_
        assert self._satisfaction_prior
        fit = maximize_composite_likelihood(
            log,
            [self.attractiveness_, self.satisfaction_],
            [self.prior_, self._satisfaction_prior],
            self.max_iterations,
            self.tolerance,
        )
        self.attractiveness_, self.satisfaction_ = fit.rates
        self.iterations_ += fit.iterations
        self.converged_ = self.converged_ and fit.converged

    def _continuation(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        return 1.0, 1 - rates[1]

    def _maximize(
        self, expected: ExpectedExaminations, learning: int
    ) -> tuple[Array | float, Array | float]:
        self._satisfy(expected, learning)
        return 0.0, 0.0
