"""Session compaction: the distinct result pages of a log, with their clicks summed."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.string_bytes import one_array, surely_distinct
from corpus.errors import InputError
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table

SEPARATOR = "\x1f"
EXACT_BITS = 52  # clicks that one float64 encodes exactly, one bit each


def compact_sessions(sessions: pa.Table) -> pa.Table:
    """Counts impressions and clicks of each distinct page: a query and its documents in order.

    The page of a head query is shown thousands of times. A loss that is linear in the clicks has
    the same value and gradient on the distinct pages with summed clicks as on the sessions, and the
    likelihood of a position-based model needs only these counts. So the cost of training and
    fitting grows with the number of distinct pages, not with the traffic.

    Args:
        sessions: the table sessions of a collection (session_id, query_id, doc_ids, clicks). A
            column `sessions` (int64) says how many sessions each row stands for.

    Returns:
        One row for each distinct page, in order of first appearance: query_id, doc_ids
        (list<string>), impressions (int64, sessions that showed the page), clicks (list<int64>,
        summed by position).

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.

    >>> pages = compact_sessions(
    ...     pa.table(
    ...         {
    ...             "session_id": ["s1", "s2"],
    ...             "query_id": ["q", "q"],
    ...             "doc_ids": [["a", "b"], ["a", "b"]],
    ...             "clicks": [[True, False], [True, True]],
    ...         }
    ...     )
    ... )
    >>> pages.to_pylist()
    [{'query_id': 'q', 'doc_ids': ['a', 'b'], 'impressions': 2, 'clicks': [2, 1]}]
    """
    sessions = check_sessions(sessions)
    page = _number_pages(sessions)
    _, first_session = np.unique(page, return_index=True)
    pages = sessions.select(["query_id", "doc_ids"]).take(pa.array(first_session))

    page_start = _list_starts(pages["doc_ids"])
    stands_for = session_counts(sessions)
    clicks = sessions["clicks"].combine_chunks()
    session = pc.list_parent_indices(clicks).to_numpy()
    position = np.arange(len(session)) - _list_starts(sessions["clicks"])[session]
    summed = np.bincount(
        page_start[page[session]] + position,
        weights=clicks.flatten().to_numpy(zero_copy_only=False) * stands_for[session],
        minlength=page_start[-1],
    )
    page_clicks = pa.ListArray.from_arrays(
        pa.array(page_start, pa.int32()), pa.array(summed.astype(np.int64))
    )
    return pages.append_column(
        "impressions", pa.array(np.bincount(page, stands_for).astype(np.int64))
    ).append_column("clicks", page_clicks)


def distinct_sessions(sessions: pa.Table, by: str | None = None) -> pa.Table:
    """Counts equal sessions: those with the same query, documents in order and clicks.

    These counts are sufficient for every click model; models of one click at a time need even less
    (`compact_sessions`).

    Args:
        sessions: the table sessions of a collection (session_id, query_id, doc_ids, clicks). A
            column `sessions` (int64) says how many sessions each row stands for.
        by: a further column that equal sessions must share; it is kept.

    Returns:
        The first session of each kind, in order of first appearance, with its count in a column
        `sessions` (int64).

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    sessions = check_sessions(sessions)
    further = [] if by is None else [sessions[by].to_pandas().to_numpy()]
    kind = _number(_number_pages(sessions), _number_patterns(sessions), *further)
    first = np.empty(int(kind.max()) + 1, dtype=np.int64)
    first[kind[::-1]] = np.arange(len(kind))[::-1]
    count = np.bincount(kind, weights=session_counts(sessions)).astype(np.int64)
    columns = [*SCHEMAS["sessions"].names, *([by] if by else [])]
    kept = sessions.select(columns).take(pa.array(first))
    return kept.append_column("sessions", pa.array(count))


def list_results(pages: pa.Table) -> pa.Table:
    """Flattens compacted pages to one row for each page and position.

    Args:
        pages: the table that `compact_sessions` returns.

    Returns:
        query_id, doc_id (string), position (int64, from 1), impressions, clicks (int64).
    """
    doc_ids = pages["doc_ids"].combine_chunks()
    page = pc.list_parent_indices(doc_ids)
    position = np.arange(len(page)) - _list_starts(pages["doc_ids"])[page.to_numpy()] + 1
    return pa.table(
        {
            "query_id": pages["query_id"].take(page),
            "doc_id": doc_ids.flatten(),
            "position": position,
            "impressions": pages["impressions"].take(page),
            "clicks": pages["clicks"].combine_chunks().flatten(),
        }
    )


def check_sessions(sessions: pa.Table) -> pa.Table:
    """Checks sessions and casts them to the schema.

    Args:
        sessions: the table sessions of a collection; further columns are kept.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    distinct = _has_distinct_ids(sessions)
    sessions = check_table(sessions, "sessions", "sessions", check_keys=not distinct)
    if sessions.num_rows == 0:
        raise InputError("sessions: the table has no rows; clicks need at least one session")
    if pc.sum(pc.list_value_length(sessions["doc_ids"])).as_py() == 0:
        raise InputError("sessions: doc_ids is empty in every row; no document was shown")
    return sessions


def _has_distinct_ids(sessions: pa.Table) -> bool:
    """Whether all session ids are surely distinct; false where that takes an exact comparison."""
    if "session_id" not in sessions.column_names:
        return False
    ids = sessions["session_id"]
    return ids.type == pa.string() and not ids.null_count and surely_distinct(one_array(ids))


def session_counts(sessions: pa.Table) -> NDArray[np.float64]:
    """The number of sessions that each row stands for, float64, shape (rows,)."""
    if "sessions" in sessions.column_names:
        return np.asarray(sessions["sessions"].to_numpy(), dtype=np.float64)
    return np.ones(sessions.num_rows)


def _number_pages(sessions: pa.Table) -> NDArray[np.int64]:
    """The number of each session's page, from 0 in order of first appearance; shape (sessions,)."""
    doc_ids = sessions["doc_ids"].combine_chunks()
    page = pc.binary_join(doc_ids, SEPARATOR).dictionary_encode()
    separators = pc.count_substring(page.dictionary, SEPARATOR).to_numpy()
    lengths = pc.list_value_length(doc_ids).to_numpy()
    if np.any(separators[page.indices.to_numpy()] != np.maximum(lengths - 1, 0)):
        # An id holds the separator, so two pages could join to one text: join numbers instead.
        codes = doc_ids.flatten().dictionary_encode().indices.cast(pa.string())
        starts = pa.array(_list_starts(sessions["doc_ids"]), pa.int32())
        page = pc.binary_join(pa.ListArray.from_arrays(starts, codes), " ").dictionary_encode()
    query = sessions["query_id"].combine_chunks().dictionary_encode()
    empty = lengths == 0  # joins to the same text as one empty id
    return _number(query.indices.to_numpy(), page.indices.to_numpy(), empty)


def _number_patterns(sessions: pa.Table) -> NDArray[np.int64]:
    """The number of each session's click pattern, from 0; pages of other lengths may share it."""
    clicked = np.flatnonzero(sessions["clicks"].combine_chunks().flatten())
    starts = _list_starts(sessions["clicks"])
    session = np.searchsorted(starts, clicked, side="right") - 1
    position = clicked - starts[session]
    numbers = np.zeros(sessions.num_rows, dtype=np.int64)
    for first in range(0, int(position.max(initial=0)) + 1, EXACT_BITS):
        inside = (position >= first) & (position < first + EXACT_BITS)
        bits = np.exp2(position[inside] - first)
        # Only pages longer than EXACT_BITS have clicks in later turns; others keep their number.
        rows, row = np.unique(session[inside], return_inverse=True)
        part = np.bincount(row, weights=bits, minlength=len(rows))
        numbers[rows] = numbers.max() + 1 + _number(numbers[rows], part)
    return numbers


def _number(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers the distinct rows of columns from 0, in order of first appearance."""
    numbers = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        # A null is a value of its own; its usual code, -1, would collide with another number.
        codes, distinct = pd.factorize(column, use_na_sentinel=False)
        numbers, _ = pd.factorize(numbers * len(distinct) + codes)
    return np.asarray(numbers, dtype=np.int64)


def _list_starts(lists: pa.ChunkedArray) -> NDArray[np.int64]:
    """The start of each list in the values, and the end of the last; shape (lists + 1,)."""
    return np.append(0, np.cumsum(pc.list_value_length(lists).to_numpy()))
