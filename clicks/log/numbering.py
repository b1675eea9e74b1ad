"""Numbers ids and lists of them, by Arrow's dictionaries and in chunks, whatever their bytes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

PARTS = 32  # of the rows, which threads work on
MOST_BYTES = 2**30  # of strings in one array, whose offsets end at 2 GiB


def number_ids(ids: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct ids in order of first appearance, and the number of each id among them.

    Args:
        ids: strings, none null, in any chunks.

    Returns:
        The distinct ids, large strings where their bytes are many; and the numbers, int32, shape
        (ids,).
    """
    if sum(chunk.nbytes for chunk in ids.chunks) > MOST_BYTES:
        ids = ids.cast(pa.large_string())
    encoded = ids.dictionary_encode()
    if not encoded.num_chunks:
        return pa.array([], ids.type), np.zeros(0, dtype=np.int32)
    numbers = [chunk.indices.to_numpy() for chunk in encoded.chunks]
    return encoded.chunk(encoded.num_chunks - 1).dictionary, np.concatenate(numbers)


def join_ids(arrays: Sequence[pa.Array]) -> pa.ChunkedArray:
    """The ids of arrays, of which some may have large strings, as chunks of one type."""
    kind = pa.large_string() if any(map(_is_large, arrays)) else pa.string()
    return pa.chunked_array([array.cast(kind) for array in arrays], kind)


def _is_large(ids: pa.Array) -> bool:
    return bool(pa.types.is_large_string(ids.type))


def number_lists(values: NDArray[np.generic], starts: Numbers) -> Numbers:
    """Numbers the distinct lists of values, from 0 in order of first appearance.

    Args:
        values: the values of all lists, one after another.
        starts: the start of each list in the values, and the end of the last, shape (lists + 1,).

    Returns:
        The number of each list, int64, shape (lists,).
    """
    # The bytes of a list are a text that no other list has.
    offsets = pa.py_buffer(starts.astype(np.int64) * values.itemsize)
    buffers = [None, offsets, pa.py_buffer(np.ascontiguousarray(values))]
    lists = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(starts) - 1, buffers)
    return np.asarray(lists.dictionary_encode().indices.to_numpy(), dtype=np.int64)


def number_rows(*columns: NDArray[np.generic]) -> Numbers:
    """Numbers the distinct rows of columns, from 0 in order of first appearance, int64."""
    numbers = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        # A null is a value of its own; its usual code, -1, would collide with another number.
        codes, distinct = pd.factorize(column, use_na_sentinel=False)
        numbers, _ = pd.factorize(numbers * len(distinct) + codes)
    return np.asarray(numbers, dtype=np.int64)


def list_starts(lists: pa.ChunkedArray) -> Numbers:
    """The start of each list in the values, and the end of the last; int64, shape (lists + 1,)."""
    return np.append(0, np.cumsum(pc.list_value_length(lists).to_numpy(), dtype=np.int64))


def take_ids(ids: pa.Array, numbers: Numbers) -> pa.ChunkedArray:
    """The ids of numbers, strings, in as many chunks as their bytes need."""
    longest = max(pc.max(pc.binary_length(ids)).as_py() or 0, 1) if len(ids) else 1
    size = max(MOST_BYTES // longest, 1)
    chunks = [
        ids.take(pa.array(numbers[start : start + size])).cast(pa.string())
        for start in range(0, len(numbers), size)
    ]
    return pa.chunked_array(chunks, pa.string())


def in_chunks(table: pa.Table) -> pa.Table:
    """The table, its lists in as many chunks as the bytes of their strings need."""
    pieces = []
    for batch in table.to_batches():
        bytes_of = max(column.nbytes for column in batch.columns) if batch.num_columns else 0
        count = bytes_of // MOST_BYTES + 1
        size = max(-(-batch.num_rows // count), 1)
        pieces += [batch.slice(at, size) for at in range(0, batch.num_rows, size)]
    return pa.Table.from_batches(pieces, table.schema)


def cut(starts: Numbers) -> Numbers:
    """Cuts groups of rows into at most 32 parts of about equal numbers of rows.

    Args:
        starts: the start of each group, and the number of rows at the end, shape (groups + 1,).

    Returns:
        The first group of each part, and the number of groups at the end; shape (parts + 1,).
    """
    edges = np.searchsorted(starts, np.linspace(0, starts[-1], PARTS + 1))
    edges[-1] = len(starts) - 1
    return np.unique(edges)
