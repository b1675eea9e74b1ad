"""Clicks of each pair, and its impressions without a click by examination slot."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog
from clicks.log.trials import Array


@dataclass(frozen=True)
class PairCounts:
    """Clicks of each pair, and its non-clicks (impressions without a click) by slot.

    The non-clicks of pair p are the rows first[p] to last[p] - 1, one for each slot that the pair
    was not clicked in. Rows between last[p] and first[p + 1] are unused and hold any value.

    Attributes:
        pair_clicks: clicks of each pair, float64, shape (pairs,).
        pair_impressions: impressions of each pair, float64, shape (pairs,).
        first: first row of each pair, int64, shape (pairs,).
        last: the row behind the last one of each pair, int64, shape (pairs,).
        slot: examination slot of each row, from 0, int32, shape (rows,).
        non_clicks: impressions without a click in each row, float64, shape (rows,).
    """

    pair_clicks: Array
    pair_impressions: Array
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    slot: NDArray[np.int32]
    non_clicks: Array


def count_pairs(log: ClickLog, slot: NDArray[np.int32], slots: int) -> PairCounts:
    """Counts clicks and non-clicks of each pair, in parallel over the parts of the log.

    Args:
        log: the encoded sessions.
        slot: examination slot of each result, from 0, int32, shape (results,).
        slots: the number of slots.
    """
    pairs = len(log.pairs.query)
    shown = np.zeros(pairs, dtype=np.int64)
    of_pairs = np.zeros((2, pairs))
    _sum(log.parts, log.starts, log.pair, log.clicks, log.sessions, shown, of_pairs)
    first = np.append(0, np.cumsum(shown))
    last = first[:-1].copy()
    rows = np.empty(first[-1], dtype=np.int32)
    non_clicks = np.empty(first[-1])
    _collect(
        *(log.parts, log.starts, log.pair, log.clicks, log.sessions),
        *(slot, last, rows, non_clicks),
    )
    _merge(first, last, slots, rows, non_clicks)
    return PairCounts(
        pair_clicks=of_pairs[1],
        pair_impressions=of_pairs[0],
        first=first[:-1],
        last=last,
        slot=rows,
        non_clicks=non_clicks,
    )


def count_by_slot(
    log: ClickLog, slot: NDArray[np.int32], slots: int, kind: NDArray[np.uint8], kinds: int
) -> tuple[Array, Array]:
    """Counts the clicks and impressions of each slot, separately for kinds of pairs.

    Args:
        log: the encoded sessions.
        slot: examination slot of each result, from 0, int32, shape (results,).
        slots: the number of slots.
        kind: kind of each pair, from 0, shape (pairs,).
        kinds: the number of kinds.

    Returns:
        Clicks and impressions, each float64, shape (kinds, slots).
    """
    by_slot = np.zeros((len(log.parts) - 1, 2, kinds, slots))
    _sum_slots(*(log.parts, log.starts, log.pair, log.clicks, log.sessions, slot, kind, by_slot))
    impressions, clicks = by_slot.sum(axis=0)
    return clicks, impressions


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _sum_slots(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    slot: NDArray[np.int32],
    kind: NDArray[np.uint8],
    by_slot: Array,
) -> None:
    for part in prange(len(parts) - 1):
        sums = by_slot[part]
        for row in range(parts[part], parts[part + 1]):
            for at in range(starts[row], starts[row + 1]):
                of_kind = kind[pair[at]]
                sums[0, of_kind, slot[at]] += sessions[row]
                if clicks[at]:
                    sums[1, of_kind, slot[at]] += sessions[row]


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _sum(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    shown: NDArray[np.int64],
    of_pairs: Array,
) -> None:
    """Adds up impressions and clicks of pairs, and in `shown` their results without a click."""
    for part in prange(len(parts) - 1):
        for row in range(parts[part], parts[part + 1]):
            for at in range(starts[row], starts[row + 1]):
                number = pair[at]
                of_pairs[0, number] += sessions[row]
                if clicks[at]:
                    of_pairs[1, number] += sessions[row]
                else:
                    shown[number] += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _collect(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    slot: NDArray[np.int32],
    last: NDArray[np.int64],
    rows: NDArray[np.int32],
    non_clicks: Array,
) -> None:
    """Writes the slots and session counts of each pair's non-clicks from row `last` on."""
    for part in prange(len(parts) - 1):
        for row in range(parts[part], parts[part + 1]):
            for at in range(starts[row], starts[row + 1]):
                number = pair[at]
                if not clicks[at]:
                    rows[last[number]] = slot[at]
                    non_clicks[last[number]] = sessions[row]
                    last[number] += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _merge(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    slots: int,
    rows: NDArray[np.int32],
    non_clicks: Array,
) -> None:
    """Merges the rows of a pair that have the same slot."""
    chunks = 64
    for chunk in prange(chunks):
        row_of = np.full(slots, -1, dtype=np.int64)
        for pair in range(chunk * len(last) // chunks, (chunk + 1) * len(last) // chunks):
            free = first[pair]
            for row in range(first[pair], last[pair]):
                known = row_of[rows[row]]
                if known >= first[pair]:
                    non_clicks[known] += non_clicks[row]
                else:
                    row_of[rows[row]] = free
                    rows[free], non_clicks[free] = rows[row], non_clicks[row]
                    free += 1
            last[pair] = free
