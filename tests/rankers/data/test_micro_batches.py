from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankers.data.micro_batches import COST_OF_PASS, cut_passes, pad_passes, without_pairs

PAD = 7


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60), tokens=st.integers(1, 200))
def test_passes_hold_each_pair_once_within_the_budget(lengths: list[int], tokens: int) -> None:
    of_pairs = np.array(lengths)
    passes = cut_passes(of_pairs, tokens)
    assert sorted(np.concatenate(passes)) == list(range(len(lengths)))
    for pairs in passes:
        assert len(pairs) == 1 or of_pairs[pairs].max() * len(pairs) <= tokens
    longest = [of_pairs[pairs].max() for pairs in passes]
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
        return sum(len(one) * one[0] + tokens * COST_OF_PASS for one in cut)

    passes = [[lengths[pair] for pair in pairs] for pairs in cut_passes(np.array(lengths), tokens)]
    assert passes in allowed
    assert cost(passes) == pytest.approx(min(map(cost, allowed)))


def tokenized(*lists: list[list[int]]) -> pa.Table:
    of_type = pa.list_(pa.list_(pa.int32()))
    segments = [[[1] * len(ids) for ids in listed] for listed in lists]
    return pa.table(
        {
            "input_ids": pa.array(lists, of_type),
            "token_type_ids": pa.array(segments, of_type),
        }
    )


def test_pairs_are_padded_to_the_longest_of_their_pass() -> None:
    passes = pad_passes(tokenized([[5, 6, 8], [9]], [[4, 3]]), PAD, tokens_per_pass=48)
    assert passes.pairs.tolist() == [0, 2, 1]
    first, second = passes.inputs
    assert first["input_ids"].tolist() == [[5, 6, 8]]
    assert second["input_ids"].tolist() == [[4, 3], [9, PAD]]
    assert second["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert second["token_type_ids"].tolist() == [[1, 1], [1, 0]]
    assert (passes.tokens, passes.padded_tokens) == (6, 7)


def test_a_slice_of_lists_is_padded_as_if_it_were_whole() -> None:
    """Arrow's slices keep the values before them."""
    whole = pad_passes(tokenized([[4, 3]], [[2]]), PAD, 100)
    part = pad_passes(tokenized([[5, 6, 8], [9]], [[4, 3]], [[2]], []).slice(1, 3), PAD, 100)
    assert torch.equal(part.inputs[0]["input_ids"], whole.inputs[0]["input_ids"])
    assert torch.equal(part.inputs[0]["attention_mask"], whole.inputs[0]["attention_mask"])


def test_without_a_pair_there_is_no_pass() -> None:
    """A pass over padding alone is none that every model takes."""
    passes = pad_passes(tokenized().slice(0, 0), PAD, 100)
    assert passes.inputs == []
    assert len(passes.pairs) == passes.tokens == passes.padded_tokens == 0


def test_a_pass_can_stand_for_no_pair() -> None:
    passes = without_pairs(pad_passes(tokenized([[5, 6, 8], [9]]), PAD, 1))
    assert [one["input_ids"].tolist() for one in passes.inputs] == [[[9]]]
    assert (len(passes.pairs), passes.tokens, passes.padded_tokens) == (0, 0, 1)
