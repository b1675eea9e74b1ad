"""The expectation step of sequential click models: what was examined, given the clicks."""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog
from clicks.log.trials import Array


@dataclass(frozen=True)
class ExpectedExaminations:
    """Posterior expectations of the examinations and continuations of a log.

    A user *continues* from a result if the next result of the page is examined, too. Clicks and
    skips (examinations without a click) on the last result of a page have nothing to continue to,
    so they count in `examinations` only. All values are numbers of sessions, at least 0, float64.

    Attributes:
        examinations: how often each pair is expected to have been examined, shape (pairs,).
        clicks: how often each pair was clicked above the last position of its page, shape
            (pairs,).
        continuations: after how many of `clicks` the user is expected to have continued, shape
            (pairs,).
        position_clicks: clicks at each position, above the last one of the page, shape
            (positions,).
        position_continuations: after how many of `position_clicks` the user is expected to have
            continued, shape (positions,).
        skips: how many skips above the last position of a page are expected in the whole log.
        skip_continuations: after how many of `skips` the user is expected to have continued.
    """

    examinations: Array
    clicks: Array
    continuations: Array
    position_clicks: Array
    position_continuations: Array
    skips: float
    skip_continuations: float


@dataclass(frozen=True)
class ObservedExaminations:
    """What the clicks show under every sequential model: examination down to the last click.

    Attributes:
        certain: counts of the results down to the last click of each session, and of all clicks.
        last: position of the last click, from 0, or -1 without a click; int64, shape (rows,).
    """

    certain: ExpectedExaminations
    last: NDArray[np.int64]


def observe_examinations(log: ClickLog) -> ObservedExaminations:
    """Counts the examinations of a log that follow from its clicks alone.

    Args:
        log: the encoded sessions.
    """
    parts, pairs, positions = len(log.parts) - 1, len(log.pairs.query), log.positions
    last = np.empty(len(log.sessions), dtype=np.int64)
    by_pair = np.zeros((3, pairs))
    by_position = np.zeros((parts, 2, positions))
    skips = np.zeros((parts, 2))
    _observe(
        *(log.parts, log.starts, log.pair, log.clicks, log.sessions, last),
        *(*by_pair, by_position, skips),
    )
    certain = ExpectedExaminations(*by_pair, *by_position.sum(axis=0), *skips.sum(axis=0))
    return ObservedExaminations(certain, last)


def expect_examinations(
    log: ClickLog,
    observed: ObservedExaminations,
    attractiveness: Array,
    after_skip: float,
    after_click: Array,
) -> ExpectedExaminations:
    """The expectation step of EM: sums exactly over the last examined position of each session.

    A backward recursion over the positions below the last click gives the probability of no
    further click, and with it the posterior probability of continuing at each position; a forward
    recursion multiplies these.

    Args:
        log: the encoded sessions.
        observed: the examinations of the same log that `observe_examinations` counted.
        attractiveness: P(click | examined) of each pair, in (0, 1), shape (pairs,).
        after_skip: P(continue | examined, not clicked), in [0, 1].
        after_click: P(continue | clicked), in [0, 1]; shape (pairs or 1, positions or 1), where
            1 means that it does not depend on the pair, or on the position.
    """
    certain, parts = observed.certain, len(log.parts) - 1
    examinations, continuations = certain.examinations.copy(), certain.continuations.copy()
    position_continuations = np.zeros((parts, log.positions))
    skips = np.zeros((parts, 2))
    _expect(
        *(log.parts, log.starts, log.pair, log.sessions, observed.last),
        *(attractiveness, after_skip, after_click),
        *(examinations, continuations, position_continuations, skips),
    )
    further_skips, further_continuations = skips.sum(axis=0)
    return replace(
        certain,
        examinations=examinations,
        continuations=continuations,
        position_continuations=certain.position_continuations + position_continuations.sum(axis=0),
        skips=certain.skips + float(further_skips),
        skip_continuations=certain.skip_continuations + float(further_continuations),
    )


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _observe(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    last: NDArray[np.int64],
    examinations: Array,
    pair_clicks: Array,
    continuations: Array,
    by_position: Array,
    skips: Array,
) -> None:
    for part in prange(len(parts) - 1):
        for row in range(parts[part], parts[part + 1]):
            first, last[row] = starts[row], -1
            end = starts[row + 1] - first
            for position in range(end):
                if clicks[first + position]:
                    last[row] = position
            for position in range(last[row] + 1):
                number = pair[first + position]
                examinations[number] += sessions[row]
                if position == end - 1:
                    break
                continued = sessions[row] if position < last[row] else 0.0
                if clicks[first + position]:
                    pair_clicks[number] += sessions[row]
                    continuations[number] += continued
                    by_position[part, 0, position] += sessions[row]
                    by_position[part, 1, position] += continued
                else:
                    skips[part, 0] += sessions[row]
                    skips[part, 1] += continued


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _expect(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    sessions: Array,
    last: NDArray[np.int64],
    attractiveness: Array,
    after_skip: float,
    after_click: Array,
    examinations: Array,
    continuations: Array,
    position_continuations: Array,
    skips: Array,
) -> None:
    """Adds expectations below the last clicks; row p of `skips` has the two sums of part p."""
    pair_step = np.int64(after_click.shape[0] > 1)
    position_step = np.int64(after_click.shape[1] > 1)
    for part in prange(len(parts) - 1):
        continuing = np.empty(position_continuations.shape[1])
        skipped = continued = 0.0
        for row in range(parts[part], parts[part + 1]):
            start, first = starts[row], last[row] + 1
            end = starts[row + 1] - start
            if first == end:
                continue
            # P(no click from here on | examined), from the last position upwards.
            no_click = 1 - attractiveness[pair[start + end - 1]]
            for position in range(end - 2, first - 1, -1):
                continued_without_click = after_skip * no_click
                no_click_below = 1 - after_skip + continued_without_click
                continuing[position] = continued_without_click / no_click_below
                no_click = (1 - attractiveness[pair[start + position]]) * no_click_below
            examined = sessions[row]  # expected number of sessions that examined the position
            if first > 0:
                clicked = pair[start + first - 1]
                chance = after_click[clicked * pair_step, (first - 1) * position_step]
                examined *= chance * no_click / (1 - chance + chance * no_click)
                continuations[clicked] += examined
                position_continuations[part, first - 1] += examined
            for position in range(first, end - 1):
                examinations[pair[start + position]] += examined
                skipped += examined
                examined *= continuing[position]
                continued += examined
            examinations[pair[start + end - 1]] += examined
        skips[part, 0], skips[part, 1] = skipped, continued
