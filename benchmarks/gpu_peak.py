"""What share of a GPU's highest speed a benchmark reaches, by counted operations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

# Dense TFLOP/s of NVIDIA's data sheets, without sparsity, by a part of the device's name.
PEAK_TFLOPS = {
    "H200": {"bf16": 989.0, "tf32": 494.0, "fp32": 67.0},
    "H100": {"bf16": 989.0, "tf32": 494.0, "fp32": 67.0},
    "A100": {"bf16": 312.0, "tf32": 156.0, "fp32": 19.5},
    "L40S": {"bf16": 362.0, "tf32": 183.0, "fp32": 91.6},
    "L4": {"bf16": 121.0, "tf32": 60.0, "fp32": 30.3},
}


def missing_gpu() -> str:
    """Why a benchmark of GPUs cannot run here; "" where it can."""
    if torch.cuda.is_available():
        return ""
    return f"skipped: PyTorch {torch.__version__} finds no GPU here"


def peak_tflops(precision: str) -> float | None:
    """The highest TFLOP/s of this machine's first GPU; None where it is not known.

    Args:
        precision: bf16, tf32 or fp32.
    """
    if missing_gpu():
        return None
    device = torch.cuda.get_device_name(0)
    for name, peaks in PEAK_TFLOPS.items():
        if name in device:
            return peaks.get(precision)
    return None


def count_operations(run: Callable[[], Any]) -> int:
    """The floating-point operations of all products that `run` computes, gradients included.

    >>> count_operations(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
    48
    """
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def prompt_operations(model: str | Path, tokens: int) -> int:
    """The operations by which a language model reads a prompt and gives the next token's scores.

    Args:
        model: a Hugging Face id or a folder; no weights are read.
        tokens: of the prompt, none of them cached.
    """
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(model)
        judge = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        prompt = torch.zeros(1, tokens, dtype=torch.int64)
    with torch.no_grad():
        return count_operations(lambda: judge(prompt, logits_to_keep=1))
