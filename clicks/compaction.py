"""Session compaction: the distinct result pages of a log, with their clicks summed."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.tables import check_table


def compact_sessions(sessions: pa.Table) -> pa.Table:
    """Counts impressions and clicks of each distinct page: a query and its documents in order.

    A head query's page is shown thousands of times. A loss that is linear in the clicks has the
    same value and gradient on the distinct pages with summed clicks as on the raw sessions, and
    the likelihood of a position-based model needs only these counts. What trains and fits on
    them costs as much as there are distinct pages, whatever the traffic.

    Args:
        sessions: session_id, query_id, doc_ids and clicks, as in a collection.

    Returns:
        One row for each distinct page, in order of first appearance: query_id, doc_ids
        (list<string>), impressions (int64, the sessions that saw the page), clicks (list<int64>,
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
    sessions = check_table(sessions, "sessions", "sessions")
    if sessions.num_rows == 0:
        raise InputError("sessions: the table has no rows; clicks need at least one session")
    if pc.sum(pc.list_value_length(sessions["doc_ids"])).as_py() == 0:
        raise InputError("sessions: doc_ids is empty in every row; no document was shown")
    page = _number_pages(sessions)
    _, first_session = np.unique(page, return_index=True)
    pages = sessions.select(["query_id", "doc_ids"]).take(pa.array(first_session))

    page_start = _list_starts(pages["doc_ids"])
    clicks = sessions["clicks"].combine_chunks()
    session = pc.list_parent_indices(clicks).to_numpy()
    position = np.arange(len(session)) - _list_starts(sessions["clicks"])[session]
    summed = np.bincount(
        page_start[page[session]] + position,
        weights=clicks.flatten().to_numpy(zero_copy_only=False),
        minlength=page_start[-1],
    )
    page_clicks = pa.ListArray.from_arrays(
        pa.array(page_start, pa.int32()), pa.array(summed.astype(np.int64))
    )
    return pages.append_column("impressions", pa.array(np.bincount(page))).append_column(
        "clicks", page_clicks
    )


def list_results(pages: pa.Table) -> pa.Table:
    """Lists the results of compacted pages, one row for each page and position.

    Args:
        pages: the table that `compact_sessions` returns.

    Returns:
        query_id, doc_id, position (int64, from 1), impressions, clicks (int64).
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


def _number_pages(sessions: pa.Table) -> NDArray[np.int64]:
    """Numbers each session's page from 0, in order of first appearance."""
    doc_ids = sessions["doc_ids"].combine_chunks()
    # Codes are joined, not the ids themselves, which may hold any separator.
    codes = doc_ids.flatten().dictionary_encode().indices.cast(pa.string())
    starts = pa.array(_list_starts(sessions["doc_ids"]), pa.int32())
    page_key = pc.binary_join(pa.ListArray.from_arrays(starts, codes), " ")
    query = sessions["query_id"].combine_chunks().dictionary_encode().indices
    frame = pd.DataFrame({"query": query.to_numpy(), "page": page_key.to_pandas()})
    return np.asarray(frame.groupby(["query", "page"], sort=False).ngroup(), dtype=np.int64)


def _list_starts(lists: pa.ChunkedArray) -> NDArray[np.int64]:
    """Where each list starts in the flattened values, and where the last one ends."""
    return np.append(0, np.cumsum(pc.list_value_length(lists).to_numpy()))
