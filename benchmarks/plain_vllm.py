"""Plain vLLM as a peer of the job `annotate`: the same prompts, everything in memory."""

import time
from pathlib import Path
from typing import Any

import ray
import torch
from transformers import AutoTokenizer

from annotation.asking.ask import CHOICES
from annotation.engines.vllm_start import compute_dtype, engine_environment
from annotation.prompts.prompt import load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder

MAX_MODEL_LEN = 512


@ray.remote
class PlainVllm:
    """vllm.LLM in a process of its own, as large as the pipeline's engine."""

    def __init__(self, model: str, gpus: int, settings: dict[str, Any]) -> None:
        from vllm import LLM

        if gpus == 0:
            torch.cpu._init_amx()
        # As the pipeline's own engine; with vLLM's blocks of 128 it would cache no prefix.
        self._llm = LLM(
            model,
            max_model_len=MAX_MODEL_LEN,
            enforce_eager=gpus == 0,
            block_size=None if gpus else 32,
            dtype=compute_dtype(gpus),
            seed=0,
            use_tqdm_on_load=False,
            **settings,
        )

    def warm_up(self) -> None:
        self._run(["warm up"] * 32, [1, 2, 3, 4])

    def run(self, prompts: list[Any], choices: list[int]) -> float:
        """Pairs a second."""
        self._llm.reset_prefix_cache()
        started = time.perf_counter()
        self._run(prompts, choices)
        return len(prompts) / (time.perf_counter() - started)

    def _run(self, prompts: list[Any], choices: list[int]) -> None:
        from vllm import SamplingParams

        parameters = SamplingParams(
            max_tokens=1, temperature=0, logprob_token_ids=choices, detokenize=False
        )
        self._llm.generate(prompts, parameters, use_tqdm=False)


def run_vllm(
    checkpoint: Path,
    prompts: list[EncodedPrompt],
    threads: int,
    gpus: int = 0,
    settings: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Pairs a second of LLM.generate, from texts and from token ids."""
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(checkpoint), load_prompt())
    choices = encoder.choice_tokens(CHOICES.choices)
    environment = {"env_vars": engine_environment(gpus)}
    engine = PlainVllm.options(  # type: ignore[attr-defined]
        num_cpus=threads, num_gpus=gpus, runtime_env=environment
    ).remote(str(checkpoint), gpus, settings or {})
    ray.get(engine.warm_up.remote())
    inputs: dict[str, list[Any]] = {
        "texts": [prompt.message for prompt in prompts],
        "token ids": [{"prompt_token_ids": prompt.token_ids} for prompt in prompts],
    }
    speeds = {name: ray.get(engine.run.remote(given, choices)) for name, given in inputs.items()}
    ray.kill(engine)
    return speeds
