"""Models of a user who reads a page from top to bottom and stops somewhere."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clicks.inference.anderson import Extrapolation
from clicks.inference.rate_prior import (
    FIRST_TO_LEARN_FROM,
    MOST_TO_LEARN_FROM,
    PairRates,
    RatePrior,
    learn_prior,
)
from clicks.inference.reading_em import KnownReads, Reads, expect_reads, find_known_reads
from clicks.log.click_log import ClickLog, PageBlock
from clicks.log.trials import Array, Trials
from clicks.models.base import ClickModel
from clicks.models.examined import check_fitting


class ChainModel(ClickModel):
    """A document is read only if the user went on from the one above it.

        P(read at 1) = 1
        P(click at k | read at k) = attractiveness[q, d]
        P(read at k + 1 | read at k, no click at k) = after_skip
        P(read at k + 1 | read at k, click at k) = after_click

    Subclasses say what the two chances of going on are. Hidden is how far the user read below
    the last click; EM sums over that exactly, with a backward and a forward pass over the
    positions (Chuklin, Markov & de Rijke, Click Models for Web Search, 2015, chapter 4).
    Attractiveness is a rate of clicks in expected reads; the priors of rates are learned anew in
    the iterations 1, 2, 4, 8 and so on, from fewer pairs in the first three of these. Each
    iteration starts from where the last few lead (`clicks.inference.anderson`), since EM creeps
    where the last click tells little of where the user stopped.
    """

    attractiveness_: PairRates
    iterations_: int
    converged_: bool
    _prior: RatePrior | None

    def __init__(self, max_iterations: int = 300, tolerance: float = 1e-5) -> None:
        """Sets how long to fit.

        Args:
            max_iterations: the most iterations of EM, at least 1.
            tolerance: stop once an iteration changes neither a number of the whole log nor, on
                average, the rates of pairs by more.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    @abstractmethod
    def _going_on(self, position: NDArray[np.int64], *rates: Array) -> tuple[float, Array]:
        """The chances after_skip and after_click, to be broadcast to shape (..., positions).

        Args:
            position: from 0.
            rates: those that `self.rates` names, of the document at each position.
        """

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        """Sets first values of all but attractiveness."""

    def _improve(self, reads: Reads, learning: int) -> tuple[Array | float, Array | float]:
        """Improves all but attractiveness.

        Args:
            reads: what is expected.
            learning: how many pairs to learn priors of rates from; 0 to leave them as they are.

        Returns:
            What to add to the clicks and to the reads of each pair before attractiveness is taken
            from them.
        """
        return 0.0, 0.0

    def _fit(self, log: ClickLog) -> None:
        clicked, known = log.trials(), find_known_reads(log)
        pairs, documents = len(log.pairs.query), len(log.pairs.documents)
        overall = float((clicked.successes.sum() + 1) / (clicked.trials.sum() + 2))
        self.attractiveness_ = PairRates(
            np.full(pairs, overall), np.full(documents, overall), overall
        )
        self._prior = None
        self._start(pairs, documents, log.positions)
        start = self._state()
        numbers = len(start) - pairs * len(self.rates)
        weights = np.ones_like(start)
        weights[numbers:] = 1 / pairs
        far, extrapolation = logit(start), Extrapolation(weights)
        for iteration in range(1, self.max_iterations + 1):
            learning = _learn_from(iteration)
            self._step(log, known, clicked.successes, learning)
            end = self._state()
            change = np.abs(end - start)
            largest = max(change[:numbers].max(initial=0.0), change[numbers:].mean())
            self.iterations_, self.converged_ = iteration, bool(largest < self.tolerance)
            if self.converged_:
                break
            if learning:
                extrapolation.forget()
            far = extrapolation.onward(far, logit(end))
            start = expit(far)
            self._set_state(start)

    def _step(self, log: ClickLog, known: KnownReads, pair_clicks: Array, learning: int) -> None:
        """One iteration of EM; learns the priors of rates anew from so many pairs, if any."""
        rates = [getattr(self, name).pair for name in self.rates]
        after_skip, after_click = self._going_on(
            np.arange(log.positions), *(rate[:, None] for rate in rates)
        )
        reads = expect_reads(log, known, rates[0], after_skip, np.atleast_2d(after_click))
        more_clicks, more_reads = self._improve(reads, learning)
        clicked = Trials(
            successes=pair_clicks + more_clicks,
            trials=reads.of_pairs + more_reads,
            document=self.pairs_.document,
            documents=len(self.pairs_.documents),
        )
        if learning or self._prior is None:
            self._prior = learn_prior(clicked, self._prior, learning)
        self.attractiveness_ = self._prior.rates(clicked)

    def _state(self) -> Array:
        """All that an iteration starts from: numbers of the log, then rates; all in [0, 1]."""
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
        read: Array = np.ones(len(click))
        for position in range(click.shape[1]):
            attractive = rates[0][:, position]
            click[:, position] = read * attractive
            read = read * ((1 - attractive) * after_skip + attractive * after_click[:, position])
        return click

    def _click_given_earlier(self, pages: PageBlock, *rates: Array) -> Array:
        after_skip, after_click = self._predicted(pages, *rates)
        click = np.zeros_like(rates[0])
        read: Array = np.ones(len(click))
        for position in range(click.shape[1]):
            chance = read * rates[0][:, position]
            click[:, position] = chance
            skipped = (read - chance) / (1 - chance) * after_skip
            read = np.where(pages.clicks[:, position], after_click[:, position], skipped)
        return click

    def _predicted(self, pages: PageBlock, *rates: Array) -> tuple[float, Array]:
        after_skip, after_click = self._going_on(np.arange(pages.pair.shape[1]), *rates)
        return after_skip, np.broadcast_to(after_click, pages.pair.shape)


def _learn_from(iteration: int) -> int:
    """How many pairs to learn priors from: few in iterations 1, 2, 4, more in 8, 16 and so on."""
    if iteration & (iteration - 1):
        return 0
    return MOST_TO_LEARN_FROM if iteration >= 8 else FIRST_TO_LEARN_FROM
