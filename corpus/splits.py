"""Splits queries into train, validation and test, with the same mix of frequencies in each."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.schemas import SPLITS
from corpus.table_checks import check_table


def split_queries(queries: pa.Table, seed: int) -> pa.Table:
    """Puts six of ten queries into train, two into validation and two into test.

    The split is stratified by frequency: queries are sorted by it and split ten at a time, each ten
    in random order, so that head and tail are equally spread over the splits.

    Args:
        queries: the table queries.
        seed: the same seed gives the same split.

    Returns:
        The table `splits`, in the order of `queries`.
    """
    hand = np.array([SPLITS[0]] * 6 + [SPLITS[1]] * 2 + [SPLITS[2]] * 2)
    return _table(queries, _deal(queries["frequency"].to_numpy(), hand, seed))


def complete_split(published: Mapping[str, str], queries: pa.Table, seed: int) -> pa.Table:
    """Completes a published split.

    Queries that it does not name are for training, since nobody judged them. If it has no
    validation queries, a quarter of its training queries is moved there, stratified by frequency.

    Args:
        published: train, validation or test for each query id.
        queries: the table queries.
        seed: the same seed gives the same split.

    Returns:
        The table `splits`, in the order of `queries`.
    """
    named = [published.get(query_id) for query_id in queries["query_id"].to_pylist()]
    split = np.array([name or SPLITS[0] for name in named], dtype=object)
    if SPLITS[1] not in named:
        train = np.flatnonzero([name == SPLITS[0] for name in named])
        hand = np.array([SPLITS[0]] * 3 + [SPLITS[1]])
        split[train] = _deal(queries["frequency"].to_numpy()[train], hand, seed)
    return _table(queries, split)


def _deal(frequency: NDArray[np.int64], hand: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(frequency)), -frequency))
    hands = -(-len(order) // len(hand))
    split = np.empty(len(order), dtype=hand.dtype)
    if hands:
        dealt = np.concatenate([rng.permutation(hand) for _ in range(hands)])
        split[order] = dealt[: len(order)]
    return split


def _table(queries: pa.Table, split: NDArray[np.str_]) -> pa.Table:
    table = pa.table({"query_id": queries["query_id"], "split": split.astype(object)})
    return check_table(table, "splits", "split of the queries")
