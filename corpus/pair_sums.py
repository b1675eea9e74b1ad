"""Where a log shows documents for a query, summed over pairs, and the candidates it tells."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.table_checks import check_table


def sum_pairs(searches: pa.Table) -> pa.Table:
    """Sums the positions at which searches show each pair.

    Args:
        searches: query_id and doc_ids, as of the table sessions, or dictionary-coded. A column
            `sessions` (int64) says how many searches each row stands for.

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
    times = np.ones(len(document))
    if "sessions" in searches.column_names:
        times = np.repeat(searches["sessions"].to_numpy().astype(float), lengths)
    return _add(queries, query.dictionary, document, times * position, times)


def shown_once(pairs: pa.Table) -> pa.Table:
    """What `sum_pairs` returns where each of some pairs was shown once, alone.

    Args:
        pairs: query_id and doc_id.
    """
    pages = pa.array([[doc_id] for doc_id in pairs["doc_id"].to_pylist()], pa.list_(pa.string()))
    return sum_pairs(pa.table({"query_id": pairs["query_id"], "doc_ids": pages}))


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


def rank_shown(sums: pa.Table, source: str) -> pa.Table:
    """The table candidates: the documents of each query ranked by their mean position.

    Args:
        sums: from `sum_pairs`.
        source: what the sums are of, for messages.

    Returns:
        The table candidates; the score is the negative mean position, at most -1. Equal ones are in
        the order of their ids.
    """
    # Ids are categories in the order of their bytes, so that sorting compares numbers.
    shown = pd.DataFrame(
        {name: _in_order(sums[name].combine_chunks()) for name in ("query_id", "doc_id")}
    )
    shown["position"] = sums["positions"].to_numpy() / sums["impressions"].to_numpy()
    shown = shown.sort_values(["query_id", "position", "doc_id"], kind="stable")
    shown["rank"] = shown.groupby("query_id", observed=True).cumcount() + 1
    shown["score"] = -shown["position"]
    table = pa.Table.from_pandas(shown.drop(columns="position"), preserve_index=False)
    return check_table(table, "candidates", source)


def _in_order(ids: pa.DictionaryArray) -> pd.Categorical:
    order = pc.sort_indices(ids.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    names = ids.dictionary.take(pa.array(order)).to_pandas()
    return pd.Categorical.from_codes(rank[ids.indices.to_numpy()], names)
