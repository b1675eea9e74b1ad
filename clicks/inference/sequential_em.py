"""The expectation step of sequential click models: what was examined, given the clicks."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, Rows
from clicks.log.threads import compiled, for_each_part
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
    counts = ObservedCounts(by_pair[0], by_pair[1], by_pair[2], by_position, skips)
    for_each_part(_observe, parts, log.rows, last, counts)
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
    chances = Chances(attractiveness, float(after_skip), after_click)
    counts = ExpectedCounts(examinations, continuations, position_continuations, skips)
    for_each_part(_expect, parts, log.rows, observed.last, chances, counts)
    further_skips, further_continuations = skips.sum(axis=0)
    return replace(
        certain,
        examinations=examinations,
        continuations=continuations,
        position_continuations=certain.position_continuations + position_continuations.sum(axis=0),
        skips=certain.skips + float(further_skips),
        skip_continuations=certain.skip_continuations + float(further_continuations),
    )


class ObservedCounts(NamedTuple):
    """What `_observe` adds to: by pair; by part and position, two sums each; by part, two sums."""

    examinations: Array
    pair_clicks: Array
    continuations: Array
    by_position: Array
    skips: Array


class Chances(NamedTuple):
    """The parameters of `expect_examinations`, which are described there."""

    attractiveness: Array
    after_skip: float
    after_click: Array


class ExpectedCounts(NamedTuple):
    """What `_expect` adds to: by pair; by part and position; by part, two sums."""

    examinations: Array
    continuations: Array
    position_continuations: Array
    skips: Array


@compiled()  # type: ignore[untyped-decorator]
def _observe(part: int, of: Rows, last: NDArray[np.int64], counts: ObservedCounts) -> None:
    for row in range(of.parts[part], of.parts[part + 1]):
        first, last[row] = of.starts[row], -1
        end = of.starts[row + 1] - first
        for position in range(end):
            if of.clicks[first + position]:
                last[row] = position
        for position in range(last[row] + 1):
            number = of.pair[first + position]
            counts.examinations[number] += of.sessions[row]
            if position == end - 1:
                break
            continued = of.sessions[row] if position < last[row] else 0.0
            if of.clicks[first + position]:
                counts.pair_clicks[number] += of.sessions[row]
                counts.continuations[number] += continued
                counts.by_position[part, 0, position] += of.sessions[row]
                counts.by_position[part, 1, position] += continued
            else:
                counts.skips[part, 0] += of.sessions[row]
                counts.skips[part, 1] += continued


@compiled()  # type: ignore[untyped-decorator]
def _expect(
    part: int, of: Rows, last: NDArray[np.int64], chances: Chances, counts: ExpectedCounts
) -> None:
    """Adds expectations below the last clicks; row p of `skips` has the two sums of part p."""
    pair_step = np.int64(chances.after_click.shape[0] > 1)
    position_step = np.int64(chances.after_click.shape[1] > 1)
    continuing = np.empty(counts.position_continuations.shape[1])
    skipped = continued = 0.0
    for row in range(of.parts[part], of.parts[part + 1]):
        start, first = of.starts[row], last[row] + 1
        end = of.starts[row + 1] - start
        if first == end:
            continue
        # P(no click from here on | examined), from the last position upwards.
        no_click = 1 - chances.attractiveness[of.pair[start + end - 1]]
        for position in range(end - 2, first - 1, -1):
            continued_without_click = chances.after_skip * no_click
            no_click_below = 1 - chances.after_skip + continued_without_click
            continuing[position] = continued_without_click / no_click_below
            no_click = (1 - chances.attractiveness[of.pair[start + position]]) * no_click_below
        examined = of.sessions[row]  # expected number of sessions that examined the position
        if first > 0:
            clicked = of.pair[start + first - 1]
            chance = chances.after_click[clicked * pair_step, (first - 1) * position_step]
            examined *= chance * no_click / (1 - chance + chance * no_click)
            counts.continuations[clicked] += examined
            counts.position_continuations[part, first - 1] += examined
        for position in range(first, end - 1):
            counts.examinations[of.pair[start + position]] += examined
            skipped += examined
            examined *= continuing[position]
            continued += examined
        counts.examinations[of.pair[start + end - 1]] += examined
    counts.skips[part, 0], counts.skips[part, 1] = skipped, continued
