"""Numbers the documents of each query, and sessions that are alike, in one parallel pass."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from clicks.string_bytes import Bytes, Starts, Words, hash_of, same_bytes

Numbers = NDArray[np.int32]
Places = NDArray[np.int64]

PARTS = 32  # of the rows, that threads work on


@njit(cache=True)  # type: ignore[untyped-decorator]
def group_rows(group: Numbers, groups: int) -> tuple[Places, Places]:
    """Sorts rows by the number of their group, stably.

    Returns:
        The rows in that order, and where in it each group starts and the last one ends.
    """
    starts = np.zeros(groups + 1, dtype=np.int64)
    for row in range(len(group)):
        starts[group[row] + 1] += 1
    starts = np.cumsum(starts)
    order = np.empty(len(group), dtype=np.int64)
    free = starts[:-1].copy()
    for row in range(len(group)):
        order[free[group[row]]] = row
        free[group[row]] += 1
    return order, starts


def cut(starts: Places) -> Places:
    """Cuts groups of rows into parts of about as many rows: the first group of each part."""
    edges = np.searchsorted(starts, np.linspace(0, starts[-1], PARTS + 1))
    edges[-1] = len(starts) - 1
    return np.unique(edges)


def number_within(
    order: Places, starts: Places, items: Places, text_starts: Starts, text: Bytes, words: Words
) -> tuple[Numbers, Places]:
    """Numbers the distinct items of each group of rows; equal bytes are one item.

    Args:
        order: the rows by group, as of `group_rows`.
        starts: of the groups in it.
        items: where the items of each row start, and those of the last row end.
        text_starts: where each item starts in the bytes, and the last one ends.
        text: the bytes.
        words: of them.

    Returns:
        The number of each item, shape (items,), and an example of each number. Numbers are in the
        order of groups, and in a group in the order of first appearance.
    """
    number = np.empty(items[-1], dtype=np.int32)
    example = np.empty(items[-1] - items[0], dtype=np.int64)
    distinct = np.zeros(len(starts), dtype=np.int64)
    before = np.append(0, np.cumsum((items[1:] - items[:-1])[order]))
    parts = cut(starts)
    _number(
        order, starts, before, parts, items, text_starts, text, words, number, example, distinct
    )
    base = np.cumsum(distinct)
    found = np.empty(base[-1], dtype=np.int64)
    _shift(order, starts, before, parts, items, base, number, example, found)
    return number, found


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def spread(
    rows: Places, items: Places, number: Numbers, clicked: NDArray[np.bool_], positions: int
) -> tuple[Numbers, NDArray[np.bool_]]:
    """Lays items out by row and position.

    Args:
        rows: which row goes where, shape (rows,).
        items: where the items of each row start, and those of the last row end.
        number: of each item.
        clicked: each item.
        positions: of the longest row.

    Returns:
        Numbers, -1 beyond a row's end, and clicks; shape (rows, positions).
    """
    pair = np.full((len(rows), positions), np.int32(-1))
    clicks = np.zeros((len(rows), positions), dtype=np.bool_)
    for place in prange(len(rows)):
        first = items[rows[place]]
        for position in range(items[rows[place] + 1] - first):
            pair[place, position] = number[first + position]
            clicks[place, position] = clicked[first + position]
    return pair, clicks


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _number(
    order: Places,
    starts: Places,
    before: Places,
    parts: Places,
    items: Places,
    text_starts: Starts,
    text: Bytes,
    words: Words,
    number: Numbers,
    example: Places,
    distinct: Places,
) -> None:
    """Numbers each group from 0, with a hash table of open addressing for each.

    `example` has room for as many numbers as a group has items; `distinct` says how many a group
    has, one further on.
    """
    for part in prange(len(parts) - 1):
        largest = 0
        for group in range(parts[part], parts[part + 1]):
            largest = max(largest, before[starts[group + 1]] - before[starts[group]])
        slots = 4
        while slots < 2 * largest:
            slots *= 2
        owner = np.full(slots, -1, dtype=np.int32)  # the group whose item is in a slot
        holds = np.empty(slots, dtype=np.int32)
        hashes = np.empty(slots, dtype=np.uint64)
        for group in range(parts[part], parts[part + 1]):
            room = before[starts[group]]
            slots = 4
            while slots < 2 * (before[starts[group + 1]] - room):
                slots *= 2
            count = 0
            for row in order[starts[group] : starts[group + 1]]:
                for item in range(items[row], items[row + 1]):
                    start, end = text_starts[item], text_starts[item + 1]
                    key = hash_of(text, words, start, end)
                    slot = np.int64(key & np.uint64(slots - 1))
                    while owner[slot] == group:
                        other = example[room + holds[slot]]
                        if (
                            hashes[slot] == key
                            and text_starts[other + 1] - text_starts[other] == end - start
                            and same_bytes(text, words, start, end, text_starts[other])
                        ):
                            break
                        slot = (slot + 1) & (slots - 1)
                    else:
                        owner[slot], holds[slot], hashes[slot] = group, count, key
                        example[room + count] = item
                        count += 1
                    number[item] = holds[slot]
            distinct[group + 1] = count


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _shift(
    order: Places,
    starts: Places,
    before: Places,
    parts: Places,
    items: Places,
    base: Places,
    number: Numbers,
    example: Places,
    found: Places,
) -> None:
    """Lets the numbers of a group begin where those of the group before it end."""
    for part in prange(len(parts) - 1):
        for group in range(parts[part], parts[part + 1]):
            room = before[starts[group]]
            for distinct in range(base[group + 1] - base[group]):
                found[base[group] + distinct] = example[room + distinct]
            for row in order[starts[group] : starts[group + 1]]:
                for item in range(items[row], items[row + 1]):
                    number[item] += base[group]
