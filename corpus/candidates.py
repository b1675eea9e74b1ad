"""Candidate lists: what the first-stage ranker hands to the reranker."""

from collections.abc import Iterator

import bm25s
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.table_checks import check_table
from corpus.tables import Collection
from corpus.texts import document_text


def bm25_scores(texts: pa.ChunkedArray, documents: pa.Table) -> NDArray[np.float64]:
    """BM25 scores (the library's defaults) of every document for every text.

    Returns:
        float64 of shape (texts, documents).
    """
    return np.stack(list(_score_each(texts, documents)))


def bm25_candidates(collection: Collection, depth: int) -> pa.Table:
    """The `depth` best documents by BM25 for each query, its judged documents among them.

    Judged documents that BM25 does not find come after those it does, so that every list can be
    evaluated; the list keeps at most `depth` documents, the best-graded of the judged ones first.
    Documents that share no word with the query are left out unless they are judged; a query with
    no candidate at all gets no row.

    Returns:
        The table `candidates`.
    """
    queries, documents = collection.queries, collection.documents
    doc_ids = documents["doc_id"].to_numpy()
    row_of = {doc_id: row for row, doc_id in enumerate(doc_ids)}
    judged = collection.judgments.to_pandas().sort_values("grade", ascending=False, kind="stable")
    judged_rows = judged.groupby("query_id", sort=False)["doc_id"].agg(list).to_dict()
    parts = []
    all_scores = _score_each(queries["text"], documents)
    for query_id, scores in zip(queries["query_id"].to_pylist(), all_scores, strict=True):
        kept = [row_of[doc_id] for doc_id in judged_rows.get(query_id, [])][:depth]
        best = np.argsort(-scores, kind="stable")[:depth]
        found = [row for row in best[scores[best] > 0] if row not in set(kept)]
        rows = np.array(kept + found[: depth - len(kept)], dtype=np.int64)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        parts.append(
            pd.DataFrame(
                {
                    "query_id": query_id,
                    "doc_id": doc_ids[rows],
                    "rank": np.arange(1, len(rows) + 1),
                    "score": scores[rows],
                }
            )
        )
    table = pa.Table.from_pandas(pd.concat(parts), preserve_index=False)
    return check_table(table, "candidates", "BM25 candidates")


def shown_candidates(sessions: pa.Table) -> pa.Table:
    """The documents that the log shows for each query, by their mean position.

    Returns:
        The table `candidates`; the score is the negative mean position, from 1.
    """
    return rank_shown(sum_positions(sessions))


def sum_positions(sessions: pa.Table, earlier: pd.DataFrame | None = None) -> pd.DataFrame:
    """Adds up where sessions show documents, so that a log can be read in parts.

    Returns:
        query_id, doc_id, positions (sum, each from 1) and impressions, of `sessions` and of the
        `earlier` sessions that this was made of.
    """
    doc_ids = sessions["doc_ids"].combine_chunks()
    session = pc.list_parent_indices(doc_ids)
    starts = np.append(0, np.cumsum(pc.list_value_length(doc_ids).to_numpy()))
    shown = pd.DataFrame(
        {
            "query_id": sessions["query_id"].take(session).to_pandas(),
            "doc_id": doc_ids.flatten().to_pandas(),
            "positions": np.arange(len(session)) - starts[session.to_numpy()] + 1.0,
            "impressions": 1,
        }
    )
    both = shown if earlier is None else pd.concat([earlier, shown], ignore_index=True)
    return both.groupby(["query_id", "doc_id"], as_index=False, sort=False).sum()


def rank_shown(shown: pd.DataFrame) -> pa.Table:
    """The table `candidates` from what `sum_positions` returns, by mean position."""
    mean = shown[["query_id", "doc_id"]].assign(position=shown["positions"] / shown["impressions"])
    mean = mean.sort_values(["query_id", "position", "doc_id"], kind="stable")
    mean["rank"] = mean.groupby("query_id").cumcount() + 1
    mean["score"] = -mean["position"]
    table = pa.Table.from_pandas(mean.drop(columns="position"), preserve_index=False)
    return check_table(table, "candidates", "documents shown in sessions")


def _score_each(texts: pa.ChunkedArray, documents: pa.Table) -> Iterator[NDArray[np.float64]]:
    searched = _words(document_text(documents))
    index = bm25s.BM25()
    if any(searched):
        index.index(searched, show_progress=False)
    for words in _words(texts.to_pylist()):
        # The library fails on a text without words, such as one of emoji or of stop words alone.
        if words and any(searched):
            yield index.get_scores(words).astype(np.float64)
        else:
            yield np.zeros(documents.num_rows)


def _words(texts: list[str]) -> list[list[str]]:
    return bm25s.tokenize(texts, show_progress=False, return_ids=False)
