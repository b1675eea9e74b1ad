"""Numbers the documents of each query, and lays them out session by session."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit, prange
from numpy.typing import NDArray

from clicks.log.string_bytes import Bytes, Starts, Words, hash_of, same_bytes, string_bytes

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


@dataclass(frozen=True)
class Numbered:
    """The distinct items of groups of rows, numbered.

    Numbers are in the order of groups, and in a group in the order of first appearance.

    Attributes:
        starts: where the items of each row start, and those of the last row end.
        number: of each item, row after row; int32, shape (items,).
        marked: whether it is marked, bool, same shape.
        texts: of each number.
        distinct: how many numbers each group has.
    """

    starts: Places
    number: Numbers
    marked: NDArray[np.bool_]
    texts: pa.Array
    distinct: Places


def number_within(
    order: Places,
    starts: Places,
    items: Places,
    texts: pa.Array,
    marked: NDArray[np.bool_],
    sort: bool = True,
) -> Numbered:
    """Numbers the distinct items of each group of rows; equal bytes are one item.

    Bytes are read in the order of rows, as they lie in memory, and only their hashes are brought
    into the order of groups. Items of equal hash get one number; whether their bytes are equal,
    too, is looked at as they are laid out, and if not all are, another hash is taken.

    Args:
        order: the rows by group, as of `group_rows`.
        starts: of the groups in it.
        items: where the items of each row start, and those of the last row end.
        texts: of the items, strings.
        marked: what to lay out beside the numbers, of each item.
        sort: lay rows out by group; or else they stay as they are.
    """
    lengths = items[1:] - items[:-1]
    before = np.append(0, np.cumsum(lengths[order]))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    hashes = np.empty(before[-1], dtype=np.uint64)
    first = np.empty(before[-1], dtype=np.int64)
    distinct = np.zeros(len(starts) - 1, dtype=np.int64)
    number = np.empty(before[-1], dtype=np.int32)
    laid_out = np.empty(before[-1], dtype=np.bool_)
    target = before[place] if sort else items[:-1]
    text, parts, seed = string_bytes(texts), cut(starts), 0
    while True:
        _hash(place, before, items, *text, np.uint64(seed), hashes)
        _number(order, starts, before, parts, items, hashes, target, number, first, distinct)
        base = np.append(0, np.cumsum(distinct))[parts]
        room, count = before[starts[parts[:-1]]], np.diff(base)
        firsts = [first[start : start + n] for start, n in zip(room, count, strict=True)]
        found = texts.take(pa.array(np.concatenate(firsts)))
        base_of_place = np.repeat(base[:-1], np.diff(starts[parts]))
        unlike = _lay_out(
            *(place, items, *text, *string_bytes(found), base_of_place, marked),
            *(target, number, laid_out),
        )
        if unlike == 0:
            return Numbered(before if sort else items, number, laid_out, found, distinct)
        seed += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _hash(
    place: Places,
    before: Places,
    items: Places,
    text_starts: Starts,
    text: Bytes,
    words: Words,
    seed: np.uint64,
    hashes: Words,
) -> None:
    """Hashes the items of each row and brings the rows to their places."""
    for row in prange(len(place)):
        to = before[place[row]]
        for item in range(items[row], items[row + 1]):
            hashes[to] = hash_of(text, words, text_starts[item], text_starts[item + 1], seed)
            to += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _number(
    order: Places,
    starts: Places,
    before: Places,
    parts: Places,
    items: Places,
    hashes: Words,
    target: Places,
    number: Numbers,
    first: Places,
    distinct: Places,
) -> None:
    """Numbers each part from 0, with a hash table of open addressing for each group.

    Numbers go on from group to group of a part in one table, so that those of groups before are
    known for old; `first` has room for as many as a part has items; `distinct` says how many each
    group has.
    """
    for part in prange(len(parts) - 1):
        largest = 0
        for group in range(parts[part], parts[part + 1]):
            largest = max(largest, before[starts[group + 1]] - before[starts[group]])
        slots = 4
        while slots < 2 * largest:
            slots *= 2
        holds = np.full(slots, -1, dtype=np.int32)
        keys = np.empty(slots, dtype=np.uint64)
        room, count = before[starts[parts[part]]], 0
        for group in range(parts[part], parts[part + 1]):
            slots, base = 4, count
            while slots < 2 * (before[starts[group + 1]] - before[starts[group]]):
                slots *= 2
            for place in range(starts[group], starts[group + 1]):
                to = target[order[place]] - before[place]
                for at in range(before[place], before[place + 1]):
                    key = hashes[at]
                    slot = np.int64(key & np.uint64(slots - 1))
                    while holds[slot] >= base:
                        if keys[slot] == key:
                            break
                        slot = (slot + 1) & (slots - 1)
                    else:
                        holds[slot], keys[slot] = count, key
                        first[room + count] = items[order[place]] + at - before[place]
                        count += 1
                    number[to + at] = holds[slot]
            distinct[group] = count - base


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _lay_out(
    place: Places,
    items: Places,
    text_starts: Starts,
    text: Bytes,
    words: Words,
    known_starts: Starts,
    known_text: Bytes,
    known_words: Words,
    base_of_place: Places,
    marked: NDArray[np.bool_],
    target: Places,
    number: Numbers,
    laid_out: NDArray[np.bool_],
) -> int:
    """Numbers on from part to part; returns how many items differ from their number's text."""
    unlike = 0
    for row in prange(len(place)):
        to, base, first = target[row], base_of_place[place[row]], items[row]
        for item in range(items[row + 1] - first):
            found = base + np.int64(number[to + item])
            number[to + item] = found
            laid_out[to + item] = marked[first + item]
            start, end = text_starts[first + item], text_starts[first + item + 1]
            known, known_end = known_starts[found], known_starts[found + 1]
            alike = end - start == known_end - known and same_bytes(
                text, words, start, end, known_text, known_words, known
            )
            unlike += 0 if alike else 1
    return unlike
