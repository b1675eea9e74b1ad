"""Session compaction: the distinct result pages of a log, with their clicks summed."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.numbering import in_chunks, list_starts, number_ids, number_lists, number_rows
from corpus.errors import InputError
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table


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
    first = _first_rows(page)
    pages = sessions.select(["query_id", "doc_ids"]).filter(pa.array(first))

    starts, page_start = list_starts(sessions["clicks"]), list_starts(pages["doc_ids"])
    stands_for = session_counts(sessions)
    session = np.repeat(np.arange(sessions.num_rows), np.diff(starts))
    position = np.arange(len(session)) - starts[session]
    summed = np.bincount(
        page_start[page[session]] + position,
        weights=_clicked(sessions) * stands_for[session],
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
    pattern = number_lists(_clicked(sessions), list_starts(sessions["clicks"]))
    kind = number_rows(_number_pages(sessions), pattern, *further)
    first = _first_rows(kind)
    count = np.bincount(kind, weights=session_counts(sessions)).astype(np.int64)
    columns = [*SCHEMAS["sessions"].names, *([by] if by else [])]
    kept = sessions.select(columns).filter(pa.array(first))
    return kept.append_column("sessions", pa.array(count))


def list_results(pages: pa.Table) -> pa.Table:
    """Flattens compacted pages to one row for each page and position.

    Args:
        pages: the table that `compact_sessions` returns.

    Returns:
        query_id, doc_id (string), position (int64, from 1), impressions, clicks (int64).
    """
    starts = list_starts(pages["doc_ids"])
    page = np.repeat(np.arange(pages.num_rows), np.diff(starts))
    return pa.table(
        {
            "query_id": pages["query_id"].take(pa.array(page)),
            "doc_id": pc.list_flatten(pages["doc_ids"]),
            "position": np.arange(len(page)) - starts[page] + 1,
            "impressions": pages["impressions"].take(pa.array(page)),
            "clicks": pc.list_flatten(pages["clicks"]),
        }
    )


def check_sessions(sessions: pa.Table) -> pa.Table:
    """Checks sessions and casts them to the schema.

    Args:
        sessions: the table sessions of a collection; further columns are kept.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    sessions = check_table(in_chunks(sessions), "sessions", "sessions")
    if sessions.num_rows == 0:
        raise InputError("sessions: the table has no rows; clicks need at least one session")
    if pc.sum(pc.list_value_length(sessions["doc_ids"])).as_py() == 0:
        raise InputError("sessions: doc_ids is empty in every row; no document was shown")
    return sessions


def session_counts(sessions: pa.Table) -> NDArray[np.float64]:
    """The number of sessions that each row stands for, float64, shape (rows,)."""
    if "sessions" in sessions.column_names:
        return np.asarray(sessions["sessions"].to_numpy(), dtype=np.float64)
    return np.ones(sessions.num_rows)


def _number_pages(sessions: pa.Table) -> NDArray[np.int64]:
    """The number of each session's page, from 0 in order of first appearance; shape (sessions,)."""
    _, document = number_ids(pc.list_flatten(sessions["doc_ids"]))
    _, query = number_ids(sessions["query_id"])
    return number_rows(query, number_lists(document, list_starts(sessions["doc_ids"])))


def _clicked(sessions: pa.Table) -> NDArray[np.bool_]:
    """Whether each result was clicked, page after page, bool, shape (results,)."""
    return np.asarray(pc.list_flatten(sessions["clicks"]).to_numpy(), dtype=np.bool_)


def _first_rows(number: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where each number, in order of first appearance, stands for the first time, bool."""
    return np.asarray(number > np.append(-1, np.maximum.accumulate(number)[:-1]))
