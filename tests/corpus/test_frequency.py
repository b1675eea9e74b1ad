"""Frequencies are counted from the log; buckets follow from deciles."""

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.frequency import BUCKETS, count_frequency, frequency_buckets
from corpus.schemas import empty_table
from corpus.tables import Collection

frequencies = st.lists(st.integers(0, 50), max_size=60)


def test_sessions_are_counted_for_each_query(tiny_collection: Collection) -> None:
    counted = count_frequency(tiny_collection.queries["query_id"], tiny_collection.sessions)
    assert counted.type == pa.int64()
    assert counted.to_pylist() == [2, 1, 0]


def test_a_query_without_sessions_is_counted_0() -> None:
    counted = count_frequency(pa.chunked_array([["q1", "q2"]]), empty_table("sessions"))
    assert counted.to_pylist() == [0, 0]


def test_ten_queries_are_one_decile_each() -> None:
    by_hand = ["high"] * 3 + ["medium"] * 4 + ["low"] * 3
    assert frequency_buckets(np.arange(11, 1, -1)).tolist() == by_hand
    assert frequency_buckets(np.arange(2, 12)).tolist() == by_hand[::-1]


def test_twenty_queries_are_two_to_a_decile() -> None:
    by_hand = ["high"] * 6 + ["medium"] * 8 + ["low"] * 6
    assert frequency_buckets(np.arange(21, 1, -1)).tolist() == by_hand


def test_four_queries_are_in_the_deciles_of_their_middles() -> None:
    # A quarter each: their middles, at 1/8, 3/8, 5/8 and 7/8, lie in deciles 1, 3, 6 and 8.
    assert frequency_buckets(np.array([5, 4, 3, 2])).tolist() == ["high", "medium", "medium", "low"]


def test_equal_frequencies_share_the_bucket_of_their_mean_rank() -> None:
    # Ranks 1, 2 and 3 to 6 (mean 4.5, decile 4), then 7 to 10 (mean 8.5, decile 8).
    tied = np.array([9, 8, 5, 5, 5, 5, 2, 2, 2, 2])
    assert frequency_buckets(tied).tolist() == ["high"] * 2 + ["medium"] * 4 + ["low"] * 4
    # All alike: the mean rank is the middle.
    assert set(frequency_buckets(np.full(7, 2)).tolist()) == {"medium"}


def test_queries_searched_once_or_never_are_low_and_leave_the_deciles_to_the_others() -> None:
    # 64 % are searched once. By deciles of all, their mean rank would lie in decile 6: medium.
    tail = np.array([1] * 64 + list(range(2, 38)))
    buckets = frequency_buckets(tail)
    assert set(buckets[:64]) == {"low"}
    assert frequency_buckets(tail[64:]).tolist() == buckets[64:].tolist()
    assert [int((buckets == name).sum()) for name in BUCKETS] == [11, 14, 75]
    for alike in (np.ones(7, dtype=int), np.zeros(7, dtype=int)):
        assert set(frequency_buckets(alike).tolist()) == {"low"}
    assert frequency_buckets(np.array([0, 1, 2])).tolist() == ["low", "low", "medium"]


def test_the_cuts_are_the_first_deciles_of_medium_and_low() -> None:
    ten = np.arange(11, 1, -1)
    assert frequency_buckets(ten, (1, 9)).tolist() == ["high"] + ["medium"] * 8 + ["low"]
    assert frequency_buckets(ten, (5, 5)).tolist() == ["high"] * 5 + ["low"] * 5
    assert set(frequency_buckets(ten, (0, 0)).tolist()) == {"low"}
    assert set(frequency_buckets(ten, (10, 10)).tolist()) == {"high"}


@pytest.mark.parametrize("cuts", [(-1, 5), (7, 3), (3, 11)])
def test_cuts_out_of_order_are_refused(cuts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"not {cuts[0]}, {cuts[1]}"):
        frequency_buckets(np.arange(10), cuts)


@given(frequencies, st.randoms(use_true_random=False))
def test_a_bucket_depends_on_the_frequency_and_not_on_the_order(
    frequency: list[int], random: Random
) -> None:
    buckets = frequency_buckets(np.array(frequency, dtype=np.int64)).tolist()
    of_frequency = dict(zip(frequency, buckets, strict=True))
    assert [of_frequency[value] for value in frequency] == buckets
    shuffled = list(frequency)
    random.shuffle(shuffled)
    again = frequency_buckets(np.array(shuffled, dtype=np.int64)).tolist()
    assert again == [of_frequency[value] for value in shuffled]


@given(frequencies)
def test_a_more_frequent_query_is_never_in_a_lower_bucket(frequency: list[int]) -> None:
    buckets = frequency_buckets(np.array(frequency, dtype=np.int64))
    from_head = buckets[np.argsort(-np.array(frequency, dtype=np.int64))]
    heights = [BUCKETS.index(bucket) for bucket in from_head]
    assert heights == sorted(heights)


def test_rows_that_stand_for_many_sessions_are_counted_so() -> None:
    sessions = pa.table({"query_id": ["b", "a", "b"], "sessions": [3, 1, 4]})
    queries = pa.chunked_array([["a", "b", "c"]])
    assert count_frequency(queries, sessions).to_pylist() == [1, 7, 0]
    assert count_frequency(queries, sessions.select(["query_id"])).to_pylist() == [1, 2, 0]
    assert count_frequency(queries, sessions.slice(0, 0)).to_pylist() == [0, 0, 0]
