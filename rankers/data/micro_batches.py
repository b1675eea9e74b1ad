"""Micro-batches: query-document pairs of about one length, which the model reads together."""

import numpy as np
import torch
from numpy.typing import NDArray

from rankers.batch import MicroBatches
from rankers.data.pair_template import TokenizedPairs

# What a micro-batch costs beside its tokens (kernels to start, weights to read, gradients to add),
# as a share of a full one: with 2048 tokens, as they suit a small BERT on a CPU, 64 tokens.
FIXED_COST = 1 / 32


def cut_micro_batches(
    lengths: NDArray[np.int64], tokens_per_micro_batch: int
) -> list[NDArray[np.int64]]:
    """Cuts pairs into micro-batches, the longest first, of so many tokens at most, with padding.

    A pair longer than that is a micro-batch of its own. Of all such cuts it is the cheapest, by
    tokens with padding and what a micro-batch costs beside them. Filling each one would pad more:
    the few longest pairs fill none, and draw much shorter ones in.

    >>> [rows.tolist() for rows in cut_micro_batches(np.array([300, 40, 280, 35]), 2048)]
    [[0, 2], [1, 3]]
    """
    order = np.argsort(-lengths, kind="stable")
    # As lists: of the short loops of a step numpy would take five times as long.
    longest_first = lengths[order].tolist()
    # Of the cheapest cut of the first so many pairs: its cost, and the start of its last part.
    cost, start = [0.0], [0]
    for end in range(1, len(order) + 1):
        most = max(tokens_per_micro_batch // longest_first[end - 1], 1)
        cheapest, of = np.inf, end - 1
        for begin in range(max(end - most, 0), end):
            tokens = (end - begin) * longest_first[begin]
            fits = tokens <= tokens_per_micro_batch or begin == end - 1
            if fits and cost[begin] + tokens < cheapest:
                cheapest, of = cost[begin] + tokens, begin
        cost.append(cheapest + tokens_per_micro_batch * FIXED_COST)
        start.append(of)
    cut, end = [], len(order)
    while end:
        cut.append(order[start[end] : end])
        end = start[end]
    return cut[::-1]


def pad_micro_batches(
    pairs: TokenizedPairs, pad_token_id: int, tokens_per_micro_batch: int
) -> MicroBatches:
    """Cuts pairs into micro-batches and pads these.

    Args:
        pairs: there may be none.
        pad_token_id: the token that the tokenizer pads with.
        tokens_per_micro_batch: the most tokens of a micro-batch, with padding.
    """
    lengths = pairs.lengths
    if len(lengths) == 0:
        return MicroBatches([], lengths, 0, 0)
    starts = np.cumsum(lengths) - lengths
    inputs, rows = [], cut_micro_batches(lengths, tokens_per_micro_batch)
    for some in rows:
        token = np.arange(lengths[some].max())
        real = token < lengths[some][:, None]
        at = np.where(real, starts[some][:, None] + token, 0)
        padded = {"attention_mask": torch.from_numpy(real.astype(np.int64))}
        for name, ids in pairs.inputs.items():
            fill = pad_token_id if name == "input_ids" else 0
            padded[name] = torch.from_numpy(np.where(real, ids[at], fill).astype(np.int64))
        inputs.append(padded)
    padded_tokens = sum(one["input_ids"].numel() for one in inputs)
    return MicroBatches(inputs, np.concatenate(rows), int(lengths.sum()), padded_tokens)


def without_pairs(micro_batches: MicroBatches) -> MicroBatches:
    """The last micro-batch, that of the shortest pairs, as one whose scores belong to no pair."""
    inputs = micro_batches.inputs[-1]
    return MicroBatches([inputs], micro_batches.pairs[:0], 0, inputs["input_ids"].numel())
