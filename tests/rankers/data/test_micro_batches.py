from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankers.data.micro_batches import (
    FIXED_COST,
    cut_micro_batches,
    pad_micro_batches,
    without_pairs,
)
from rankers.data.pair_template import as_pairs

PAD = 7


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60), tokens=st.integers(1, 200))
def test_micro_batches_hold_each_pair_once_within_the_budget(
    lengths: list[int], tokens: int
) -> None:
    of_pairs = np.array(lengths)
    cut = cut_micro_batches(of_pairs, tokens)
    assert sorted(np.concatenate(cut)) == list(range(len(lengths)))
    for pairs in cut:
        assert len(pairs) == 1 or of_pairs[pairs].max() * len(pairs) <= tokens
    longest = [of_pairs[pairs].max() for pairs in cut]
    assert longest == sorted(longest, reverse=True)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=7), tokens=st.integers(16, 512))
def test_no_cut_costs_less(lengths: list[int], tokens: int) -> None:
    longest_first = sorted(lengths, reverse=True)
    cuts = [
        [longest_first[start:end] for start, end in zip((0, *inner), (*inner, None), strict=True)]
        for count in range(len(lengths))
        for inner in combinations(range(1, len(lengths)), count)
    ]
    allowed = [
        cut for cut in cuts if all(len(one) == 1 or len(one) * one[0] <= tokens for one in cut)
    ]

    def cost(cut: list[list[int]]) -> float:
        return sum(len(one) * one[0] + tokens * FIXED_COST for one in cut)

    cut = [
        [lengths[pair] for pair in pairs] for pairs in cut_micro_batches(np.array(lengths), tokens)
    ]
    assert cut in allowed
    assert cost(cut) == pytest.approx(min(map(cost, allowed)))


def tokenized(*pairs: list[int]) -> pa.Table:
    of_type = pa.list_(pa.int32())
    return pa.table(
        {
            "input_ids": pa.array(pairs, of_type),
            "token_type_ids": pa.array([[1] * len(ids) for ids in pairs], of_type),
            "length": pa.array([len(ids) for ids in pairs], pa.int64()),
        }
    )


def test_pairs_are_padded_to_the_longest_of_their_micro_batch() -> None:
    cut = pad_micro_batches(as_pairs(tokenized([5, 6, 8], [9], [4, 3])), PAD, 48)
    assert cut.pairs.tolist() == [0, 2, 1]
    first, second = cut.inputs
    assert first["input_ids"].tolist() == [[5, 6, 8]]
    assert second["input_ids"].tolist() == [[4, 3], [9, PAD]]
    assert second["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert second["token_type_ids"].tolist() == [[1, 1], [1, 0]]
    assert (cut.tokens, cut.padded_tokens) == (6, 7)


def test_a_slice_of_pairs_is_padded_as_if_it_were_whole() -> None:
    """Arrow's slices keep the values before them."""
    whole = pad_micro_batches(as_pairs(tokenized([4, 3], [2])), PAD, 100)
    part = pad_micro_batches(as_pairs(tokenized([5, 6, 8], [4, 3], [2]).slice(1)), PAD, 100)
    assert torch.equal(part.inputs[0]["input_ids"], whole.inputs[0]["input_ids"])
    assert torch.equal(part.inputs[0]["attention_mask"], whole.inputs[0]["attention_mask"])


def test_without_a_pair_there_is_no_micro_batch() -> None:
    """Not every model takes padding alone."""
    cut = pad_micro_batches(as_pairs(tokenized()), PAD, 100)
    assert cut.inputs == []
    assert len(cut.pairs) == cut.tokens == cut.padded_tokens == 0


def test_a_micro_batch_can_stand_for_no_pair() -> None:
    cut = without_pairs(pad_micro_batches(as_pairs(tokenized([5, 6, 8], [9])), PAD, 1))
    assert [one["input_ids"].tolist() for one in cut.inputs] == [[[9]]]
    assert (len(cut.pairs), cut.tokens, cut.padded_tokens) == (0, 0, 1)
