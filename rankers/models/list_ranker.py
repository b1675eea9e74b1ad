"""The ranker over lists: one or two heads on a cross-encoder, saved as it is served."""

import copy
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankers.batch import ListBatch
from rankers.mixes import Mix
from rankers.mixes.encoding import HEADS_MIX, encode_mix
from rankers.models.token_rows import join
from rankers.settings import Precision

CLICK_HEAD, RELEVANCE_HEAD = 0, -1


class ListRanker(nn.Module):
    """A cross-encoder that scores lists; called once a batch however many micro-batches that has.

    Args:
        model: from `load_cross_encoder`, with one head or two.
        tokens_in_row: how many tokens of several micro-batches it reads in one row at most; 0
            reads each micro-batch by itself. The model is one of `token_rows.read_rows`.
    """

    def __init__(self, model: PreTrainedModel, tokens_in_row: int = 0) -> None:
        super().__init__()
        self.model = model
        self.tokens_in_row = tokens_in_row

    def forward(self, batch: ListBatch) -> Tensor:
        """Scores every document of a batch with every head.

        Returns:
            float32 (lists, documents, heads); 0 where the list has no document. The first head is
            the one for clicks, the last one that for relevance; they may be the same.
        """
        device = next(self.model.parameters()).device
        inputs: Iterable[dict[str, Any]] = (
            {name: tensor.to(device, non_blocking=True) for name, tensor in one.items()}
            for one in batch.micro_batches.inputs
        )
        if self.tokens_in_row:
            inputs = join(self.model, list(inputs), self.tokens_in_row)
        logits = torch.cat([self.model(**one).logits for one in inputs])
        slots = batch.slots.to(device)
        scores = torch.zeros(batch.where.numel(), logits.shape[1], device=device)
        scores = scores.index_copy(0, slots, logits[: len(slots)].float())
        return scores.view(*batch.where.shape, logits.shape[1])


def ranking_scores(scores: Tensor, click_weight: Tensor) -> Tensor:
    """What documents are ranked by: the mean of both heads, weighted by each list's click weight.

    A softmax over it is the normalised geometric mean of the heads' own.

    Args:
        scores: float (lists, documents, heads).
        click_weight: float (lists,), in [0, 1]; of no effect where there is one head.

    Returns:
        float (lists, documents).

    >>> ranking_scores(torch.tensor([[[4.0, 0.0]], [[4.0, 0.0]]]), torch.tensor([1.0, 0.25]))
    tensor([[4.],
            [1.]])
    """
    if scores.shape[-1] == 1:
        return scores[..., 0]
    weight = click_weight.to(scores.device)[:, None]
    return weight * scores[..., CLICK_HEAD] + (1 - weight) * scores[..., RELEVANCE_HEAD]


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bfloat16: asked for, or auto where the processor has units for it.

    Args:
        precision: fp32, tf32, bf16 or auto.
        device: where the model is.
    """
    has_bf16 = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else bool(torch.cpu.get_capabilities().get("amx_bf16"))
    )
    return precision == "bf16" or (precision == "auto" and has_bf16)


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a model is trained: whole or, where it is bf16, in mixed precision.

    Args:
        precision: as of `uses_bf16`.
        device: where the model is.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


def use_tensor_cores(precision: Precision, device: torch.device) -> None:
    """Lets this process multiply float32 matrices in TF32 on a GPU, or in whole float32 again.

    Args:
        precision: as of `uses_bf16`; tf32 asks for it.
        device: where the model is; of a processor nothing changes.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"


def save_ranker(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, mix: Mix, folder: Path
) -> None:
    """Saves a ranker as a Hugging Face folder; LoRA's adapters are added into the weights.

    Args:
        model: the cross-encoder.
        tokenizer: saved beside it.
        mix: whose click weight at the end of training mixes the heads, where there are two.
        folder: that exists.
    """
    if hasattr(model, "merge_and_unload"):
        # A copy, since training goes on without the rounding.
        model = copy_on_cpu(model).merge_and_unload()  # type: ignore[operator]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if model.config.num_labels == 2:
        (folder / HEADS_MIX).write_text(json.dumps(encode_mix(mix), indent=1))


def copy_on_cpu(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model in the processor's memory; a GPU may have no room for a second one."""
    copies: dict[int, Any] = {}
    for parameter in model.parameters():
        weights = parameter.detach().to("cpu", copy=True)
        copies[id(parameter)] = nn.Parameter(weights, parameter.requires_grad)
    for buffer in model.buffers():
        copies[id(buffer)] = buffer.to("cpu", copy=True)
    return copy.deepcopy(model, copies)
