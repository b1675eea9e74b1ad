"""Queries are split six, two and two to ten, alike in head and tail."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpus.schemas import SCHEMAS
from corpus.splits import complete_split, split_queries

SHARE = {"train": 6, "validation": 2, "test": 2}


def make_queries(frequency: list[int]) -> pa.Table:
    query_ids = [f"q{row}" for row in range(len(frequency))]
    return pa.table(
        {"query_id": query_ids, "text": query_ids, "frequency": frequency}, SCHEMAS["queries"]
    )


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 2**32))
def test_every_query_has_one_split_and_the_shares_hold(frequency: list[int], seed: int) -> None:
    queries = make_queries(frequency)
    splits = split_queries(queries, seed)
    assert splits["query_id"] == queries["query_id"]
    tens, rest = divmod(len(frequency), 10)
    for split, share in SHARE.items():
        count = splits["split"].to_pylist().count(split)
        assert share * tens <= count <= share * tens + min(share, rest)


def test_every_ten_neighbours_in_frequency_are_split_six_two_two() -> None:
    frequency = np.random.default_rng(0).permutation(200)
    split = np.array(split_queries(make_queries(frequency.tolist()), seed=3)["split"].to_pylist())
    from_head = split[np.argsort(-frequency)].reshape(20, 10)
    for ten in from_head:
        assert {name: int((ten == name).sum()) for name in SHARE} == SHARE
    # In each ten the order is drawn anew.
    assert len({tuple(ten) for ten in from_head}) > 15


def test_queries_of_equal_frequency_are_split_at_random() -> None:
    queries = make_queries([1] * 1000)
    split = np.array(split_queries(queries, seed=0)["split"].to_pylist())
    first_half = int((split[:500] == "test").sum())
    assert first_half != 100
    assert 60 < first_half < 140


def test_the_seed_decides_the_split() -> None:
    queries = make_queries([*range(50)])
    assert split_queries(queries, seed=1) == split_queries(queries, seed=1)
    assert split_queries(queries, seed=1) != split_queries(queries, seed=2)


def test_a_published_split_is_kept() -> None:
    queries = make_queries([5] * 30)
    published = {f"q{row}": "test" for row in range(20)}
    splits = complete_split(published, queries, seed=0)["split"].to_pylist()
    assert splits == ["test"] * 20 + ["train"] * 10
    published |= {"q20": "validation", "q21": "train"}
    splits = complete_split(published, queries, seed=0)["split"].to_pylist()
    assert splits == ["test"] * 20 + ["validation"] + ["train"] * 9


def test_validation_that_nobody_published_is_a_quarter_of_training() -> None:
    queries = make_queries([5] * 30)
    published = {f"q{row}": "test" if row < 10 else "train" for row in range(26)}
    splits = complete_split(published, queries, seed=0)["split"].to_pylist()
    assert splits[:10] == ["test"] * 10
    assert splits[10:26].count("validation") == 4
    assert set(splits[26:]) == {"train"}
