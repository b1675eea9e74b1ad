"""The choice of vLLM: a pool of engines, by its settings, and what they are checked for."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotation.engines.base import AnswerForm, EngineChoice, OneOf, Secret
from annotation.engines.checkpoint_files import named_checkpoint, tokenizer_files
from annotation.engines.token_spend import Spend
from annotation.engines.vllm_engine import VllmEngine
from annotation.engines.vllm_settings import WITHOUT_EFFECT, adapter_rank, check_engine_settings
from annotation.engines.vllm_start import engine_environment
from annotation.prompts.prompt import GRADE_TEXTS
from annotation.prompts.prompt_encoder import PromptEncoder
from corpus.errors import InputError


@dataclass(frozen=True)
class VllmPool(EngineChoice):
    """A pool of vLLM engines.

    Attributes:
        engines: number of engines that work side by side, each in an actor; at least 1.
        cpus_per_engine: CPUs that Ray reserves for each engine, and threads that it uses.
        gpus_per_engine: GPUs of one node that each engine splits the model over (tensor
            parallelism); 0 runs it on the CPU. A node takes as many engines as it has GPUs for.
        revision: branch, tag or commit of a model of Hugging Face; by default its main one.
        adapter: folder of LoRA weights to load beside the model.
        settings: further settings of vLLM by its own names, such as {dtype: bfloat16,
            quantization: fp8, gpu_memory_utilization: 0.8}.
    """

    engines: int = 1
    cpus_per_engine: int = 1
    gpus_per_engine: int = 0
    revision: str | None = None
    adapter: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in {"engines": 1, "cpus_per_engine": 1, "gpus_per_engine": 0}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
        check_engine_settings(self.settings)
        if self.adapter is not None:
            adapter_rank(self.adapter)

    def actors(self) -> int:
        return self.engines

    def actor_options(self) -> dict[str, Any]:
        return {
            "num_cpus": self.cpus_per_engine,
            "num_gpus": self.gpus_per_engine,
            "runtime_env": {"env_vars": engine_environment(self.gpus_per_engine)},
        }

    def identity(self) -> dict[str, Any]:
        # Only where they are given, so that folders from before they were settings can be resumed.
        given = {name: getattr(self, name) for name in ("revision", "adapter")}
        deciding = {k: v for k, v in self.settings.items() if k not in WITHOUT_EFFECT}
        given["settings"] = deciding or None
        return {"engine": "VllmPool"} | {k: v for k, v in given.items() if v is not None}

    def context_length(self, model: str) -> int:
        from transformers import AutoConfig  # seconds that no help page needs

        try:
            config = AutoConfig.from_pretrained(
                tokenizer_files(model), revision=self.revision
            ).get_text_config()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{model}: is neither the folder of a model nor one that Hugging Face has and this "
                "machine can reach (set HF_TOKEN for a gated one)"
            ) from error
        return int(getattr(config, "max_position_embeddings", sys.maxsize))

    def tokenizer(self, model: str) -> str:
        if self.revision is None or Path(named_checkpoint(model)).is_dir():
            return model
        from huggingface_hub import snapshot_download

        with_words = ["*.json", "*.jinja", "*.model", "*.txt"]
        return snapshot_download(model, revision=self.revision, allow_patterns=with_words)

    def secret(self) -> Secret:
        return Secret()

    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        if encoder.frame.opened and not encoder.reasoning:
            raise InputError(
                f"{encoder.name}: its chat template begins every answer with a thought, which "
                "would take the place of the grade; --reasoning lets it think first"
            )
        if encoder.reasoning and encoder.frame.thought is None:
            raise InputError(
                f"{encoder.name}: its chat template and tokenizer know no marks of a thought, such "
                "as <think>; leave --reasoning out, or take another model"
            )
        if form is OneOf:
            encoder.choice_tokens(GRADE_TEXTS)

    def start(
        self,
        model: str,
        max_model_len: int,
        encoder: PromptEncoder,
        secret: Secret,
        spend: Spend | None,
    ) -> VllmEngine:
        try:
            grade_tokens = encoder.choice_tokens(GRADE_TEXTS)
        except InputError:  # only pointwise needs them, and `check` has refused it then
            grade_tokens = []
        thought = encoder.thought_tokens()
        settings = self.settings | ({"revision": self.revision} if self.revision else {})
        return VllmEngine(
            model,
            max_model_len,
            grade_tokens,
            self.gpus_per_engine,
            thought,
            settings,
            self.adapter,
        )
