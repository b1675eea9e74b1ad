"""The dynamic Bayesian network model, and its simplified form."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from clicks.inference.position_likelihood import fit_marginals
from clicks.inference.rate_prior import PairRates, RatePrior, learn_prior
from clicks.inference.reading_em import Reads
from clicks.log.click_log import ClickLog
from clicks.log.trials import Array, Trials
from clicks.models.reading_down import ChainModel


class DynamicBayesianNetwork(ChainModel):
    """A click may satisfy the user, who then stops, or else goes on with some perseverance.

        P(click | read) = attractiveness[q, d]
        after_skip = perseverance
        after_click = perseverance * (1 - satisfaction[q, d])

    (Chapelle & Zhang, WWW 2009.) The relevance of a document is the chance that its being read
    satisfies: attractiveness * satisfaction.

    Attributes:
        attractiveness_: of each pair.
        satisfaction_: of each pair, given a click.
        perseverance_: in (0, 1].
        iterations_: of EM.
        converged_: whether the fit ended by `tolerance` rather than by `max_iterations`.
    """

    numbers: ClassVar[tuple[str, ...]] = ("perseverance_",)
    rates = ("attractiveness_", "satisfaction_")
    satisfaction_: PairRates
    perseverance_: float
    _satisfaction_prior: RatePrior | None

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        self.satisfaction_ = PairRates(np.full(pairs, 0.5), np.full(documents, 0.5), 0.5)
        self.perseverance_ = 0.9
        self._satisfaction_prior = None

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        _, satisfaction = rates
        return self.perseverance_, self.perseverance_ * (1 - satisfaction)

    def _improve(self, reads: Reads, learning: int) -> tuple[Array | float, Array | float]:
        satisfied = self._satisfy(reads, learning)
        unsatisfied = reads.clicks.sum() - satisfied
        went_on = reads.skips_went_on + reads.went_on.sum()
        self.perseverance_ = float((went_on + 1) / (reads.skips + unsatisfied + 2))
        return 0.0, 0.0

    def _satisfy(self, reads: Reads, learning: int) -> float:
        """Improves satisfaction; returns how many clicks are expected to have satisfied."""
        satisfaction = self.satisfaction_.pair
        stopped = 1 - self.perseverance_ * (1 - satisfaction)
        satisfied = (reads.clicks - reads.went_on) * satisfaction / stopped
        known = Trials(
            successes=satisfied,
            trials=reads.clicks,
            document=self.pairs_.document,
            documents=len(self.pairs_.documents),
        )
        if learning or self._satisfaction_prior is None:
            self._satisfaction_prior = learn_prior(known, self._satisfaction_prior, learning)
        self.satisfaction_ = self._satisfaction_prior.rates(known)
        return float(satisfied.sum())

    def _relevance(self) -> Array:
        return self.attractiveness_.pair * self.satisfaction_.pair


class SimplifiedDynamicBayesianNetwork(DynamicBayesianNetwork):
    """The dynamic Bayesian network of a user who always perseveres.

        P(click | read) = attractiveness[q, d]
        after_skip = 1
        after_click = 1 - satisfaction[q, d]

    (Chapelle & Zhang, WWW 2009, section 5. Their closed form takes each last click for a
    satisfying one. Here a user may also be unsatisfied by it and click nothing below.) The fit
    maximises the likelihood, and from there that of the click at each position by itself, with the
    priors of rates that the former learned (`clicks.inference.position_likelihood`). The relevance
    of a document is attractiveness * satisfaction.

    Attributes:
        attractiveness_: of each pair.
        satisfaction_: of each pair, given a click.
        iterations_: of EM, for both likelihoods.
        converged_: whether both fits ended by `tolerance` rather than by `max_iterations`.
    """

    numbers = ()

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        super()._start(pairs, documents, positions)
        self.perseverance_ = 1.0

    def _fit(self, log: ClickLog) -> None:
        super()._fit(log)
        assert self._prior
        assert self._satisfaction_prior
        fit = fit_marginals(
            log,
            [self.attractiveness_, self.satisfaction_],
            [self._prior, self._satisfaction_prior],
            self.max_iterations,
            self.tolerance,
        )
        self.attractiveness_, self.satisfaction_ = fit.rates
        self.iterations_ += fit.iterations
        self.converged_ = self.converged_ and fit.converged

    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        return 1.0, 1 - rates[1]

    def _improve(self, reads: Reads, learning: int) -> tuple[Array | float, Array | float]:
        self._satisfy(reads, learning)
        return 0.0, 0.0
