"""The cross-encoder: any Hugging Face sequence classifier with one output, as a ranker."""

import os
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from corpus.errors import InputError


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
    name: str, max_length: int | None = None, heads: int = 1
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model with a score from each of its heads as output, and its tokenizer.

    A backbone without a scoring head gets a fresh one. Weights are read from safetensors only.

    Args:
        name: a Hugging Face id or a folder.
        max_length: tokens of a query-document pair; written into the tokenizer, so that the saved
            ranker cuts where training did. None keeps what the tokenizer has.
        heads: scores of a pair.

    Raises:
        InputError: the model cannot be loaded, or takes no pairs that long.
    """
    check_model(name)
    disable_progress_bar()  # type: ignore[no-untyped-call] # a bar a worker a load is noise
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            name, num_labels=heads, use_safetensors=True, ignore_mismatched_sizes=True
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


def add_adapters(model: PreTrainedModel, rank: int) -> PreTrainedModel:
    """Freezes a model but for its scoring head, with adapters beside all linear layers (LoRA)."""
    from peft import LoraConfig, TaskType, get_peft_model  # two seconds that few trainings need

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, target_modules="all-linear"
    )
    return get_peft_model(model, config)  # type: ignore[return-value] # behaves as the model
