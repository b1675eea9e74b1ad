"""Splits queries into train, validation and test, with the same mix of frequencies in each."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.schemas import SPLITS
from corpus.table_checks import check_table

TRAIN, VALIDATION, TEST = SPLITS
# What is dealt to queries of like frequency, again and again, in random order.
NOBODY_JUDGED = np.array([TRAIN] * 6 + [VALIDATION] * 2 + [TEST] * 2)
JUDGED = np.array([VALIDATION] + [TEST] * 2)
TRAIN_SHARE = 0.6


def split_queries(
    queries: pa.Table, judged: NDArray[np.bool_], fill_train: bool, seed: int
) -> pa.Table:
    """Puts a third of the judged queries into validation, two thirds into test, others into train.

    Where nobody judged any, six of ten queries go into train, two into validation and two into
    test. A split is stratified by frequency: queries are sorted by it and dealt a few at a time,
    these in random order, so that head and tail are equally spread over the splits. One
    judged query is for test, and a fifth of the training queries then validates.

    Args:
        queries: the table queries.
        judged: whether humans judged each query, shape (queries,).
        fill_train: put judged queries into train until it has six of ten queries, as is needed
            where training may read no query of validation and test, and most queries are judged.
        seed: the same seed gives the same split.

    Returns:
        query_id and split, in the order of `queries`.
    """
    frequency, split = queries["frequency"].to_numpy(), np.full(queries.num_rows, TRAIN, object)
    if not judged.any():
        return _table(queries, _deal(frequency, NOBODY_JUDGED, seed))
    rows = np.flatnonzero(judged)
    if fill_train:
        missing = int(np.ceil(TRAIN_SHARE * len(split))) - int((~judged).sum())
        rows = _without_some(rows, frequency, missing, seed)
    split[rows] = _deal(frequency[rows], JUDGED, seed)
    _fill_splits(split, rows, seed)
    return _table(queries, split)


def _without_some(
    rows: NDArray[np.int64], frequency: NDArray[np.int64], less: int, seed: int
) -> NDArray[np.int64]:
    """The rows but for `less` of them, which are evenly spread over frequencies."""
    if less <= 0:
        return rows
    rng = np.random.default_rng(seed)
    by_frequency = rows[np.lexsort((rng.random(len(rows)), -frequency[rows]))]
    places = (np.arange(less) + rng.random()) * len(rows) / less
    return np.setdiff1d(rows, by_frequency[places.astype(np.int64)])


def _fill_splits(split: NDArray[np.object_], dealt: NDArray[np.int64], seed: int) -> None:
    """Sees to it that one or two judged queries, in the rows `dealt`, leave no split empty."""
    rng = np.random.default_rng(seed)
    if len(dealt) and TEST not in split:
        split[rng.choice(dealt)] = TEST
    if VALIDATION not in split:
        train, test = (np.flatnonzero(split == name) for name in (TRAIN, TEST))
        if len(test) > 1:
            split[rng.choice(test)] = VALIDATION
        elif len(train) > 1:  # where no judgment measures, labels do
            split[rng.permutation(train)[: max(len(train) // 5, 1)]] = VALIDATION


def complete_split(published: Mapping[str, str], queries: pa.Table, seed: int) -> pa.Table:
    """Completes a published split.

    Queries that it does not name are for training, since nobody judged them. If it has no
    validation queries, a quarter of its training queries is moved there, stratified by frequency.

    Args:
        published: train, validation or test for each query id.
        queries: the table queries.
        seed: the same seed gives the same split.

    Returns:
        query_id and split, in the order of `queries`.
    """
    named = [published.get(query_id) for query_id in queries["query_id"].to_pylist()]
    split = np.array([name or TRAIN for name in named], dtype=object)
    if VALIDATION not in named:
        train = np.flatnonzero([name == TRAIN for name in named])
        hand = np.array([TRAIN] * 3 + [VALIDATION])
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
