"""What models share in which results are examined from top to bottom until the user stops."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clicks.inference.anderson import Extrapolation, from_logits, to_logits
from clicks.inference.graded_prior import learn_pair_prior
from clicks.inference.rate_prior import FIRST_TO_LEARN_FROM, MOST_TO_LEARN_FROM, PairRates
from clicks.inference.sequential_em import (
    ExpectedExaminations,
    ObservedExaminations,
    expect_examinations,
    observe_examinations,
)
from clicks.log.click_log import ClickLog, PageBlock
from clicks.log.trials import Array
from clicks.models.base import ClickModel
from clicks.models.examination import check_fitting


class SequentialModel(ClickModel):
    """A result is examined only if the user continued from the result above it.

        P(examined at 1) = 1
        P(click at k | examined at k) = attractiveness[q, d]
        P(examined at k + 1 | examined at k, no click at k) = after_skip
        P(examined at k + 1 | examined at k, click at k) = after_click

    Subclasses define the two continuation probabilities. The hidden variable is the last examined
    position of a session; the expectation step sums over it exactly
    (`clicks.inference.sequential_em`; Chuklin, Markov & de Rijke, Click Models for Web Search,
    2015, chapter 4). Attractiveness is the posterior mean of clicks per expected examination. The
    priors of rates are learned anew in the iterations 1, 2, 4, 8 and so on, from fewer pairs in the
    first three of these. EM is accelerated (`clicks.inference.anderson`), since it creeps where the
    last click says little of where the user stopped.
    """

    attractiveness_: PairRates
    iterations_: int
    converged_: bool

    def __init__(self, max_iterations: int = 300, tolerance: float = 1e-5) -> None:
        """Sets the stopping rule of EM.

        Args:
            max_iterations: the largest number of EM iterations, at least 1.
            tolerance: stop when an iteration changes every global parameter, and the rates of
                pairs on average, by less than this; a probability, at least 0.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    @abstractmethod
    def _continuation(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        """The probabilities after_skip and after_click, the latter broadcastable to the rates.

        Args:
            position: positions from 0, shape (positions,).
            rates: the rates that `self.rates` names, of the pair at each position; shape (...,
                positions) or (pairs, 1).
        """

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        """Sets the initial values of all parameters but attractiveness."""

    def _maximize(
        self, expected: ExpectedExaminations, learning: int
    ) -> tuple[Array | float, Array | float]:
        """The maximization step of all parameters but attractiveness.

        Args:
            expected: posterior expectations under the current parameters.
            learning: the number of pairs to learn priors of rates from; 0 keeps the priors.

        Returns:
            Successes and trials to add to each pair's clicks and expected examinations before its
            attractiveness is estimated; each float64, shape (pairs,), or 0.
        """
        return 0.0, 0.0

    def _fit(self, log: ClickLog) -> None:
        clicked, observed = log.trials(), observe_examinations(log)
        pairs, documents = len(log.pairs.query), len(log.pairs.documents)
        overall = float((clicked.successes.sum() + 1) / (clicked.trials.sum() + 2))
        self.attractiveness_ = PairRates(
            np.full(pairs, overall), np.full(documents, overall), overall
        )
        self.prior_ = None
        self._start(pairs, documents, log.positions)
        start = self._state()
        numbers = len(start) - pairs * len(self.rates)
        weights = np.ones_like(start)
        weights[numbers:] = 1 / pairs
        logits, extrapolation = to_logits(start), Extrapolation(weights)
        for iteration in range(1, self.max_iterations + 1):
            learning = _pairs_to_learn_from(iteration)
            self._em_step(log, observed, clicked.successes, learning)
            end = self._state()
            change = np.abs(end - start)
            largest = max(change[:numbers].max(initial=0.0), change[numbers:].mean())
            self.iterations_, self.converged_ = iteration, bool(largest < self.tolerance)
            if self.converged_:
                break
            if learning:
                extrapolation.forget()
            logits = extrapolation.next_start(logits, to_logits(end))
            start = from_logits(logits)
            self._set_state(start)

    def _em_step(
        self, log: ClickLog, observed: ObservedExaminations, pair_clicks: Array, learning: int
    ) -> None:
        """One iteration of EM; learns the priors of rates from `learning` pairs, unless it is 0."""
        rates = [getattr(self, name).pair for name in self.rates]
        after_skip, after_click = self._continuation(
            np.arange(log.positions), *(rate[:, None] for rate in rates)
        )
        expected = expect_examinations(
            log, observed, rates[0], after_skip, np.atleast_2d(after_click)
        )
        more_successes, more_trials = self._maximize(expected, learning)
        clicked = self.pairs_.trials(
            pair_clicks + more_successes, expected.examinations + more_trials
        )
        if learning or self.prior_ is None:
            self.prior_ = learn_pair_prior(clicked, self.prior_, learning)
        self.attractiveness_ = self.prior_.rates(clicked)

    def _state(self) -> Array:
        """All parameters: global ones, then the rates of pairs; in [0, 1], shape (parameters,)."""
        numbers = [np.atleast_1d(getattr(self, name)) for name in self.numbers]
        rates = [getattr(self, name).pair for name in self.rates]
        return np.concatenate([*numbers, *rates])

    def _set_state(self, state: Array) -> None:
        start = 0
        for name in (*self.numbers, *self.rates):
            old = getattr(self, name)
            size = np.size(old.pair if name in self.rates else old)
            values: Any = state[start : start + size]
            start += size
            if name in self.rates:
                values = replace(old, pair=values)
            elif isinstance(old, float):
                values = float(values[0])
            setattr(self, name, values)

    def _relevance(self) -> Array:
        return self.attractiveness_.pair

    def _click(self, pages: PageBlock, *rates: Array) -> Array:
        after_skip, after_click = self._predicted(pages, *rates)
        click = np.zeros_like(rates[0])
        examined: Array = np.ones(len(click))
        for position in range(click.shape[1]):
            attractive = rates[0][:, position]
            click[:, position] = examined * attractive
            examined = examined * (
                (1 - attractive) * after_skip + attractive * after_click[:, position]
            )
        return click

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        after_skip, after_click = self._predicted(pages, *rates)
        click = np.zeros_like(rates[0])
        examined: Array = np.ones(len(click))
        for position in range(click.shape[1]):
            chance = examined * rates[0][:, position]
            click[:, position] = chance
            skipped = (examined - chance) / (1 - chance) * after_skip
            examined = np.where(pages.clicks[:, position], after_click[:, position], skipped)
        return click

    def _predicted(self, pages: PageBlock, *rates: Array) -> tuple[float, Array]:
        after_skip, after_click = self._continuation(np.arange(pages.pair.shape[1]), *rates)
        return after_skip, np.broadcast_to(after_click, pages.pair.shape)


def _pairs_to_learn_from(iteration: int) -> int:
    """How many pairs to learn priors from: few in iterations 1, 2, 4, more in 8, 16 and so on."""
    if iteration & (iteration - 1):
        return 0
    return MOST_TO_LEARN_FROM if iteration >= 8 else FIRST_TO_LEARN_FROM
