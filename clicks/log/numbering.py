"""Numbers the distinct documents of each query, and writes the numbers session by session."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit, prange
from numpy.typing import NDArray

from clicks.log.string_bytes import Bytes, Starts, Words, hash_of, same_bytes, string_bytes

Numbers = NDArray[np.int32]
Indices = NDArray[np.int64]

PARTS = 32  # of the rows, which threads work on


@njit(cache=True)  # type: ignore[untyped-decorator]
def group_rows(group: Numbers, groups: int) -> tuple[Indices, Indices]:
    """Stable counting sort of rows by group.

    Args:
        group: group of each row, from 0, int32, shape (rows,).
        groups: the number of groups.

    Returns:
        The rows in order of their groups, shape (rows,), and the start of each group in it with the
        number of rows at the end, shape (groups + 1,); both int64.
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


def cut(starts: Indices) -> Indices:
    """Cuts groups of rows into at most 32 parts of about equal numbers of rows.

    Args:
        starts: the start of each group, and the number of rows at the end, shape (groups + 1,).

    Returns:
        The first group of each part, and the number of groups at the end; shape (parts + 1,).
    """
    edges = np.searchsorted(starts, np.linspace(0, starts[-1], PARTS + 1))
    edges[-1] = len(starts) - 1
    return np.unique(edges)


@dataclass(frozen=True)
class Numbered:
    """The items of rows, with the distinct items of each group of rows numbered.

    Numbers follow the order of groups, and within a group the order of first appearance.

    Attributes:
        starts: index of the first item of each row, and the number of items at the end; int64,
            shape (rows + 1,).
        number: number of each item, row after row; int32, shape (items,).
        marked: the mark of each item, bool, shape (items,).
        texts: text of each number, strings, shape (numbers,).
        distinct: how many numbers each group has, int64, shape (groups,).
    """

    starts: Indices
    number: Numbers
    marked: NDArray[np.bool_]
    texts: pa.Array
    distinct: Indices


def number_within(
    order: Indices,
    starts: Indices,
    items: Indices,
    texts: pa.Array,
    marked: NDArray[np.bool_],
    sort: bool = True,
) -> Numbered:
    """Numbers the distinct items of each group of rows.

    Texts are read in the order of rows, as they lie in memory; only their hashes are moved into the
    order of groups. Items of equal hash get one number. Whether their bytes are equal, too, is
    checked as the numbers are written; if any differ, all is repeated with another hash.

    Args:
        order: the rows in order of their groups, from `group_rows`.
        starts: the start of each group in `order`, from `group_rows`.
        items: index of the first item of each row, and the number of items at the end; int64, shape
            (rows + 1,).
        texts: text of each item, strings, shape (items,).
        marked: a mark of each item, to be moved with it; bool, shape (items,).
        sort: return rows in order of their groups; otherwise they keep their order.
    """
    lengths = items[1:] - items[:-1]
    before = np.append(0, np.cumsum(lengths[order]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    hashes = np.empty(before[-1], dtype=np.uint64)
    first = np.empty(before[-1], dtype=np.int64)
    distinct = np.zeros(len(starts) - 1, dtype=np.int64)
    number = np.empty(before[-1], dtype=np.int32)
    written = np.empty(before[-1], dtype=np.bool_)
    target = before[rank] if sort else items[:-1]
    text, parts, seed = string_bytes(texts), cut(starts), 0
    while True:
        _hash(rank, before, items, *text, np.uint64(seed), hashes)
        _number(order, starts, before, parts, items, hashes, target, number, first, distinct)
        base = np.append(0, np.cumsum(distinct))[parts]
        room, count = before[starts[parts[:-1]]], np.diff(base)
        firsts = [first[start : start + n] for start, n in zip(room, count, strict=True)]
        found = texts.take(pa.array(np.concatenate(firsts)))
        base_of_rank = np.repeat(base[:-1], np.diff(starts[parts]))
        differing = _write_numbers(
            *(rank, items, *text, *string_bytes(found), base_of_rank, marked),
            *(target, number, written),
        )
        if differing == 0:
            return Numbered(before if sort else items, number, written, found, distinct)
        seed += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _hash(
    rank: Indices,
    before: Indices,
    items: Indices,
    text_starts: Starts,
    text: Bytes,
    words: Words,
    seed: np.uint64,
    hashes: Words,
) -> None:
    """Hashes the items of each row, and writes them in the order of groups."""
    for row in prange(len(rank)):
        to = before[rank[row]]
        for item in range(items[row], items[row + 1]):
            hashes[to] = hash_of(text, words, text_starts[item], text_starts[item + 1], seed)
            to += 1


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _number(
    order: Indices,
    starts: Indices,
    before: Indices,
    parts: Indices,
    items: Indices,
    hashes: Words,
    target: Indices,
    number: Numbers,
    first: Indices,
    distinct: Indices,
) -> None:
    """Numbers the items of each part from 0, with a hash table of open addressing.

    The groups of a part use one table without clearing it: an entry below the group's first number
    is of an earlier group, and is overwritten. `first` gets the first item of each number, and
    `distinct` how many numbers each group has.
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
            for rank in range(starts[group], starts[group + 1]):
                to = target[order[rank]] - before[rank]
                for at in range(before[rank], before[rank + 1]):
                    key = hashes[at]
                    slot = np.int64(key & np.uint64(slots - 1))
                    while holds[slot] >= base:
                        if keys[slot] == key:
                            break
                        slot = (slot + 1) & (slots - 1)
                    else:
                        holds[slot], keys[slot] = count, key
                        first[room + count] = items[order[rank]] + at - before[rank]
                        count += 1
                    number[to + at] = holds[slot]
            distinct[group] = count - base


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _write_numbers(
    rank: Indices,
    items: Indices,
    text_starts: Starts,
    text: Bytes,
    words: Words,
    known_starts: Starts,
    known_text: Bytes,
    known_words: Words,
    base_of_rank: Indices,
    marked: NDArray[np.bool_],
    target: Indices,
    number: Numbers,
    written: NDArray[np.bool_],
) -> int:
    """Makes numbers unique over parts; returns how many items differ from their number's text."""
    differing = 0
    for row in prange(len(rank)):
        to, base, first = target[row], base_of_rank[rank[row]], items[row]
        for item in range(items[row + 1] - first):
            found = base + np.int64(number[to + item])
            number[to + item] = found
            written[to + item] = marked[first + item]
            start, end = text_starts[first + item], text_starts[first + item + 1]
            known, known_end = known_starts[found], known_starts[found + 1]
            equal = end - start == known_end - known and same_bytes(
                text, words, start, end, known_text, known_words, known
            )
            differing += 0 if equal else 1
    return differing
