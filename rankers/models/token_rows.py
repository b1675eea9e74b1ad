"""Pairs of several lengths in one row of tokens, which an encoder of BERT's kind reads at once.

But for attention an encoder computes token by token. So micro-batches, each padded to its own
longest pair, can lie one after the other in one row and go apart for attention alone: what a
micro-batch costs beside its tokens is then paid for attention, and not for every layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankers.models.attention import Blocks, Heads, StandIn, is_encoder

# Of `FIRST_TOKEN_MODELS` those whose positions begin after that of padding, and leave padding out.
COUNT_FROM_PADDING = ("roberta", "xlm-roberta")


class RowAttention(Heads, StandIn):
    """BERT's attention of all tokens to all tokens of their pair, also where pairs lie in a row."""

    def attend(self, states: Tensor, mask: Tensor | None, blocks: Blocks | None) -> Tensor:
        """Returns the same shape as states."""
        queries, keys, values = self.query(states), self.key(states), self.value(states)
        if blocks is None:
            return self.by_pair(queries, keys, values, mask)
        attended = self.by_block(blocks.apart(queries), keys, values, blocks)
        return torch.cat([of_block.flatten(0, 1) for of_block in attended])[None]


def read_rows(model: PreTrainedModel) -> bool:
    """Lets a model read what `join` makes, where its attention is known.

    Args:
        model: that `end_at_first_token` has shortened.

    Returns:
        Whether it does: of `FIRST_TOKEN_MODELS`, those whose tokens attend to later ones, too.
    """
    if not is_encoder(model):
        return False
    for layer in list(model.base_model.get_submodule("encoder.layer").children())[:-1]:
        attention: Any = layer.get_submodule("attention")
        attention.self = RowAttention(attention.self).train(attention.training)
    return True


def join(model: PreTrainedModel, inputs: Sequence[dict[str, Tensor]], tokens: int) -> list[Any]:
    """Joins micro-batches to rows.

    Args:
        model: that `read_rows` has prepared.
        inputs: of each micro-batch the model's inputs, int64 (pairs, tokens), with padding.
        tokens: the most of a row; a micro-batch of more is one by itself.

    Returns:
        Of each row the model's inputs, and its `Blocks`; micro-batches stay in their order.
    """
    rows: list[list[dict[str, Tensor]]] = []
    room = 0
    for one in inputs:
        room -= one["input_ids"].numel()
        if not rows or room < 0:
            rows.append([])
            room = tokens - one["input_ids"].numel()
        rows[-1].append(one)
    return [_row(model, row) for row in rows]


def _row(model: PreTrainedModel, blocks: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    names = [name for name in blocks[0] if name != "attention_mask"]
    row: dict[str, Any] = {
        name: torch.cat([block[name].flatten() for block in blocks])[None] for name in names
    }
    positions = [_positions(model, block["input_ids"]).flatten() for block in blocks]
    row["position_ids"] = torch.cat(positions)[None]
    sizes = [(len(block["input_ids"]), block["input_ids"].shape[1]) for block in blocks]
    begins, begin = [], 0
    for pairs, tokens in sizes:
        end = begin + pairs * tokens
        begins.append(torch.arange(begin, end, tokens, device=row["input_ids"].device))
        begin = end
    masks = [_mask(block["attention_mask"]) for block in blocks]
    row["blocks"] = Blocks(sizes, masks, torch.cat(begins))
    return row


def _positions(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """The positions that the model gives tokens (pairs, tokens) of its own accord."""
    if model.config.model_type in COUNT_FROM_PADDING:
        padding = model.config.pad_token_id
        real = ids.ne(padding).long()
        return real.cumsum(1) * real + padding
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)


def _mask(attention_mask: Tensor) -> Tensor | None:
    real = attention_mask.bool()[:, None, None]
    if real.all():
        return None
    return torch.zeros(real.shape, device=real.device).masked_fill_(~real, -torch.inf)
