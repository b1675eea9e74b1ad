"""Judged queries are for validation and test, one to two; without any, six, two and two to ten."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.schemas import SCHEMAS
from corpus.splits import complete_split, split_queries


def split_unjudged(queries: pa.Table, seed: int) -> pa.Table:
    return split_queries(queries, np.zeros(queries.num_rows, dtype=np.bool_), False, seed)


SHARE = {"train": 6, "validation": 2, "test": 2}


def make_queries(frequency: list[int]) -> pa.Table:
    query_ids = [f"q{row}" for row in range(len(frequency))]
    return pa.table(
        {"query_id": query_ids, "text": query_ids, "frequency": frequency}, SCHEMAS["queries"]
    )


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 2**32))
def test_every_query_has_one_split_and_the_shares_hold(frequency: list[int], seed: int) -> None:
    queries = make_queries(frequency)
    splits = split_unjudged(queries, seed)
    assert splits["query_id"] == queries["query_id"]
    tens, rest = divmod(len(frequency), 10)
    for split, share in SHARE.items():
        count = splits["split"].to_pylist().count(split)
        assert share * tens <= count <= share * tens + min(share, rest)


def test_every_ten_neighbours_in_frequency_are_split_six_two_two() -> None:
    frequency = np.random.default_rng(0).permutation(200)
    split = np.array(split_unjudged(make_queries(frequency.tolist()), seed=3)["split"].to_pylist())
    from_head = split[np.argsort(-frequency)].reshape(20, 10)
    for ten in from_head:
        assert {name: int((ten == name).sum()) for name in SHARE} == SHARE
    # In each ten the order is drawn anew.
    assert len({tuple(ten) for ten in from_head}) > 15


def test_queries_of_equal_frequency_are_split_at_random() -> None:
    queries = make_queries([1] * 1000)
    split = np.array(split_unjudged(queries, seed=0)["split"].to_pylist())
    first_half = int((split[:500] == "test").sum())
    assert first_half != 100
    assert 60 < first_half < 140


def test_the_seed_decides_the_split() -> None:
    queries = make_queries([*range(50)])
    assert split_unjudged(queries, seed=1) == split_unjudged(queries, seed=1)
    assert split_unjudged(queries, seed=1) != split_unjudged(queries, seed=2)


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


def of_judged(frequency: list[int], judged: list[int], fill_train: bool = False) -> list[str]:
    """The split of each query, of which those in the rows `judged` are judged."""
    known = np.isin(np.arange(len(frequency)), judged)
    return split_queries(make_queries(frequency), known, fill_train, seed=5)["split"].to_pylist()


def test_judged_queries_are_for_validation_and_test_and_others_for_training() -> None:
    frequency = [*range(90)]
    split = np.array(of_judged(frequency, list(range(0, 90, 2))))
    assert set(split[1::2]) == {"train"}
    # Of every three neighbours in frequency one validates and two test.
    threes = split[::2][::-1].reshape(15, 3)
    assert {tuple(sorted(three)) for three in threes} == {("test", "test", "validation")}
    assert len({tuple(three) for three in threes}) == 3


def test_training_is_filled_up_with_judged_queries_where_it_may_read_no_others() -> None:
    split = of_judged([*range(60)], list(range(60)), fill_train=True)
    assert Counter(split) == {"train": 36, "validation": 8, "test": 16}
    for part in (split[:20], split[20:40], split[40:]):  # alike in head and tail
        assert part.count("train") in (11, 12, 13)
    split = of_judged([*range(60)], list(range(30)), fill_train=True)
    assert Counter(split) == {"train": 36, "validation": 8, "test": 16}
    assert split[30:] == ["train"] * 30
    split = of_judged([*range(60)], list(range(15)), fill_train=True)
    assert Counter(split) == {"train": 45, "validation": 5, "test": 10}


@pytest.mark.parametrize(
    ("queries", "judged", "counts"),
    [
        (1, 1, {"test", "validation"}),
        (2, 2, {"test", "validation"}),
        (3, 3, {"test", "validation"}),
        (10, 1, {"train", "test", "validation"}),
        (10, 2, {"train", "test", "validation"}),
    ],
)
def test_few_judged_queries_leave_no_split_empty(
    queries: int, judged: int, counts: set[str]
) -> None:
    for seed in range(10):
        known = np.arange(queries) < judged
        split = split_queries(make_queries([3] * queries), known, False, seed)["split"]
        found = set(split.to_pylist())
        assert found <= counts
        assert found == counts or queries == 1
