"""Candidate lists: the documents that the first-stage ranker finds for each query."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.bm25 import bm25s
from corpus.pair_sums import rank_shown, shown_once, sum_pairs
from corpus.table_checks import check_table
from corpus.tables import Collection
from corpus.texts import document_text


def bm25_scores(texts: pa.ChunkedArray, documents: pa.Table) -> NDArray[np.float64]:
    """BM25 scores (with the library's defaults) of every document for every text.

    Args:
        texts: texts of queries.
        documents: the table documents.

    Returns:
        float64 of shape (texts, documents).
    """
    return np.stack(list(score_each(texts, documents)))


def bm25_candidates(collection: Collection, depth: int) -> pa.Table:
    """The `depth` best documents by BM25 for each query, as a search engine would find them.

    Judged documents that BM25 does not find are not candidates: a ranker is measured on the lists
    that it would get. Documents that share no word with the query are left out, and so is a query
    that finds nothing. Documents of equal score are in the order of the table.

    Args:
        collection: the collection with queries and documents.
        depth: the largest number of candidates for each query, at least 1.

    Returns:
        The table candidates.
    """
    queries, documents = collection.queries, collection.documents
    found, scores = [], []
    for all_scores in score_each(queries["text"], documents):
        found.append(_best(all_scores, depth))
        scores.append(all_scores[found[-1]])
    query = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
    table = pa.table(
        {
            "query_id": queries["query_id"].take(pa.array(query)),
            "doc_id": documents["doc_id"].take(pa.array(np.concatenate(found))),
            "rank": np.concatenate([np.arange(len(rows)) + 1 for rows in found]),
            "score": np.concatenate(scores),
        }
    )
    return check_table(table, "candidates", "BM25 candidates")


def _best(scores: NDArray[np.float64], depth: int) -> NDArray[np.int64]:
    """Rows of the `depth` highest scores above 0, best first, int64."""
    rows = np.flatnonzero(scores > 0)
    if len(rows) > depth:
        last = np.partition(scores[rows], len(rows) - depth)[len(rows) - depth]
        rows = rows[scores[rows] >= last]
    return rows[np.argsort(-scores[rows], kind="stable")][:depth]


def judged_candidates(
    candidates: pa.Table, judgments: pa.Table, but_of: pa.ChunkedArray
) -> pa.Table:
    """Adds the judged documents of queries without candidates, for sets without a first stage.

    Args:
        candidates: the table candidates.
        judgments: the table judgments.
        but_of: ids of queries that keep what they have, such as those of the test split, on which a
            ranker is measured on the lists that it would get.

    Returns:
        The table candidates; judged documents are in the order of their ids, with a score of -1.
    """
    kept = pa.chunked_array([*candidates["query_id"].chunks, *but_of.chunks], pa.string())
    added = judgments.filter(pc.invert(pc.is_in(judgments["query_id"], value_set=pc.unique(kept))))
    if added.num_rows == 0:
        return candidates
    ranked = rank_shown(shown_once(added), "judged documents")
    return pa.concat_tables([candidates, ranked], promote_options="default")


def shown_candidates(sessions: pa.Table) -> pa.Table:
    """The documents that the log shows for each query, ranked by their mean position.

    Args:
        sessions: the table sessions, as of `corpus.pair_sums.sum_pairs`.

    Returns:
        The table candidates; the score is the negative mean position, at most -1.
    """
    return rank_shown(sum_pairs(sessions), "documents shown in sessions")


def score_each(texts: pa.ChunkedArray, documents: pa.Table) -> Iterator[NDArray[np.float64]]:
    """The rows of `bm25_scores`, one text at a time: all at once may not fit into memory."""
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
