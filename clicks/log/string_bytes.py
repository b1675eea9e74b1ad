"""Hashes and compares the strings of an Arrow array in its buffers, in compiled code."""

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Starts = NDArray[np.int32]

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; copied only if it has several chunks."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def string_bytes(strings: pa.Array) -> tuple[Starts, Bytes, Words]:
    """The buffers of an array of strings.

    Returns:
        The start of each string in the bytes and the end of the last, int32, shape (strings + 1,);
        the bytes, uint8, shape (bytes,); and the eight bytes from each one on as a number, uint64,
        shape (bytes - 7,).
    """
    _, starts, text = strings.buffers()
    if len(strings) == 0 or text is None:
        starts, text = np.zeros(len(strings) + 1, dtype=np.int32), np.zeros(0, dtype=np.uint8)
    else:
        here = np.s_[strings.offset : strings.offset + len(strings) + 1]
        starts = np.frombuffer(starts, dtype=np.int32)[here]
        text = np.frombuffer(text, dtype=np.uint8)
    return starts, text, words_of(text)


def words_of(text: Bytes) -> Words:
    """The eight bytes from each one on as a number: a view, uint64, shape (bytes - 7,)."""
    return np.ndarray(max(len(text) - 7, 0), dtype=np.uint64, buffer=text, strides=(1,))


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def hash_of(text: Bytes, words: Words, start: int, end: int, seed: np.uint64) -> np.uint64:
    """A 64-bit hash of the bytes [start, end); the last word may overlap the one before it."""
    key = (np.uint64(end - start) ^ seed << np.uint64(32)) * MULTIPLIER
    if end - start >= 8:
        for at in range(start, end - 8, 8):
            key = (key ^ words[at]) * MULTIPLIER
            key ^= key >> np.uint64(29)
        key = (key ^ words[end - 8]) * MULTIPLIER
    else:
        for at in range(start, end):
            key = (key ^ np.uint64(text[at])) * MULTIPLIER
    return key ^ (key >> np.uint64(32))


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def same_bytes(
    text: Bytes,
    words: Words,
    start: int,
    end: int,
    other_text: Bytes,
    other_words: Words,
    other: int,
) -> bool:
    """Whether the bytes [start, end) equal those of another text from index `other` on."""
    if end - start >= 8:
        for at in range(start, end - 8, 8):
            if words[at] != other_words[other + at - start]:
                return False
        return words[end - 8] == other_words[other + end - 8 - start]
    equal = True
    for at in range(start, end):
        equal &= text[at] == other_text[other + at - start]
    return equal


def surely_distinct(strings: pa.Array) -> bool:
    """Whether all hashes differ, and so all strings; false does not mean that two are equal."""
    starts, text, words = string_bytes(strings)
    hashes = np.empty(len(strings), dtype=np.uint64)
    _hash_all(starts, text, words, hashes)
    hashes.sort()
    return not np.any(hashes[1:] == hashes[:-1])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _hash_all(starts: Starts, text: Bytes, words: Words, hashes: Words) -> None:
    for row in range(len(hashes)):
        hashes[row] = hash_of(text, words, starts[row], starts[row + 1], np.uint64(0))
