"""What the sessions show of each pair, counted a few rows at a time, in mapped arrays."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.mapped_arrays import IdRows, chunks_of, chunks_of_table, mapped_array, slices
from corpus.tables import Collection


def shown_codes(tables: Collection) -> NDArray[np.int64]:
    """query_row * documents + doc_row of each document shown in the sessions, in their order.

    Args:
        tables: the collection.

    Returns:
        The codes, int64, mapped, shape (results,).
    """
    count = sum(len(_flat(shown)) for _, shown in chunks_of(tables.sessions["doc_ids"]))
    codes, end = mapped_array(count, np.int64), 0
    for _, some in _shown(tables):
        start, end = end, end + len(some)
        codes[start:end] = some
    return codes


def count_shown(pairs: pa.Table, tables: Collection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Impressions and clicks of each pair in the sessions, int64, mapped, shape (pairs,).

    A column `sessions` says how many sessions each row stands for.

    Args:
        pairs: query_row and doc_row of distinct pairs, in any order.
        tables: the collection that these are rows of.
    """
    query_row, doc_row = (pairs[name].to_numpy() for name in ("query_row", "doc_row"))

    def codes(some: slice) -> NDArray[np.int64]:
        return np.asarray(query_row[some] * tables.documents.num_rows + doc_row[some])

    ordered, *counts = (mapped_array(pairs.num_rows, np.int64) for _ in range(3))
    for some in slices(len(ordered)):
        ordered[some] = codes(some)
    ordered.sort()
    for sessions, shown in _shown(tables):
        place = np.minimum(np.searchsorted(ordered, shown), len(ordered) - 1)
        of_pair = ordered[place] == shown
        lengths = pc.list_value_length(sessions["doc_ids"]).to_numpy()
        times = np.ones(len(lengths), np.int64)
        if "sessions" in sessions.column_names:
            times = np.asarray(sessions["sessions"].to_numpy(), dtype=np.int64)
        times = np.repeat(times, lengths)
        clicks = times * _flat(sessions["clicks"]).to_numpy()
        for count, more in zip(counts, (times, clicks), strict=True):
            np.add.at(count, place[of_pair], more[of_pair])
    found = [mapped_array(len(ordered), np.int64) for _ in counts]
    for some in slices(len(ordered)):
        place = np.searchsorted(ordered, codes(some))
        for of_pairs, count in zip(found, counts, strict=True):
            of_pairs[some] = count[place]
    return found[0], found[1]


def _shown(tables: Collection) -> Iterator[tuple[pa.Table, NDArray[np.int64]]]:
    """Some sessions at a time, and the codes of what they show, see `shown_codes`."""
    queries, documents = IdRows(tables.queries["query_id"]), IdRows(tables.documents["doc_id"])
    sessions = tables.sessions
    counted = [name for name in ("sessions",) if name in sessions.column_names]
    for some in chunks_of_table(sessions.select(["query_id", "doc_ids", "clicks", *counted])):
        doc_row = documents.find(_flat(some["doc_ids"]))
        lengths = pc.list_value_length(some["doc_ids"]).to_numpy()
        query_row = np.repeat(queries.find(some["query_id"]), lengths)
        yield some, query_row * tables.documents.num_rows + doc_row


def _flat(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([pc.list_flatten(lists.combine_chunks())])
