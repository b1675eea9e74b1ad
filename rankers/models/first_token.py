"""What an encoder of BERT's kind need not do where a pair's score is read from its first token."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Sequence classifiers that score a pair by its first token alone, with BERT's attention.
FIRST_TOKEN_MODELS = ("bert", "electra", "roberta", "xlm-roberta")


def end_at_first_token(model: PreTrainedModel, frozen: bool = False) -> None:
    """Lets the last layer make the first token alone, where the score is read from no other.

    Of that layer are left the keys and values of all tokens, and when frozen not even these. It
    cannot be asked for the other tokens' last states. Models not of `FIRST_TOKEN_MODELS`, and those
    whose tokens attend to earlier ones only, stay as they are.

    Args:
        model: a sequence classifier; the names of its parameters stay.
        frozen: it will be trained no more.
    """
    if _is_encoder(model):
        last = f"encoder.layer.{model.config.num_hidden_layers - 1}.attention"
        attention: Any = model.base_model.get_submodule(last)
        kind = FrozenFirstTokenAttention if frozen else FirstTokenAttention
        attention.self = kind(attention.self).train(attention.training)
        attention.output.register_forward_pre_hook(
            lambda _, states: tuple(state[:, :1] for state in states)
        )


def mask_once(model: PreTrainedModel) -> None:
    """Gives all layers one mask of numbers, a row for all tokens that attend.

    PyTorch's attention on CPUs makes one of the model's mask of truth values in every layer, a row
    for each token. The same models stay as they are as for `end_at_first_token`.
    """
    if _is_encoder(model):
        model.base_model.get_submodule("encoder").register_forward_pre_hook(
            _mask_as_numbers, with_kwargs=True
        )


def _is_encoder(model: PreTrainedModel) -> bool:
    config = model.config
    return config.model_type in FIRST_TOKEN_MODELS and not config.is_decoder


def _mask_as_numbers(
    _: nn.Module, states: tuple[Tensor, ...], named: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    mask = named.get("attention_mask")
    if mask is not None and mask.dtype == torch.bool and mask.device.type == "cpu":
        attended = mask[:, :, :1]
        numbers = torch.zeros(attended.shape, dtype=states[0].dtype)
        named = named | {"attention_mask": numbers.masked_fill_(~attended, -torch.inf)}
    return states, named


class FirstTokenAttention(nn.Module):
    """Attention from the first token to all.

    Args:
        attention: BERT's self-attention or one like it, whose layers are used.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = attention.query, attention.key, attention.value
        self.dropout = attention.dropout
        self.head_size = attention.attention_head_size

    def forward(
        self, states: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None]:
        """Takes what the attention it stands for takes.

        Args:
            states: float (pairs, tokens, size).
            attention_mask: for scaled dot-product attention, (pairs, 1, tokens or 1, tokens).

        Returns:
            float (pairs, 1, size), and None for the attention's weights.
        """
        queries, keys, values = (
            made.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for made in (self.query(states[:, :1]), self.key(states), self.value(states))
        )
        attended = nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            dropout_p=self.dropout.p if self.training else 0.0,
            scale=self.head_size**-0.5,
        )
        return attended.transpose(1, 2).flatten(2), None


class FrozenFirstTokenAttention(FirstTokenAttention):
    """Attention from the first token to all, without keys and values of theirs.

    Since a head's product of query q and key Kx is that of K'q and x, and the mean of its values
    Vx is V times the mean of x, each head attends to the states x themselves. A bias of keys adds
    the same to all tokens, which the softmax takes away.
    """

    def forward(
        self, states: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, None]:
        """See `FirstTokenAttention`."""
        by_head = (-1, self.head_size)
        keys, values = (of.weight.unflatten(0, by_head) for of in (self.key, self.value))
        queries = self.query(states[:, 0]).unflatten(-1, by_head)
        queries = torch.einsum("phi,his->phs", queries, keys)
        mask = None if attention_mask is None else attention_mask[:, 0, :1]
        means = nn.functional.scaled_dot_product_attention(
            queries, states, states, attn_mask=mask, scale=self.head_size**-0.5
        )
        attended = torch.einsum("phs,his->phi", means, values).flatten(1) + self.value.bias
        return attended[:, None], None
