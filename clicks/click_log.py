"""A click log as numbers: its distinct sessions, counted, with queries and documents numbered."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.compaction import distinct_sessions
from clicks.shrinkage import Trials, total


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
    """The distinct sessions of a log: same query, documents, order and clicks.

    Attributes:
        pairs: the query-document pairs that are shown.
        pair: the number of the pair at each position, -1 beyond the end of a page; int64, shape
            (distinct sessions, positions).
        clicks: bool, same shape.
        sessions: how many sessions are like this one, float64, shape (distinct sessions,).
    """

    pairs: Pairs
    pair: NDArray[np.int64]
    clicks: NDArray[np.bool_]
    sessions: NDArray[np.float64]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which positions show a document, bool, shape (distinct sessions, positions)."""
        return self.pair >= 0

    def trials(self, where: NDArray[np.bool_]) -> Trials:
        """Clicks and impressions of each pair at some of the positions, shape of `pair`."""
        pair, count = self.pair[where], len(self.pairs.query)
        sessions = np.broadcast_to(self.sessions[:, None], where.shape)[where]
        return Trials(
            successes=total(pair, sessions * self.clicks[where], count),
            trials=total(pair, sessions, count),
            document=self.pairs.document,
            documents=len(self.pairs.documents),
        )


def read_click_log(sessions: pa.Table) -> ClickLog:
    """Encodes sessions, or what `distinct_sessions` made of them.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    return encode_sessions(distinct_sessions(sessions))


def encode_sessions(distinct: pa.Table) -> ClickLog:
    """Encodes the table that `distinct_sessions` returns, row by row."""
    queries = distinct["query_id"].combine_chunks().dictionary_encode()
    listed = distinct["doc_ids"].combine_chunks()
    documents = listed.flatten().dictionary_encode()
    length = pc.list_value_length(listed).to_numpy()
    query = np.repeat(queries.indices.to_numpy().astype(np.int64), length)
    count = len(documents.dictionary)
    pair, code = pd.factorize(query * count + documents.indices.to_numpy())
    shown = np.arange(length.max()) < length[:, None]
    log = ClickLog(
        pairs=Pairs(queries.dictionary, documents.dictionary, code // count, code % count),
        pair=np.full(shown.shape, -1),
        clicks=np.zeros(shown.shape, dtype=np.bool_),
        sessions=distinct["sessions"].to_numpy().astype(np.float64),
    )
    log.pair[shown] = pair
    log.clicks[shown] = distinct["clicks"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return log


def _position_in(known: pa.Array, wanted: pa.Array) -> NDArray[np.int64]:
    return pc.fill_null(pc.index_in(wanted, value_set=known), -1).to_numpy().astype(np.int64)
