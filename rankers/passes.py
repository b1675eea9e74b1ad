"""Passes: query-document pairs of about one length, which the model scores together."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

# Tokenizer outputs that a model needs, as they are kept; the attention mask is padding's business.
MODEL_INPUTS = {"input_ids": pa.int32(), "token_type_ids": pa.int8()}


@dataclass(frozen=True)
class Passes:
    """Pairs, padded for the model.

    Attributes:
        inputs: of each pass the model's inputs, int64 (pairs, tokens), padded to its longest pair.
            Without a pair there is one pass over one padding token, so that a model always runs.
        pairs: which pairs they are, pass after pass, int64.
        tokens: how many there are.
        padded_tokens: how many the model reads, with padding.
    """

    inputs: list[dict[str, Tensor]]
    pairs: NDArray[np.int64]
    tokens: int
    padded_tokens: int


def cut_passes(lengths: NDArray[np.int64], tokens_per_pass: int) -> list[NDArray[np.int64]]:
    """Cuts pairs into passes, the longest first, of so many tokens at most, with padding.

    A pair longer than that is a pass of its own.

    >>> [rows.tolist() for rows in cut_passes(np.array([3, 9, 4, 2]), 8)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-lengths, kind="stable")
    passes, start = [], 0
    while start < len(order):
        pairs = max(tokens_per_pass // int(lengths[order[start]]), 1)
        passes.append(order[start : start + pairs])
        start += pairs
    return passes


def pad_passes(tokenized: pa.Table, pad_token_id: int, tokens_per_pass: int) -> Passes:
    """Cuts the pairs of tokenized lists into passes and pads these.

    Args:
        tokenized: from `rankers.lists.tokenize_lists`.
        pad_token_id: of the tokenizer.
        tokens_per_pass: the most tokens of a pass, with padding.
    """
    columns = {
        name: tokenized[name].combine_chunks().flatten()
        for name in MODEL_INPUTS
        if name in tokenized.column_names
    }
    lengths = columns["input_ids"].value_lengths().to_numpy().astype(np.int64)
    if len(lengths) == 0:
        one = {name: torch.tensor([[pad_token_id]]) for name in columns}
        return Passes([one | {"attention_mask": torch.tensor([[1]])}], lengths, 0, 1)
    values = {name: column.flatten().to_numpy() for name, column in columns.items()}
    starts = np.cumsum(lengths) - lengths
    inputs, rows = [], cut_passes(lengths, tokens_per_pass)
    for pairs in rows:
        token = np.arange(lengths[pairs].max())
        real = token < lengths[pairs][:, None]
        at = np.where(real, starts[pairs][:, None] + token, 0)
        padded = {"attention_mask": torch.from_numpy(real.astype(np.int64))}
        for name, ids in values.items():
            fill = pad_token_id if name == "input_ids" else 0
            padded[name] = torch.from_numpy(np.where(real, ids[at], fill).astype(np.int64))
        inputs.append(padded)
    padded_tokens = sum(one["input_ids"].numel() for one in inputs)
    return Passes(inputs, np.concatenate(rows), int(lengths.sum()), padded_tokens)
