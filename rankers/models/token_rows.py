"""Pairs of several lengths in one row of tokens, which an encoder of BERT's kind reads at once.

But for attention an encoder computes token by token. So micro-batches, each padded to its own
longest pair, can lie one after the other in one row and go apart for attention alone: what a
micro-batch costs beside its tokens is then paid for attention, and not for every layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Sequence classifiers that score a pair by its first token alone, with BERT's attention.
FIRST_TOKEN_MODELS = ("bert", "electra", "roberta", "xlm-roberta")
# Of them those whose positions begin after that of padding, and leave padding out.
COUNT_FROM_PADDING = ("roberta", "xlm-roberta")


@dataclass(frozen=True)
class Blocks:
    """How the pairs of a row lie in it: in blocks, each of pairs of one length.

    Attributes:
        sizes: pairs and tokens of each block.
        masks: of each block what attention adds to its tokens, (pairs, 1, 1, tokens): 0, and minus
            infinity for padding; None where nothing is padded.
        begins: where each pair begins, int64 (pairs,).
    """

    sizes: Sequence[tuple[int, int]]
    masks: Sequence[Tensor | None]
    begins: Tensor

    def first_tokens(self, states: Tensor) -> Tensor:
        """The states (1, tokens, size) of all first tokens, (pairs, 1, size)."""
        return states[0].index_select(0, self.begins)[:, None]

    def apart(self, states: Tensor) -> Iterator[Tensor]:
        """The states (1, tokens, size) of each block, (pairs, tokens, size)."""
        parts = torch.split(states[0], [pairs * tokens for pairs, tokens in self.sizes])
        return (part.view(*size, -1) for part, size in zip(parts, self.sizes, strict=True))


class Attention(nn.Module):
    """BERT's attention of all tokens to all tokens of their pair.

    Args:
        attention: BERT's self-attention or one like it, whose layers are used.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        self.dropout = attention.dropout
        self.head_size = attention.attention_head_size

    def forward(
        self,
        states: Tensor,
        attention_mask: Tensor | None = None,
        blocks: Blocks | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Takes what the attention it stands for takes.

        Args:
            states: float (pairs, tokens, size); of a row (1, tokens, size).
            attention_mask: for scaled dot-product attention, (pairs, 1, tokens or 1, tokens).
            blocks: how pairs lie in the row.

        Returns:
            The same shape as states, and None for the attention's weights.
        """
        made = self.query(states), self.key(states), self.value(states)
        if blocks is None:
            return self._attend(*made, attention_mask), None
        of_blocks = zip(*map(blocks.apart, made), blocks.masks, strict=True)
        attended = [self._attend(*of_block).flatten(0, 1) for of_block in of_blocks]
        return torch.cat(attended)[None], None

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Attention from some queries, (pairs, some, size), to all tokens (pairs, tokens, size)."""
        queries, keys, values = (
            of.view(*of.shape[:2], -1, self.head_size).transpose(1, 2)
            for of in (queries, keys, values)
        )
        attended = nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout.p if self.training else 0.0,
            scale=self.head_size**-0.5,
        )
        return attended.transpose(1, 2).flatten(2)


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
        attention.self = Attention(attention.self).train(attention.training)
    return True


def is_encoder(model: PreTrainedModel) -> bool:
    """Whether a model has BERT's attention, of all tokens to all, and scores by the first."""
    config = model.config
    return config.model_type in FIRST_TOKEN_MODELS and not config.is_decoder


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
