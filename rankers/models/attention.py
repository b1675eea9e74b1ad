"""What stands in the place of the attention of BERT's kind, where pairs lie in rows of tokens."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Sequence classifiers that score a pair by its first token alone, with BERT's attention.
FIRST_TOKEN_MODELS = ("bert", "electra", "roberta", "xlm-roberta")


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


class StandIn(nn.Module, ABC):
    """A module that takes what a layer of BERT's hands to its attention."""

    def forward(
        self,
        states: Tensor,
        attention_mask: Tensor | None = None,
        blocks: Blocks | None = None,
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Attends.

        Args:
            states: float (pairs, tokens, size); of a row (1, tokens, size).
            attention_mask: for scaled dot-product attention, (pairs, 1, tokens or 1, tokens).
            blocks: how pairs lie in the row.

        Returns:
            What `attend` makes, and None for the attention's weights.
        """
        return self.attend(states, attention_mask, blocks), None

    @abstractmethod
    def attend(self, states: Tensor, mask: Tensor | None, blocks: Blocks | None) -> Tensor:
        """What the attention makes of states; arguments as of `forward`."""


class Heads(nn.Module):
    """The layers of BERT's self-attention, and how its heads attend.

    Args:
        attention: BERT's self-attention or one like it, whose layers are used.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        self.dropout = attention.dropout
        self.head_size = attention.attention_head_size

    def by_block(
        self, queries: Iterable[Tensor], keys: Tensor, values: Tensor, blocks: Blocks
    ) -> list[Tensor]:
        """As `by_pair`, of each block of a row.

        Args:
            queries: of each block, (pairs, some, size).
            keys: of all tokens of the row, (1, tokens, size), and so are the values.
            blocks: how pairs lie in the row.
        """
        apart = zip(queries, blocks.apart(keys), blocks.apart(values), blocks.masks, strict=True)
        return [self.by_pair(*of_block) for of_block in apart]

    def by_pair(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
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


def is_encoder(model: PreTrainedModel) -> bool:
    """Whether a model has BERT's attention, of all tokens to all, and scores by the first."""
    config = model.config
    return config.model_type in FIRST_TOKEN_MODELS and not config.is_decoder
