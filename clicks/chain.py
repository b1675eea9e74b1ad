"""Models of a user who reads a page from top to bottom and stops somewhere."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clicks.click_log import ClickLog
from clicks.click_model import ClickModel
from clicks.examination import check_fitting
from clicks.shrinkage import Array, PairRates, RatePrior, Trials, learn_prior, total

LONGEST_STEP = 16.0


@dataclass(frozen=True)
class Clicks:
    """The clicks below which the page goes on, and what readers did next.

    Attributes:
        pair: of each click, shape (clicks,).
        position: of each click, from 0.
        sessions: how many sessions had it.
        went_on: in how many of them the next document is expected to have been read.
        skips: reads without a click below which the page goes on, in all.
        skips_went_on: in how many of them the next document is expected to have been read.
    """

    pair: NDArray[np.int64]
    position: NDArray[np.int64]
    sessions: Array
    went_on: Array
    skips: float
    skips_went_on: float


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
    the iterations 1, 2, 4, 8 and so on. After each three iterations a step is extrapolated from
    them (SQUAREM; Varadhan & Roland, Scandinavian Journal of Statistics 2008), since EM creeps
    where the last click tells little of where the user stopped.
    """

    attractiveness_: PairRates
    iterations_: int
    converged_: bool
    _prior: RatePrior

    def __init__(self, max_iterations: int = 300, tolerance: float = 1e-5) -> None:
        """Sets how long to fit.

        Args:
            max_iterations: the most iterations of EM, at least 1.
            tolerance: stop once an iteration changes neither a number of the whole log nor, on
                average, the rates of pairs by more.
        """
        self.max_iterations, self.tolerance = check_fitting(max_iterations, tolerance)

    @abstractmethod
    def _going_on(self, *rates: Array) -> tuple[Array, Array]:
        """The chances after_skip and after_click, to be broadcast to shape (..., positions).

        Args:
            rates: those that `self.rates` names, of the document at each position.
        """

    def _start(self, pairs: int, documents: int, positions: int) -> None:
        """Sets first values of all but attractiveness."""

    def _improve(self, clicks: Clicks, learning: bool) -> tuple[Array | float, Array | float]:
        """Improves all but attractiveness.

        Returns:
            What to add to the clicks and to the reads of each pair before attractiveness is taken
            from them.
        """
        return 0.0, 0.0

    def _fit(self, log: ClickLog) -> None:
        evidence = _Evidence(log)
        pairs, documents = len(log.pairs.query), len(log.pairs.documents)
        overall = float(evidence.pair_clicks.sum() / evidence.impressions)
        self.attractiveness_ = PairRates(
            np.full(pairs, overall), np.full(documents, overall), overall
        )
        self._start(pairs, documents, log.pair.shape[1])
        states = [self._state()]
        for iteration in range(1, self.max_iterations + 1):
            self._step(evidence, learning=iteration & (iteration - 1) == 0)
            states.append(self._state())
            numbers = len(states[0]) - pairs * len(self.rates)
            change = np.abs(expit(states[-1]) - expit(states[-2]))
            largest = max(change[:numbers].max(initial=0.0), change[numbers:].mean())
            self.iterations_, self.converged_ = iteration, bool(largest < self.tolerance)
            if self.converged_:
                break
            if len(states) == 4:
                self._set_state(_extrapolate(*states[1:]))
                states = [self._state()]

    def _step(self, evidence: "_Evidence", learning: bool) -> None:
        """One iteration of EM; learns the priors of rates anew where that is wanted."""
        rates = [evidence.spread(getattr(self, name).pair) for name in self.rates]
        reads = evidence.expected_reads(rates[0], *self._going_on(*rates))
        more_clicks, more_reads = self._improve(evidence.clicks(reads), learning)
        known = Trials(
            successes=evidence.pair_clicks + more_clicks,
            trials=evidence.by_pair(reads) + more_reads,
            document=self.pairs_.document,
            documents=len(self.pairs_.documents),
        )
        if learning:
            self._prior = learn_prior(known)
        self.attractiveness_ = self._prior.rates(known)

    def _state(self) -> Array:
        """All that an iteration starts from, in logits: numbers of the log, then rates."""
        numbers = [np.atleast_1d(getattr(self, name)) for name in self.numbers]
        rates = [getattr(self, name).pair for name in self.rates]
        return np.asarray(logit(np.concatenate([*numbers, *rates])))

    def _set_state(self, state: Array) -> None:
        start = 0
        for name in (*self.numbers, *self.rates):
            old = getattr(self, name)
            size = np.size(old.pair if name in self.rates else old)
            values = expit(state[start : start + size])
            start += size
            if name in self.rates:
                values = replace(old, pair=values)
            elif isinstance(old, float):
                values = float(values[0])
            setattr(self, name, values)

    def _relevance(self) -> Array:
        return self.attractiveness_.pair

    def _click(self, log: ClickLog) -> Array:
        rates, after_skip, after_click = self._predicted(log)
        click = np.zeros_like(rates)
        read: Array = np.ones(len(click))
        for position in range(click.shape[1]):
            attractive = rates[:, position]
            click[:, position] = read * attractive
            read = read * (
                (1 - attractive) * after_skip[:, position] + attractive * after_click[:, position]
            )
        return click

    def _click_given_earlier(self, log: ClickLog) -> Array:
        rates, after_skip, after_click = self._predicted(log)
        click = np.zeros_like(rates)
        read: Array = np.ones(len(click))
        for position in range(click.shape[1]):
            chance = read * rates[:, position]
            click[:, position] = chance
            skipped = (read - chance) / (1 - chance) * after_skip[:, position]
            read = np.where(log.clicks[:, position], after_click[:, position], skipped)
        return click

    def _predicted(self, log: ClickLog) -> tuple[Array, Array, Array]:
        rates = [self._rate(getattr(self, name), log) for name in self.rates]
        after_skip, after_click = self._going_on(*rates)
        shape = log.pair.shape
        return rates[0], np.broadcast_to(after_skip, shape), np.broadcast_to(after_click, shape)


class _Evidence:
    """A log laid out for EM: arrays of shape (distinct sessions, positions), column by column."""

    def __init__(self, log: ClickLog) -> None:
        self.pairs = len(log.pairs.query)
        self.shown = np.asfortranarray(log.shown)
        self.clicked = np.asfortranarray(log.clicks)
        self.pair = np.asfortranarray(np.where(log.shown, log.pair, self.pairs))
        self.sessions = log.sessions
        self.follows = np.zeros_like(self.shown)
        self.follows[:, :-1] = self.shown[:, 1:]
        later: NDArray[np.int64] = np.cumsum(log.clicks[:, ::-1], axis=1)[:, ::-1] - log.clicks
        self.clicked_later = np.asfortranarray(later > 0)
        self.pair_clicks = self.by_pair(self.clicked)
        self.impressions = float(log.sessions @ log.shown.sum(axis=1))
        self.rows, self.columns = np.nonzero(self.clicked & self.follows)

    def by_pair(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> Array:
        """Sums values of positions, times the sessions, for each pair."""
        weighted = (values * self.sessions[:, None]).ravel(order="F")
        return total(self.pair.ravel(order="F"), weighted, self.pairs + 1)[: self.pairs]

    def spread(self, of_pairs: Array) -> Array:
        """The value of the pair at each position, 0 beyond a page's end."""
        return np.append(of_pairs, 0.0)[self.pair]

    def expected_reads(self, rate: Array, after_skip: Array, after_click: Array) -> Array:
        """P(read | clicks) at each position, shape (distinct sessions, positions)."""
        sessions, positions = self.pair.shape
        after_skip = np.broadcast_to(after_skip, self.pair.shape)
        after_click = np.broadcast_to(after_click, self.pair.shape)
        go_on = np.empty((sessions, positions), order="F")
        silence = np.ones(sessions)  # P(no click from the next position on | it is read)
        for position in reversed(range(positions)):
            column = np.s_[:, position]
            on = np.where(self.clicked[column], after_click[column], after_skip[column])
            on = on * self.follows[column]
            silent = 1 - on + on * silence
            go_on[column] = on * silence / silent
            silence = (1 - rate[column]) * silent
        reads = np.empty_like(go_on)
        reads[:, 0] = self.shown[:, 0]
        for position in range(1, positions):
            above = np.s_[:, position - 1]
            reads[:, position] = np.where(
                self.clicked_later[above], 1.0, reads[above] * go_on[above]
            )
        return reads

    def clicks(self, reads: Array) -> Clicks:
        """What is expected to have happened after clicks and skips."""
        next_reads = np.zeros_like(reads)
        next_reads[:, :-1] = reads[:, 1:]
        sessions = self.sessions[self.rows]
        went_on = next_reads[self.rows, self.columns] * sessions
        all_reads = self.sessions @ np.where(self.follows, reads, 0.0).sum(axis=1)
        return Clicks(
            pair=self.pair[self.rows, self.columns],
            position=self.columns,
            sessions=sessions,
            went_on=went_on,
            skips=float(all_reads - sessions.sum()),
            skips_went_on=float(self.sessions @ next_reads.sum(axis=1) - went_on.sum()),
        )


def _extrapolate(first: Array, second: Array, third: Array) -> Array:
    """Where three iterates lead (SQUAREM's third step length), kept to so many steps."""
    step, bend = second - first, third - 2 * second + first
    length = float(np.linalg.norm(step) / max(float(np.linalg.norm(bend)), 1e-150))
    length = min(max(length, 1.0), LONGEST_STEP)
    return first + 2 * length * step + length**2 * bend
