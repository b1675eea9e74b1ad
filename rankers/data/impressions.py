"""What sessions showed of each training list, and what was clicked there."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.errors import InputError

PAGES = "pages"


def add_pages(lists: pa.Table, sessions: pa.Table, linear: bool) -> pa.Table:
    """Adds to each list the pages that its query's sessions showed.

    A list is scored once however many pages there are of it, and however many sessions of each.

    Args:
        lists: from `rankers.data.lists.candidate_lists`.
        sessions: the table `sessions`; queries without a list are left out.
        linear: sum the clicks of a page's sessions; otherwise keep each kind of session.

    Returns:
        `lists` with a column `pages`, of each list the structs of document (places in doc_ids by
        position, -1 for a document that is no candidate), clicks (how many) and sessions.
    """
    # Brings Numba, which workers of training, who read pages here, have no use for.
    from clicks.log.distinct import compact_sessions, distinct_sessions

    if linear:
        rows = compact_sessions(sessions)
        rows = rows.rename_columns({"impressions": "sessions"})
    else:
        rows = distinct_sessions(sessions)
    row_list = pd.Index(lists["query_id"].to_pandas()).get_indexer(rows["query_id"].to_pandas())
    order = np.argsort(row_list, kind="stable")
    rows, row_list = rows.take(order[row_list[order] >= 0]), row_list[order][row_list[order] >= 0]
    shown = rows["doc_ids"].combine_chunks()
    lengths = np.diff(shown.offsets.to_numpy())
    document = _places(lists, np.repeat(row_list, lengths), shown.flatten())
    starts = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    sessions_of = rows["sessions"].to_numpy()
    clicks = rows["clicks"].combine_chunks().flatten().cast(pa.int64()).to_numpy()
    if not linear:
        clicks = clicks * np.repeat(sessions_of, lengths)
    pages = pa.StructArray.from_arrays(
        [
            pa.ListArray.from_arrays(starts, pa.array(document, pa.int32())),
            pa.ListArray.from_arrays(starts, pa.array(clicks)),
            pa.array(sessions_of),
        ],
        names=["document", "clicks", "sessions"],
    )
    ends = np.searchsorted(row_list, np.arange(lists.num_rows + 1))
    return lists.append_column(PAGES, pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pages))


def longest_page(lists: pa.Table) -> int:
    """Positions of the longest page; 0 where lists have no pages."""
    if PAGES not in lists.column_names:
        return 0
    pages = lists[PAGES].combine_chunks().flatten()
    return int(pc.max(pages.field("document").value_lengths()).as_py() or 0)


def shown_candidates(lists: pa.Table) -> int:
    """How often pages show a candidate of their list."""
    pages = lists[PAGES].combine_chunks().flatten()
    return int(pc.sum(pc.greater_equal(pages.field("document").flatten(), 0)).as_py() or 0)


def refuse_unshown(shown: int) -> None:
    """Refuses lists of which no session shows a candidate.

    Args:
        shown: from `shown_candidates`.

    Raises:
        InputError: there is nothing to learn from.
    """
    if shown == 0:
        raise InputError(
            "no session shows a candidate of a training query: there is no click to learn from"
        )


def _places(lists: pa.Table, of_list: NDArray[np.int64], doc_id: pa.Array) -> NDArray[np.int64]:
    """The place of documents in their lists, -1 where they are not in it."""
    doc_ids = lists["doc_ids"].combine_chunks()
    starts = doc_ids.offsets.to_numpy()
    candidates = doc_ids.flatten().dictionary_encode()
    known = pd.Index(candidates.dictionary.to_pandas())
    code = known.get_indexer(doc_id.to_pandas())
    row = np.repeat(np.arange(lists.num_rows), np.diff(starts))
    keys = pd.Index(row * len(known) + candidates.indices.to_numpy())
    place = keys.get_indexer(np.where(code < 0, -1, of_list * len(known) + code))
    return np.where(place < 0, -1, place - starts[of_list])
