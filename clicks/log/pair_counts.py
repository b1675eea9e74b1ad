"""Clicks and non-clicks of each pair by place, counted in one parallel pass over a log."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog
from clicks.log.trials import Array


@dataclass(frozen=True)
class PairCounts:
    """Clicks of pairs, and non-clicks by place: those of pair p are the rows first[p] to last[p].

    Attributes:
        pair_clicks: shape (pairs,).
        pair_impressions: shape (pairs,).
        first: shape (pairs,), int64.
        last: likewise.
        place: of each row, int32, shape (impressions,); rows of no pair mean nothing.
        non_clicks: of each row, shape (impressions,).
    """

    pair_clicks: Array
    pair_impressions: Array
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    place: NDArray[np.int32]
    non_clicks: Array


def count_pairs(log: ClickLog, place: NDArray[np.int32], places: int) -> PairCounts:
    """Counts the clicks of a log.

    Args:
        log: the sessions.
        place: of each result, from 0, shape of `log.pair`.
        places: how many there are.
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
        *(place, last, rows, non_clicks),
    )
    _merge(first, last, places, rows, non_clicks)
    return PairCounts(
        pair_clicks=of_pairs[1],
        pair_impressions=of_pairs[0],
        first=first[:-1],
        last=last,
        place=rows,
        non_clicks=non_clicks,
    )


def count_places(
    log: ClickLog, place: NDArray[np.int32], places: int, kind: NDArray[np.uint8], kinds: int
) -> tuple[Array, Array]:
    """Clicks and impressions of each place, of pairs of each kind; shape (kinds, places)."""
    of_places = np.zeros((len(log.parts) - 1, 2, kinds, places))
    _sum_places(
        *(log.parts, log.starts, log.pair, log.clicks, log.sessions, place, kind, of_places)
    )
    impressions, clicks = of_places.sum(axis=0)
    return clicks, impressions


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _sum_places(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    place: NDArray[np.int32],
    kind: NDArray[np.uint8],
    of_places: Array,
) -> None:
    for part in prange(len(parts) - 1):
        sums = of_places[part]
        for row in range(parts[part], parts[part + 1]):
            for at in range(starts[row], starts[row + 1]):
                of_kind = kind[pair[at]]
                sums[0, of_kind, place[at]] += sessions[row]
                if clicks[at]:
                    sums[1, of_kind, place[at]] += sessions[row]


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
    """Adds up impressions and clicks, and how often each pair was shown without a click."""
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
    place: NDArray[np.int32],
    last: NDArray[np.int64],
    rows: NDArray[np.int32],
    non_clicks: Array,
) -> None:
    """Puts the places of the non-clicks of each pair side by side."""
    for part in prange(len(parts) - 1):
        for row in range(parts[part], parts[part + 1]):
            for at in range(starts[row], starts[row + 1]):
                number = pair[at]
                if not clicks[at]:
                    rows[last[number]] = place[at]
                    non_clicks[last[number]] = sessions[row]
                    last[number] += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _merge(
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    places: int,
    rows: NDArray[np.int32],
    non_clicks: Array,
) -> None:
    """Makes one row of those of a pair that have the same place."""
    chunks = 64
    for chunk in prange(chunks):
        row_of = np.full(places, -1, dtype=np.int64)
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
