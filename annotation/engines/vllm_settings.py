"""What a user may set of vLLM by its own names, checked without importing it."""

import ast
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from annotation.engines.checkpoint_files import tokenizer_files
from corpus.errors import InputError

# What a job sets itself, and where else to set it.
RESERVED = {
    "model": "--model",
    "tokenizer": "--model",
    "revision": "--engine.revision",
    "max_model_len": "--max_model_len",
    "tensor_parallel_size": "--engine.gpus_per_engine",
    "enable_lora": "--engine.adapter",
    **dict.fromkeys(("logprobs_mode", "structured_outputs_config", "seed", "runner")),
    # An engine has one node's GPUs, and its actor's process starts all others.
    **dict.fromkeys(("pipeline_parallel_size", "data_parallel_size", "nnodes")),
    "distributed_executor_backend": None,
    # Tandem itself loads tokenizers without a model's code.
    "trust_remote_code": None,
}
# What moves memory and speed alone, so that a job may be resumed with another.
WITHOUT_EFFECT = (
    *("gpu_memory_utilization", "kv_cache_memory_bytes", "max_num_seqs", "cpu_offload_gb"),
    *("max_num_batched_tokens", "enforce_eager", "max_parallel_loading_workers", "load_format"),
    *("download_dir", "block_size", "disable_log_stats"),
)
# Ranks that vLLM makes room for.
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def check_engine_settings(settings: Mapping[str, Any]) -> None:
    """Refuses names that vLLM does not have or that the job needs itself.

    Values are vLLM's to refuse, when the engine is started.

    Args:
        settings: by the names of vLLM's `EngineArgs`.

    Raises:
        InputError: naming the setting.
    """
    for name in settings:
        if name in RESERVED:
            instead = f"; set {RESERVED[name]}" if RESERVED[name] else ""
            raise InputError(f"engine.settings: {name} is set by Tandem itself{instead}")
    known = engine_arguments() if settings else None
    if known and (unknown := sorted(set(settings) - known)):
        raise InputError(
            f"engine.settings: the vLLM that is installed has no setting {unknown[0]}; its names "
            "are those of vllm.EngineArgs"
        )


@cache
def engine_arguments() -> frozenset[str]:
    """The settings of the vLLM that is installed; none where there is no vLLM.

    Read from its source, as importing it takes many seconds and, on a machine without the right
    driver, warns.
    """
    found = importlib.util.find_spec("vllm")
    for folder in (found and found.submodule_search_locations) or ():
        source = Path(folder) / "engine" / "arg_utils.py"
        if source.exists():
            for node in ast.parse(source.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
                    return frozenset(
                        field.target.id
                        for field in node.body
                        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                    )
    return frozenset()


def adapter_rank(adapter: str) -> int:
    """The rank that vLLM has to make room for, for LoRA weights in a folder.

    Raises:
        InputError: the folder holds no such weights, or their rank is too high.
    """
    config = Path(tokenizer_files(adapter)) / "adapter_config.json"
    try:
        rank = int(json.loads(config.read_text(encoding="utf-8"))["r"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"engine.adapter: {adapter} is no folder of LoRA weights: its adapter_config.json "
            f"cannot be read ({type(error).__name__})"
        ) from error
    for room in LORA_RANKS:
        if rank <= room:
            return room
    raise InputError(f"engine.adapter: {adapter} has the rank {rank}; vLLM takes {LORA_RANKS[-1]}")
