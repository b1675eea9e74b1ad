"""The cross-encoder: any Hugging Face sequence classifier with one output, as a ranker."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from corpus.errors import InputError
from rankers.lists import scatter


def check_model(name: str) -> None:
    """Refuses a model that cannot be found, before anything is started for it.

    Args:
        name: a Hugging Face id or a folder.

    Raises:
        InputError: naming the model and what was tried.
    """
    looks_like_path = name.startswith((".", "~", os.sep)) or name.count("/") != 1
    if looks_like_path and "/" in name and not Path(name).expanduser().is_dir():
        raise InputError(f"{name}: there is no such folder; give a Hugging Face id or a checkpoint")
    try:
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{name}: is neither a checkpoint folder nor a Hugging Face model that can be loaded "
            f"({reason})"
        ) from error


def load_cross_encoder(
    name: str, max_length: int | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model with one score as output, and its tokenizer.

    A backbone without a scoring head gets a fresh one. Weights are read from safetensors only.

    Args:
        name: a Hugging Face id or a folder.
        max_length: tokens of a query-document pair; written into the tokenizer, so that the saved
            ranker cuts where training did. None keeps what the tokenizer has.

    Raises:
        InputError: the model cannot be loaded, or takes no pairs that long.
    """
    check_model(name)
    disable_progress_bar()  # type: ignore[no-untyped-call] # a bar a worker a load is noise
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            name, num_labels=1, use_safetensors=True, ignore_mismatched_sizes=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be loaded as a cross-encoder: {error}") from error
    longest = getattr(model.config, "max_position_embeddings", None)
    if max_length is None:
        max_length = min(tokenizer.model_max_length, longest or tokenizer.model_max_length)
    if longest is not None and max_length > longest:
        raise InputError(f"{name}: takes {longest} tokens at most; max_length is {max_length}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = max_length
    return model, tokenizer


def score_lists(model: nn.Module, batch: dict[str, Any], device: torch.device) -> Tensor:
    """Scores every document of a padded batch in one forward pass.

    Args:
        model: from `load_cross_encoder`, or wrapped for DDP.
        batch: from `rankers.lists.pad_lists`.
        device: where the model is.

    Returns:
        float32 (lists, documents); 0 where the list has no document.
    """
    inputs = {name: tensor.to(device) for name, tensor in batch["inputs"].items()}
    logits = model(**inputs).logits.squeeze(-1).float()
    return scatter(logits, batch["where"], 0.0)
