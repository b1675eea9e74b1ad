"""A click log as numbers: its queries, documents and pairs numbered, its sessions sorted."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, prange
from numpy.typing import NDArray

from clicks.compaction import check_sessions, sessions_of
from clicks.encoding import cut, group_rows, number_within
from clicks.shrinkage import Trials
from clicks.string_bytes import one_array


@dataclass(frozen=True)
class Pairs:
    """The distinct query-document pairs of a log.

    Attributes:
        queries: distinct query ids, shape (queries,).
        documents: distinct document ids, shape (documents,).
        query: the number of each pair's query, int64, shape (pairs,).
        document: the number of each pair's document, int64, shape (pairs,).
    """

    queries: pa.Array
    documents: pa.Array
    query: NDArray[np.int64]
    document: NDArray[np.int64]

    def find(self, others: "Pairs") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Finds the pairs and documents of another log among these.

        Returns:
            For each pair of `others`, the number of the same pair here, and the number of its
            document here; -1 where there is none.
        """
        query = _position_in(self.queries, others.queries)[others.query]
        document = _position_in(self.documents, others.documents)[others.document]
        known = pd.Index(self.query * len(self.documents) + self.document)
        wanted = np.where((query < 0) | (document < 0), -1, query * len(self.documents) + document)
        return known.get_indexer(wanted), document


@dataclass(frozen=True)
class ClickLog:
    """Sessions as numbers.

    Attributes:
        pairs: the query-document pairs that are shown.
        pair: the number of the pair at each position, -1 beyond the end of a page; int32, shape
            (rows, positions).
        clicks: bool, same shape.
        sessions: how many sessions a row stands for, float64, shape (rows,).
        parts: where parts of the rows start that share no pair, and where the last one ends, so
            that threads add to what is known of pairs without getting into each other's way.
    """

    pairs: Pairs
    pair: NDArray[np.int32]
    clicks: NDArray[np.bool_]
    sessions: NDArray[np.float64]
    parts: NDArray[np.int64]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which positions show a document, bool, shape (rows, positions)."""
        return self.pair >= 0

    def trials(self, where: NDArray[np.bool_]) -> Trials:
        """Clicks and impressions of each pair at some of the positions, shape of `pair`."""
        successes, trials = np.zeros((2, len(self.pairs.query)))
        _count(self.parts, self.pair, self.clicks, self.sessions, where, successes, trials)
        return Trials(
            successes=successes,
            trials=trials,
            document=self.pairs.document,
            documents=len(self.pairs.documents),
        )


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _count(
    parts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: NDArray[np.float64],
    where: NDArray[np.bool_],
    successes: NDArray[np.float64],
    trials: NDArray[np.float64],
) -> None:
    for part in prange(len(parts) - 1):
        for row in range(parts[part], parts[part + 1]):
            for position in range(pair.shape[1]):
                if where[row, position]:
                    number = pair[row, position]
                    trials[number] += sessions[row]
                    if clicks[row, position]:
                        successes[number] += sessions[row]


def read_click_log(sessions: pa.Table) -> ClickLog:
    """Checks and encodes sessions; rows are sorted by query.

    Args:
        sessions: session_id, query_id, doc_ids and clicks, as in a collection; where there is a
            column `sessions`, each row stands for so many.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    return encode_sessions(check_sessions(sessions), by_query=True)


def encode_sessions(sessions: pa.Table, by_query: bool = False) -> ClickLog:
    """Encodes a table of sessions without a look at whether it is right.

    Args:
        sessions: as of `read_click_log`.
        by_query: sort rows by query, in parts; or else rows stay as they are, in one part.
    """
    queries = one_array(sessions["query_id"]).dictionary_encode()
    query = queries.indices.to_numpy()
    listed = one_array(sessions["doc_ids"])
    doc_ids = listed.flatten()
    items = np.append(0, np.cumsum(pc.list_value_length(listed).to_numpy(), dtype=np.int64))
    order, starts = group_rows(query, len(queries.dictionary))
    clicked = one_array(sessions["clicks"]).flatten().to_numpy(zero_copy_only=False)
    shown = number_within(order, starts, items, doc_ids, clicked, by_query)
    documents, document = _distinct(shown.texts)
    counted = sessions_of(sessions)
    return ClickLog(
        pairs=Pairs(
            queries.dictionary,
            documents,
            np.repeat(np.arange(len(queries.dictionary)), shown.distinct),
            document,
        ),
        pair=shown.number,
        clicks=shown.marked,
        sessions=counted[order] if by_query else counted,
        parts=starts[cut(starts)] if by_query else np.array([0, len(order)]),
    )


def _distinct(ids: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """The distinct ids, and the number of each id among them."""
    one_row = (np.array([0]), np.array([0, 1]), np.array([0, len(ids)]))
    found = number_within(*one_row, ids, np.zeros(len(ids), dtype=np.bool_))
    return found.texts, found.number[0].astype(np.int64)


def _position_in(known: pa.Array, wanted: pa.Array) -> NDArray[np.int64]:
    return pc.fill_null(pc.index_in(wanted, value_set=known), -1).to_numpy().astype(np.int64)
