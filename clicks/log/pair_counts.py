"""Clicks of each pair, and its impressions without a click by examination slot."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, Rows
from clicks.log.large_arrays import large_zeros, pieces
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array

CHUNKS = 32  # of pairs, that threads work on


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


class NonClicks(NamedTuple):
    """The non-clicks of `PairCounts`, for compiled functions."""

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
    shown = large_zeros(pairs, np.int64)
    of_pairs = large_zeros((2, pairs), np.float64)
    parts = len(log.parts) - 1
    for_each_part(_sum, parts, log.rows, shown, of_pairs)
    first, last = large_zeros(pairs + 1, np.int64), large_zeros(pairs, np.int64)
    np.cumsum(shown, out=first[1:])
    last[:] = first[:-1]
    rows = large_zeros(int(first[-1]), np.int32)
    non_clicks = large_zeros(int(first[-1]), np.float64)
    found = NonClicks(first, last, rows, non_clicks)
    for_each_part(_collect, parts, log.rows, slot, found)
    for_each_part(_merge, CHUNKS, np.full((CHUNKS, slots), np.int64(-1)), found)
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
    weight, cells = log.of_results(log.sessions), kinds * slots
    impressions, clicks = np.zeros(cells), np.zeros(cells)
    for some in pieces(len(slot)):
        cell = kind[log.pair[some]] * np.int64(slots) + slot[some]
        impressions += np.bincount(cell, weight[some], cells)
        clicks += np.bincount(cell, weight[some] * log.clicks[some], cells)
    return clicks.reshape(kinds, slots), impressions.reshape(kinds, slots)


@compiled()  # type: ignore[untyped-decorator]
def _sum(
    part: int,
    of: Rows,
    shown: NDArray[np.int64],
    of_pairs: Array,
) -> None:
    """Adds up impressions and clicks of pairs, and in `shown` their results without a click."""
    for row in range(of.parts[part], of.parts[part + 1]):
        for at in range(of.starts[row], of.starts[row + 1]):
            number = of.pair[at]
            of_pairs[0, number] += of.sessions[row]
            if of.clicks[at]:
                of_pairs[1, number] += of.sessions[row]
            else:
                shown[number] += 1


@compiled()  # type: ignore[untyped-decorator]
def _collect(
    part: int,
    of: Rows,
    slot: NDArray[np.int32],
    found: NonClicks,
) -> None:
    """Writes the slots and session counts of each pair's non-clicks from row `last` on."""
    for row in range(of.parts[part], of.parts[part + 1]):
        for at in range(of.starts[row], of.starts[row + 1]):
            number = of.pair[at]
            if not of.clicks[at]:
                found.slot[found.last[number]] = slot[at]
                found.non_clicks[found.last[number]] = of.sessions[row]
                found.last[number] += 1


@compiled()  # type: ignore[untyped-decorator]
def _merge(chunk: int, row_of_slots: NDArray[np.int64], found: NonClicks) -> None:
    """Merges the rows of a pair that have the same slot."""
    first, last, rows, non_clicks = found
    row_of = row_of_slots[chunk]
    for pair in range(chunk * len(last) // CHUNKS, (chunk + 1) * len(last) // CHUNKS):
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
