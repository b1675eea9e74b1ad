"""What readers of a chain model are expected to have done, given their clicks."""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog
from clicks.log.trials import Array


@dataclass(frozen=True)
class Reads:
    """Expected reads, and what followed on clicks and skips below which the page goes on.

    Attributes:
        of_pairs: expected reads of each pair, shape (pairs,).
        clicks: of each pair below which the page goes on, shape (pairs,).
        went_on: in how many of them the next document is expected to have been read.
        position_clicks: likewise by position, shape (positions,).
        position_went_on: in how many of these the next document is expected to have been read,
            shape (positions,).
        skips: expected reads without a click below which the page goes on, in all.
        skips_went_on: in how many of them the next document is expected to have been read.
    """

    of_pairs: Array
    clicks: Array
    went_on: Array
    position_clicks: Array
    position_went_on: Array
    skips: float
    skips_went_on: float


@dataclass(frozen=True)
class KnownReads:
    """What is known of a log's reads whatever the model: all down to the last click was read.

    Attributes:
        reads: of what was read for sure, with all clicks.
        last: position of the last click, or -1, shape (rows,).
    """

    reads: Reads
    last: NDArray[np.int64]


def find_known_reads(log: ClickLog) -> KnownReads:
    """Reads of which nothing is hidden, and where that ends."""
    parts, pairs, positions = len(log.parts) - 1, len(log.pairs.query), log.positions
    last = np.empty(len(log.sessions), dtype=np.int64)
    of_pairs = np.zeros((3, pairs))
    of_positions = np.zeros((parts, 2, positions))
    skips = np.zeros((parts, 2))
    _find(
        *(log.parts, log.starts, log.pair, log.clicks, log.sessions, last),
        *(*of_pairs, of_positions, skips),
    )
    return KnownReads(Reads(*of_pairs, *of_positions.sum(axis=0), *skips.sum(axis=0)), last)


def expect_reads(
    log: ClickLog, known: KnownReads, rate: Array, after_skip: float, after_click: Array
) -> Reads:
    """Sums over how far each user may have read below the last click, exactly.

    The chance of having gone on is that given no further click, from a backward pass over the
    positions; a forward pass multiplies these.

    Args:
        log: the sessions.
        known: what holds of these sessions whatever the model, from `find_known_reads`.
        rate: P(click | read) of each pair.
        after_skip: P(the next is read | read, no click).
        after_click: P(the next is read | click), of shape (pairs or 1, positions or 1).
    """
    sure, parts = known.reads, len(log.parts) - 1
    of_pairs, went_on = sure.of_pairs.copy(), sure.went_on.copy()
    position_went_on = np.zeros((parts, log.positions))
    skips = np.zeros((parts, 2))
    _expect(
        *(log.parts, log.starts, log.pair, log.sessions, known.last),
        *(rate, after_skip, after_click, of_pairs, went_on, position_went_on, skips),
    )
    skips_in_all, skips_went_on = skips.sum(axis=0)
    return replace(
        sure,
        of_pairs=of_pairs,
        went_on=went_on,
        position_went_on=sure.position_went_on + position_went_on.sum(axis=0),
        skips=sure.skips + float(skips_in_all),
        skips_went_on=sure.skips_went_on + float(skips_went_on),
    )


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _find(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    last: NDArray[np.int64],
    reads: Array,
    pair_clicks: Array,
    went_on: Array,
    of_positions: Array,
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
                reads[number] += sessions[row]
                if position == end - 1:
                    break
                on = sessions[row] if position < last[row] else 0.0
                if clicks[first + position]:
                    pair_clicks[number] += sessions[row]
                    went_on[number] += on
                    of_positions[part, 0, position] += sessions[row]
                    of_positions[part, 1, position] += on
                else:
                    skips[part, 0] += sessions[row]
                    skips[part, 1] += on


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _expect(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    sessions: Array,
    last: NDArray[np.int64],
    rate: Array,
    after_skip: float,
    after_click: Array,
    of_pairs: Array,
    went_on: Array,
    position_went_on: Array,
    skips: Array,
) -> None:
    """Adds what is hidden; `skips` are the skips of each part, and those that the user went on."""
    pair_step = np.int64(after_click.shape[0] > 1)
    position_step = np.int64(after_click.shape[1] > 1)
    for part in prange(len(parts) - 1):
        go_on = np.empty(position_went_on.shape[1])
        skipped = skipped_on = 0.0
        for row in range(parts[part], parts[part + 1]):
            start, first = starts[row], last[row] + 1
            end = starts[row + 1] - start
            if first == end:
                continue
            silence = 1 - rate[pair[start + end - 1]]  # P(no click from here on | it is read)
            for position in range(end - 2, first - 1, -1):
                reached = after_skip * silence
                silent = 1 - after_skip + reached
                go_on[position] = reached / silent
                silence = (1 - rate[pair[start + position]]) * silent
            read = sessions[row]
            if first > 0:
                clicked = pair[start + first - 1]
                on = after_click[clicked * pair_step, (first - 1) * position_step]
                read *= on * silence / (1 - on + on * silence)
                went_on[clicked] += read
                position_went_on[part, first - 1] += read
            for position in range(first, end - 1):
                of_pairs[pair[start + position]] += read
                skipped += read
                read *= go_on[position]
                skipped_on += read
            of_pairs[pair[start + end - 1]] += read
        skips[part, 0], skips[part, 1] = skipped, skipped_on
