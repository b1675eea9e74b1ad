"""How vLLM is started in an actor's own process."""

import atexit
import os
from collections.abc import Mapping
from typing import Any

from annotation.engines.vllm_settings import adapter_rank
from corpus.errors import InputError

CPU_ENVIRONMENT = {
    # The engine in its actor's own process: it starts in 2 s instead of 30 and dies with the actor.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Ray gives each actor its number of threads; vLLM would pin all engines to the same cores.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # The engine runs eagerly here; what vLLM would still compile costs seconds and saves nothing.
    "TORCHDYNAMO_DISABLE": "1",
}
QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def engine_environment(gpus: int) -> dict[str, str]:
    """Environment variables for a process that starts an engine; values already set are kept.

    Args:
        gpus: number of GPUs of the engine; 0 runs it on the CPU.
    """
    wanted = QUIET | ({} if gpus else CPU_ENVIRONMENT)
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def compute_dtype(gpus: int) -> str:
    """What vLLM is to compute in, as its setting dtype.

    Without instructions for it, a processor takes ten times as long for bfloat16. Builds of PyTorch
    without oneDNN, which would know of them, leave it to vLLM.

    Args:
        gpus: number of GPUs of the engine; 0 runs it on the CPU.
    """
    import torch

    if gpus or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "auto"
    return "auto" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"


def _close_standard_error() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def start_llm(
    model: str,
    max_model_len: int,
    gpus: int,
    settings: Mapping[str, Any] | None = None,
    adapter: str | None = None,
) -> Any:
    """Starts a `vllm.LLM` in this process, which needs `engine_environment`.

    Args:
        model: a Hugging Face id or the path of a folder.
        max_model_len: the limit of tokens of prompt and answer together.
        gpus: number of GPUs to split the model over; 0 runs it on the CPU.
        settings: further settings of vLLM by its own names; they go before those made here.
        adapter: folder of LoRA weights that requests may name; None for none.

    Raises:
        InputError: there is no GPU; and whatever vLLM and the model raise.
    """
    import torch  # which, as vLLM, only actors need

    if gpus > 0 and not torch.cuda.is_available():
        raise InputError(
            f"gpus_per_engine is {gpus}, but PyTorch {torch.__version__} finds no GPU here; it "
            "needs builds of PyTorch and vLLM for CUDA and a driver, or --engine.gpus_per_engine 0"
        )
    from vllm import LLM

    # Triton, which vLLM imports, ends its process with pages on what nanobind has leaked.
    atexit.register(_close_standard_error)

    if gpus == 0:
        # Linux lends AMX to a process that asks. vLLM relies on PyTorch having asked, which it
        # has not if the first prompts are too short for its own AMX kernels: SIGILL.
        torch.cpu._init_amx()
    own: dict[str, Any] = {
        "max_model_len": max_model_len,
        "dtype": compute_dtype(gpus),
        "tensor_parallel_size": max(gpus, 1),
        "enable_prefix_caching": True,
        "enforce_eager": gpus == 0,
        # On a CPU vLLM caches prefixes by 128 tokens, which many a prompt does not have.
        "block_size": None if gpus else 32,
        "use_tqdm_on_load": False,
        "logprobs_mode": "raw_logprobs",  # of the whole vocabulary, before any constraint
        # Blanks between the parts of an answer would only cost tokens.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "seed": 0,
    }
    if adapter is not None:
        own |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter_rank(adapter)}
    return LLM(model, **(own | dict(settings or {})))
