"""Splits queries into train, validation and test, with the same mix of frequencies in each."""

import numpy as np
import pyarrow as pa

from corpus.schemas import SPLITS
from corpus.table_checks import check_table


def split_queries(queries: pa.Table, seed: int) -> pa.Table:
    """Puts six of ten queries into train, two into validation and two into test.

    Queries are ordered by frequency and dealt out ten at a time, each ten in random order, so
    that head and tail are spread alike. The proportions hold for every ten queries.

    Args:
        queries: the table `queries`.
        seed: the same seed gives the same split.

    Returns:
        The table `splits`, in the order of `queries`.
    """
    rng = np.random.default_rng(seed)
    frequency = queries["frequency"].to_numpy()
    order = np.lexsort((rng.random(len(frequency)), -frequency))
    hand = np.array([SPLITS[0]] * 6 + [SPLITS[1]] * 2 + [SPLITS[2]] * 2)
    hands = -(-len(order) // len(hand))
    dealt = np.concatenate([rng.permutation(hand) for _ in range(hands)])[: len(order)]
    split = np.empty(len(order), dtype=hand.dtype)
    split[order] = dealt
    table = pa.table({"query_id": queries["query_id"], "split": split.astype(object)})
    return check_table(table, "splits", "split of the queries")
