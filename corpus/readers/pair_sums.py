"""Sums over a log: which documents are shown for which query, and the texts of queries."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

OTHER_TEXTS = "texts of searches, as their query id had another text before, which is kept"


def sum_pairs(searches: pa.Table) -> pa.Table:
    """Sums the positions at which searches show each pair.

    Args:
        searches: query_id and doc_ids, each column one chunk.

    Returns:
        query_id and doc_id (dictionary-coded strings), positions (float64, the sum of positions,
        which count from 1) and impressions (int64); a row a pair.
    """
    lists = searches["doc_ids"].combine_chunks()
    lengths = lists.value_lengths().to_numpy()
    query = searches["query_id"].combine_chunks().dictionary_encode()
    document = lists.flatten().dictionary_encode()
    starts = np.cumsum(lengths) - lengths
    position = np.arange(len(document)) - np.repeat(starts, lengths) + 1.0
    queries = np.repeat(query.indices.to_numpy(), lengths)
    once = np.ones(len(document))
    return _add(queries, query.dictionary, document, position, once)


def add_pair_sums(sums: Sequence[pa.Table]) -> pa.Table:
    """Adds the tables that `sum_pairs` returns for parts of a log."""
    if len(sums) == 1:
        return sums[0]
    together = pa.concat_tables(sums).unify_dictionaries().combine_chunks()
    query, document = (together[name].combine_chunks() for name in ("query_id", "doc_id"))
    positions, impressions = (together[name].to_numpy() for name in ("positions", "impressions"))
    return _add(query.indices.to_numpy(), query.dictionary, document, positions, impressions)


def _add(
    query: NDArray[np.int32],
    queries: pa.Array,
    document: pa.DictionaryArray,
    positions: NDArray[np.float64],
    impressions: NDArray[np.float64],
) -> pa.Table:
    documents = max(len(document.dictionary), 1)
    key = query.astype(np.int64) * documents + document.indices.to_numpy()
    code, pair = pd.factorize(key)
    of_query, of_document = (pa.array(part, pa.int32()) for part in np.divmod(pair, documents))
    return pa.table(
        {
            "query_id": pa.DictionaryArray.from_arrays(of_query, queries),
            "doc_id": pa.DictionaryArray.from_arrays(of_document, document.dictionary),
            "positions": np.bincount(code, positions, len(pair)),
            "impressions": np.bincount(code, impressions, len(pair)).astype(np.int64),
        }
    )


def ranked_frame(sums: pa.Table) -> pd.DataFrame:
    """The sums as `corpus.candidates.rank_shown` takes them.

    Ids are categories in the order of their bytes, so that sorting compares numbers.
    """
    frame = {name: _in_order(sums[name].combine_chunks()) for name in ("query_id", "doc_id")} | {
        name: sums[name].to_numpy() for name in ("positions", "impressions")
    }
    return pd.DataFrame(frame)


def _in_order(ids: pa.DictionaryArray) -> pd.Categorical:
    order = pc.sort_indices(ids.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    names = ids.dictionary.take(pa.array(order)).to_pandas()
    return pd.Categorical.from_codes(rank[ids.indices.to_numpy()], names)


def count_texts(searches: pa.Table) -> pa.Table:
    """Counts the searches of each query with each text.

    Returns:
        query_id, text and searches (int64), in the order of their first search.
    """
    counted = searches.select(["query_id", "text"]).append_column(
        "searches", pa.repeat(pa.scalar(1, pa.int64()), searches.num_rows)
    )
    return add_texts([counted])


def add_texts(counted: Sequence[pa.Table]) -> pa.Table:
    """Adds the tables that `count_texts` returns for parts of a log."""
    together = pa.concat_tables(counted)
    codes = [_code(together[name]) for name in ("query_id", "text")]
    code, pair = pd.factorize(codes[0] * (codes[1].max(initial=0) + 1) + codes[1])
    first = first_rows(code, len(pair))
    kept = together.select(["query_id", "text"]).take(pa.array(first))
    counts = np.bincount(code, together["searches"].to_numpy(), len(pair)).astype(np.int64)
    return kept.append_column("searches", pa.array(counts))


def first_texts(counted: pa.Table, aside: Counter[str]) -> pa.Table:
    """The table queries with the first text of each query; searches with another are counted.

    Args:
        counted: query_id, text and searches, from `add_texts`.
        aside: counter of searches with another text.
    """
    code = _code(counted["query_id"])
    first = first_rows(code, int(code.max(initial=-1)) + 1)
    searches = counted["searches"].to_numpy()
    number = _code(counted["text"])
    if other := int(searches[number != number[first][code]].sum()):
        aside[OTHER_TEXTS] += other
    frequency = np.bincount(code, searches, len(first)).astype(np.int64)
    kept = counted.select(["query_id", "text"]).take(pa.array(first))
    return kept.append_column("frequency", pa.array(frequency))


def first_rows(code: NDArray[np.int64], codes: int) -> NDArray[np.int64]:
    """The first row of each code, int64, shape (codes,)."""
    first = np.empty(codes, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    return first


def _code(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Numbers of equal values, from 0 in the order of first appearance, int64."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
