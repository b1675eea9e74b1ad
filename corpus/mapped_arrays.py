"""Arrays in mapped files, for jobs whose memory must not grow with the rows of a table."""

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

ROWS_AT_ONCE = 2**16
SALT, SALTS = "0" * 16, 8


def mapped_array(length: int, dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros in a nameless file on the disk of temporary files (`TMPDIR`).

    The system drops its pages from memory as it needs room, and a kill leaves nothing of it. Where
    that disk is full, or a process may open no more files, the array is in memory after all.

    Args:
        length: of the array.
        dtype: of its values.
    """
    size = length * np.dtype(dtype).itemsize
    if size == 0:
        return np.zeros(length, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            # Room that a full disk lacks later would end the process. (macOS cannot tell.)
            reserve = getattr(os, "posix_fallocate", lambda _, start, end: file.truncate(end))
            reserve(file.fileno(), 0, size)
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype)
    except OSError:
        return np.zeros(length, dtype)


def mapped_copy(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an array of one dimension in a mapped file; see `mapped_array`."""
    copy = mapped_array(len(array), array.dtype)
    copy[:] = array
    return copy


def slices(length: int, at_once: int | None = None) -> Iterator[slice]:
    """Cuts a range into slices.

    Args:
        length: of the range.
        at_once: of a slice, ROWS_AT_ONCE by default.
    """
    at_once = at_once or ROWS_AT_ONCE
    for start in range(0, length, at_once):
        yield slice(start, min(start + at_once, length))


def hash_ids(*columns: pa.ChunkedArray, salt: str = SALT) -> NDArray[np.uint64]:
    """A hash of 64 bits of the ids in each row.

    Args:
        columns: strings, one or several columns of equal length.
        salt: 16 characters that decide the hashes.
    """
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        coded = column.combine_chunks().dictionary_encode()
        distinct = coded.dictionary.to_numpy(zero_copy_only=False)
        of_distinct = pd.util.hash_array(distinct, hash_key=salt, categorize=False)
        # The multiplier is odd, so that columns one by one lose nothing.
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + of_distinct[coded.indices.to_numpy()]
    return hashes


def repeated_rows(table: pa.Table, key: list[str]) -> NDArray[np.int64]:
    """The rows whose key may stand there more than once: their hashes do.

    Args:
        table: with the columns of the key, strings.
        key: names of columns.
    """
    hashes = mapped_array(table.num_rows, np.uint64)
    for some, columns in _chunks(table, key):
        hashes[some] = hash_ids(*columns)
    ordered = mapped_array(len(hashes), np.uint64)
    ordered[:] = hashes
    ordered.sort()
    twice = repeated_values(ordered)
    if len(twice) == 0:
        return np.zeros(0, np.int64)
    found = [
        np.flatnonzero(np.isin(hashes[some], twice)) + some.start for some in slices(len(hashes))
    ]
    return np.concatenate(found)


class IdRows:
    """Where ids stand in a table, found by their hashes, which lie sorted in a mapped file.

    Args:
        ids: strings, each once.
    """

    def __init__(self, ids: pa.ChunkedArray) -> None:
        table, count = pa.table({"id": ids}), len(ids)
        self._hashes = mapped_array(count, np.uint64)
        # Two of a billion ids may share a hash; with another salt they do not.
        for number in range(SALTS):
            self._salt = f"{number:016d}"
            for some, columns in _chunks(table, ["id"]):
                self._hashes[some] = hash_ids(*columns, salt=self._salt)
            self._hashes.sort()
            if len(repeated_values(self._hashes)) == 0:
                break
        else:
            raise ValueError("ids repeat")
        self._rows = mapped_array(count, np.int64)
        for some, columns in _chunks(table, ["id"]):
            hashes = hash_ids(*columns, salt=self._salt)
            self._rows[np.searchsorted(self._hashes, hashes)] = np.arange(some.start, some.stop)

    def find(self, ids: pa.ChunkedArray) -> NDArray[np.int64]:
        """The row of each id, int64, -1 where it is none of the table's."""
        if len(self._hashes) == 0:
            return np.full(len(ids), -1)
        wanted, which = np.unique(hash_ids(ids, salt=self._salt), return_inverse=True)
        place = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        row = np.where(self._hashes[place] == wanted, self._rows[place], -1)
        return np.asarray(row[which])


def chunks_of(column: pa.ChunkedArray) -> Iterator[tuple[slice, pa.ChunkedArray]]:
    """The rows of a column, few at a time, and where they stand."""
    start = 0
    for some in chunks_of_table(pa.table({"column": column})):
        yield slice(start, start + some.num_rows), some["column"]
        start += some.num_rows


def chunks_of_table(table: pa.Table) -> Iterator[pa.Table]:
    """The rows of a table, few at a time, whatever the chunks of its columns."""
    held: list[pa.RecordBatch] = []
    for batch in [*table.to_batches(ROWS_AT_ONCE), None]:
        rows = sum(one.num_rows for one in held)
        if held and (batch is None or rows + batch.num_rows > ROWS_AT_ONCE):
            yield pa.Table.from_batches(held)
            held = []
        held.append(batch)


def _chunks(table: pa.Table, key: list[str]) -> Iterator[tuple[slice, list[pa.ChunkedArray]]]:
    start = 0
    for some in chunks_of_table(table.select(key)):
        yield slice(start, start + some.num_rows), [some[name] for name in key]
        start += some.num_rows


def sorted_together(arrays: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The values of all arrays, ascending, in a mapped file."""
    together = mapped_array(sum(map(len, arrays)), np.uint64)
    start = 0
    for array in arrays:
        together[start : start + len(array)] = array
        start += len(array)
    together.sort()
    return together


def repeated_values(ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The values, each once, that an array in ascending order holds more than once."""
    found = []
    for some in slices(len(ordered)):
        more = ordered[some.start : some.stop + 1]
        found.append(more[1:][more[1:] == more[:-1]])
    return np.unique(np.concatenate(found)) if found else ordered
