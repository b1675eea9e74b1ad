"""The cross-encoder: any Hugging Face sequence classifier with one output, as a ranker."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from corpus.errors import InputError
from rankers.models.tokenizer import load_tokenizer, model_place, one_line, quietly

# They score by the last token of a row, which is padding in all pairs but the longest.
SCORE_BY_LAST_TOKEN = ("xlnet",)
# Tokenizers that know of no limit tell a number far beyond all texts.
NO_LIMIT = 1_000_000


def check_model(
    name: str, max_length: int | None = None, heads: int = 1, new_head: bool = False
) -> None:
    """Refuses what `load_cross_encoder` would, before anything is started; reads no weights.

    Args:
        name: as of `load_cross_encoder`, and so are the others.

    Raises:
        InputError: naming the model, what is wrong and what to do.
    """
    _load(name, max_length, heads, new_head, "meta")


def load_cross_encoder(
    name: str, max_length: int | None = None, heads: int = 1, new_head: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model with a score from each of its heads as output, and its tokenizer.

    Weights are read from safetensors only, and are float32 whatever they are in the file. The head
    computes in float32 also where the model computes in less.

    Args:
        name: a Hugging Face id or a folder.
        max_length: tokens of a query-document pair; written into the tokenizer, so that the saved
            ranker cuts where training did. None keeps what the tokenizer has.
        heads: scores of a pair.
        new_head: for training: give a model that has no such head a fresh one, of random weights.

    Raises:
        InputError: the model cannot be loaded, lacks weights, has another head, or takes no pairs
            that long.
    """
    return _load(name, max_length, heads, new_head, None)


def score_in_float32(model: PreTrainedModel) -> nn.Linear:
    """Lets the head make its scores in float32, also under autocast and of states in bfloat16.

    Scores in bfloat16 have eight bits, too few to tell the documents of a query apart.

    Args:
        model: a sequence classifier whose last linear layer with an output a label is its head.

    Returns:
        The head.

    Raises:
        InputError: there is no such layer.
    """
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    heads = [layer for layer in linear if layer.out_features == model.config.num_labels]
    if not heads:
        raise InputError(
            f"models of the type {model.config.model_type} have no linear layer as head"
        )
    head = heads[-1]
    # The same layer and the same weights by the same names.
    head.__class__ = Float32Linear
    return head


class Float32Linear(nn.Linear):
    """A linear layer that computes in the precision of its weights, float32, and not in TF32."""

    def forward(self, states: Tensor) -> Tensor:
        with torch.autocast(states.device.type, enabled=False):
            if states.device.type != "cuda":
                return super().forward(states.float())
            # A product of matrices would go the way that the encoder's may, with ten bits; a head
            # has an output or two, and costs little by itself.
            summed = (states.float().unsqueeze(-2) * self.weight).sum(-1)
            return summed if self.bias is None else summed + self.bias


def add_adapters(model: PreTrainedModel, rank: int) -> PreTrainedModel:
    """Freezes a model but for its scoring head, with adapters beside all linear layers (LoRA)."""
    from peft import LoraConfig, TaskType, get_peft_model  # two seconds that few trainings need

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        # DistilBERT's, whose name peft takes for that of a head, which it trains whole.
        exclude_modules=["pre_classifier"],
    )
    return get_peft_model(model, config)  # type: ignore[return-value] # behaves as the model


def _load(
    name: str, max_length: int | None, heads: int, new_head: bool, device: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    place = model_place(name)
    looks_like_path = name.startswith((".", "~", os.sep)) or name.count("/") > 1
    if looks_like_path and place == name and not Path(place).is_dir():
        raise InputError(f"{name}: there is no such folder; give a Hugging Face id or a checkpoint")
    if (Path(place) / "adapter_config.json").is_file():
        raise InputError(
            f"{name}: holds a LoRA adapter, no whole model; load it with its model, save the "
            "result of merge_and_unload(), and give that folder"
        )
    pickled = sorted(Path(place).glob("pytorch_model*.bin"))
    if pickled and not list(Path(place).glob("*.safetensors")):
        raise InputError(
            f"{name}: has its weights in {pickled[0].name}, which can run code when it is read; "
            "save them as safetensors, as save_pretrained does"
        )
    with quietly():
        with one_line(
            f"{name}: is neither a checkpoint folder nor a Hugging Face model that can be loaded"
        ):
            config = AutoConfig.from_pretrained(place)
        if config.model_type in SCORE_BY_LAST_TOKEN:
            raise InputError(
                f"{name}: models of the type {config.model_type} score by the last token of a "
                "micro-batch, where shorter pairs have padding; give another model"
            )
        with one_line(f"{name}: cannot be loaded as a cross-encoder"):
            model, found = AutoModelForSequenceClassification.from_pretrained(
                place,
                num_labels=heads,
                dtype=torch.float32,
                use_safetensors=True,
                # What does not fit, or is not there, is looked at below.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                device_map=device,
            )
    _refuse_random_weights(name, model, found, heads, new_head)
    tokenizer = load_tokenizer(name)
    _set_length(name, model, tokenizer, max_length)
    model.config.pad_token_id = tokenizer.pad_token_id
    score_in_float32(model)
    return model, tokenizer


def _refuse_random_weights(
    name: str, model: PreTrainedModel, found: dict[str, Any], heads: int, new_head: bool
) -> None:
    """Refuses weights that the library made up since the file has none, or others.

    Args:
        found: the library's `missing_keys`, and `mismatched_keys` with the shapes of the file and
            of the model.
    """
    shapes = {key: of_file for key, of_file, _ in found["mismatched_keys"]}
    random = sorted({*found["missing_keys"], *shapes})
    # A pooler comes with most backbones and not with all; it is trained with the head.
    in_backbone = f"{model.base_model_prefix}."
    backbone = [key for key in random if key.startswith(in_backbone) and "pool" not in key]
    if backbone:
        more = f" and {len(backbone) - 1} more" if len(backbone) > 1 else ""
        raise InputError(
            f"{name}: its weights do not fit its config.json ({backbone[0]}{more} would be "
            "random); is the folder whole?"
        )
    if new_head or not random:
        return
    outputs = {shape[0] for key, shape in shapes.items() if not key.startswith(in_backbone)}
    if outputs:
        raise InputError(
            f"{name}: its head has {max(outputs)} outputs, {_remedy(max(outputs), heads)}"
        )
    raise InputError(
        f"{name}: has no scoring head (its weights lack {', '.join(random)}); give a "
        "cross-encoder, or train this model to be one: ray_jobs/train.py --training.model.backbone"
    )


def _remedy(outputs: int, heads: int) -> str:
    if heads > 1:
        return f"and heads_mix.json beside it is for {heads}; give a folder as training left it"
    wanted = "and a ranker has one; of a classifier of labels, make one as docs/serving.md shows"
    if outputs == 2:
        return f"{wanted}, and of two heads of Tandem's, heads_mix.json is missing there"
    return wanted


def _set_length(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> None:
    longest = _positions(model)
    if max_length is None:
        told = tokenizer.model_max_length
        known = [length for length in (told, longest) if length and length < NO_LIMIT]
        if not known:
            raise InputError(
                f"{name}: neither its tokenizer nor its config.json tells how many tokens it "
                "takes; set model_max_length in the folder's tokenizer_config.json"
            )
        max_length = min(known)
    if longest is not None and max_length > longest:
        raise InputError(f"{name}: takes {longest} tokens at most; max_length is {max_length}")
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if max_length <= special:
        raise InputError(
            f"{name}: a max_length of {max_length} leaves no room for text beside {special} "
            "special tokens"
        )
    tokenizer.model_max_length = max_length


def _positions(model: PreTrainedModel) -> int | None:
    """The most tokens that a model can number; None where it numbers any."""
    for place, layer in model.named_modules():
        # RoBERTa and its kin number tokens from the padding token's id + 1.
        numbered = place.endswith("position_embeddings") and isinstance(layer, nn.Embedding)
        if numbered and layer.padding_idx is not None:
            return layer.num_embeddings - layer.padding_idx - 1
    longest = getattr(model.config, "max_position_embeddings", None)
    return longest if longest is not None and longest > 0 else None
