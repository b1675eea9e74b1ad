"""What an encoder of BERT's kind need not do where a pair's score is read from its first token."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankers.models.attention import Blocks, Heads, StandIn, is_encoder


def end_at_first_token(model: PreTrainedModel, frozen: bool = False) -> None:
    """Lets the last layer make the first token alone, where the score is read from no other.

    Of that layer are left the keys and values of all tokens, and when frozen not even these. It
    cannot be asked for the other tokens' last states. Models not of `FIRST_TOKEN_MODELS`, and those
    whose tokens attend to earlier ones only, stay as they are.

    Args:
        model: a sequence classifier; the names of its parameters stay.
        frozen: it will be trained no more.
    """
    if is_encoder(model):
        last: Any = model.base_model.get_submodule(
            f"encoder.layer.{model.config.num_hidden_layers - 1}"
        )
        last.attention = FirstTokenSublayer(last.attention, frozen).train(last.training)


def mask_once(model: PreTrainedModel) -> None:
    """Gives all layers one mask of numbers, a row for all tokens that attend.

    PyTorch's attention on CPUs makes one of the model's mask of truth values in every layer, a row
    for each token. The same models stay as they are as for `end_at_first_token`.
    """
    if is_encoder(model):
        model.base_model.get_submodule("encoder").register_forward_pre_hook(
            _mask_as_numbers, with_kwargs=True
        )


def _mask_as_numbers(
    _: nn.Module, states: tuple[Tensor, ...], named: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    mask = named.get("attention_mask")
    if mask is not None and mask.dtype == torch.bool and mask.device.type == "cpu":
        attended = mask[:, :, :1]
        numbers = torch.zeros(attended.shape, dtype=states[0].dtype)
        named = named | {"attention_mask": numbers.masked_fill_(~attended, -torch.inf)}
    return states, named


class FirstTokenSublayer(StandIn):
    """Attention from the first token to all, and the layer after it, of that token.

    Args:
        attention: BERT's, with its output layer, or one like it, whose parts are used.
        frozen: it will be trained no more.
    """

    def __init__(self, attention: Any, frozen: bool) -> None:
        super().__init__()
        kind = FrozenFirstTokenAttention if frozen else FirstTokenAttention
        self.self, self.output = kind(attention.self), attention.output

    def attend(self, states: Tensor, mask: Tensor | None, blocks: Blocks | None) -> Tensor:
        """Returns float (pairs, 1, size)."""
        first = states[:, :1] if blocks is None else blocks.first_tokens(states)
        of_first = None if mask is None else mask[:, :, :1]
        made: Tensor = self.output(self.self(first, states, of_first, blocks), first)
        return made


class FirstTokenAttention(Heads):
    """Attention from the first token to all."""

    def forward(
        self, first: Tensor, states: Tensor, mask: Tensor | None, blocks: Blocks | None
    ) -> Tensor:
        """Attends.

        Args:
            first: of each pair, float (pairs, 1, size).
            states: of all tokens, as of `FirstTokenSublayer`, and so are the others.
            mask: (pairs, 1, 1, tokens).
            blocks: how pairs lie in the row.

        Returns:
            float (pairs, 1, size).
        """
        queries, keys, values = self.query(first), self.key(states), self.value(states)
        if blocks is None:
            return self.by_pair(queries, keys, values, mask)
        apart = torch.split(queries, [pairs for pairs, _ in blocks.sizes])
        return torch.cat(self.by_block(apart, keys, values, blocks))


class FrozenFirstTokenAttention(FirstTokenAttention):
    """Attention from the first token to all, without keys and values of theirs.

    Since a head's product of query q and key Kx is that of K'q and x, and the mean of its values
    Vx is V times the mean of x, each head attends to the states x themselves. A bias of keys adds
    the same to all tokens, which the softmax takes away. It reads no rows.
    """

    def forward(  # type: ignore[override]
        self, first: Tensor, states: Tensor, mask: Tensor | None, blocks: None
    ) -> Tensor:
        """See `FirstTokenAttention`."""
        by_head = (-1, self.head_size)
        keys, values = (of.weight.unflatten(0, by_head) for of in (self.key, self.value))
        queries = self.query(first[:, 0]).unflatten(-1, by_head)
        queries = torch.einsum("phi,his->phs", queries, keys)
        means = nn.functional.scaled_dot_product_attention(
            queries,
            states,
            states,
            attn_mask=None if mask is None else mask[:, 0],
            scale=self.head_size**-0.5,
        )
        attended = torch.einsum("phs,his->phi", means, values).flatten(1) + self.value.bias
        return attended[:, None]
