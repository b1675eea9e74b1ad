"""Judges of a known shape with random weights, for speeds."""

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from annotation.demo_judge.shipped import demo_judge
from benchmarks.plain_vllm import MAX_MODEL_LEN

SHAPES: dict[str, Any] = {
    "large": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
    },
    # https://huggingface.co/Qwen/Qwen2.5-7B-Instruct/blob/main/config.json
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
}


def make_model(name: Literal["large", "7b"], folder: Path) -> Path:
    """A Qwen2 with the judge's tokenizer: "large" with random weights, "7b" without its weights."""
    tokenizer = AutoTokenizer.from_pretrained(demo_judge())
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), max_position_embeddings=MAX_MODEL_LEN, **SHAPES[name]
    )
    config.dtype = torch.bfloat16
    config.architectures = [Qwen2ForCausalLM.__name__]
    config.save_pretrained(folder)
    if name == "large":
        Qwen2ForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
