"""The texts of queries in a log: how often each is searched, and which was first."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

OTHER_TEXTS = "texts of searches, as their query id had another text before, which is kept"


def count_texts(searches: pa.Table) -> pa.Table:
    """Counts the searches of each query with each text.

    Returns:
        query_id, text and searches (int64), in the order of their first search.
    """
    counted = searches.select(["query_id", "text"]).append_column(
        "searches", pa.repeat(pa.scalar(1, pa.int64()), searches.num_rows)
    )
    added = add_texts([counted])
    return added.set_column(0, "query_id", added["query_id"].cast(pa.string()))


def add_texts(counted: Sequence[pa.Table]) -> pa.Table:
    """Adds the tables that `count_texts` returns for parts of a log."""
    together = pa.concat_tables(counted)
    codes = [_code(together[name]) for name in ("query_id", "text")]
    code, pair = pd.factorize(codes[0] * (codes[1].max(initial=0) + 1) + codes[1])
    first = first_rows(code, len(pair))
    kept = together.select(["query_id", "text"]).take(pa.array(first))
    counts = np.bincount(code, together["searches"].to_numpy(), len(pair)).astype(np.int64)
    return kept.append_column("searches", pa.array(counts))


def collect_texts(collected: list[pa.Table], more: pa.Table) -> None:
    """Appends a table of `count_texts`; adds all up once those after the first are as long as it.

    So a log's texts are held about twice, however many parts it has.
    """
    collected.append(more)
    if len(collected[0]) <= sum(map(len, collected[1:])):
        collected[:] = [add_texts(collected)]


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


def rename(column: pa.ChunkedArray | pa.Array, names: Mapping[str, str]) -> pa.ChunkedArray:
    """The column with some of its values replaced."""
    if not names:
        return column
    column = column.cast(pa.string())
    at = pc.index_in(column, value_set=pa.array(list(names), pa.string()))
    return pc.coalesce(pa.array(list(names.values()), pa.string()).take(at), column)


def first_rows(code: NDArray[np.int64], codes: int) -> NDArray[np.int64]:
    """The first row of each code, int64, shape (codes,)."""
    first = np.empty(codes, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    return first


def _code(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Numbers from 0, int64, the same for equal values; some may be left out."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
