"""The vLLM engine: in an actor's own process, one of a pool."""

import atexit
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig

from annotation.encoding import EncodedPrompt, PromptEncoder
from annotation.engine import (
    PROMPT_ERROR,
    Answer,
    AnswerForm,
    EngineChoice,
    Json,
    OneOf,
    Secret,
)
from annotation.prompts import GRADE_TEXTS
from annotation.token_spend import Spend
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


@dataclass(frozen=True)
class VllmPool(EngineChoice):
    """A pool of vLLM engines.

    Attributes:
        engines: engines that work side by side.
        cpus_per_engine: CPUs that Ray keeps for each engine, and threads that it uses.
        gpus_per_engine: GPUs that the model is spread over in each engine; 0 runs it on the CPU.
    """

    engines: int = 1
    cpus_per_engine: int = 1
    gpus_per_engine: int = 0

    def __post_init__(self) -> None:
        for name in ("engines", "cpus_per_engine"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")

    def actors(self) -> int:
        return self.engines

    def actor_options(self) -> dict[str, Any]:
        return {
            "num_cpus": self.cpus_per_engine,
            "num_gpus": self.gpus_per_engine,
            "runtime_env": {"env_vars": engine_environment(self.gpus_per_engine)},
        }

    def identity(self) -> dict[str, Any]:
        return {"engine": "VllmPool"}

    def context_length(self, model: str) -> int:
        try:
            config = AutoConfig.from_pretrained(model).get_text_config()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{model}: is neither the folder of a model nor one that Hugging Face has and this "
                "machine can reach (set HF_TOKEN for a gated one)"
            ) from error
        return int(getattr(config, "max_position_embeddings", sys.maxsize))

    def tokenizer(self, model: str) -> str:
        return model

    def secret(self) -> Secret:
        return Secret()

    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        if form is OneOf:
            encoder.choice_tokens(GRADE_TEXTS)

    def start(
        self,
        model: str,
        max_model_len: int,
        encoder: PromptEncoder,
        secret: Secret,
        spend: Spend | None,
    ) -> "VllmEngine":
        try:
            grade_tokens = encoder.choice_tokens(GRADE_TEXTS)
        except InputError:  # only pointwise needs them, and `check` has refused it then
            grade_tokens = []
        return VllmEngine(model, max_model_len, grade_tokens, self.gpus_per_engine)


def engine_environment(gpus: int) -> dict[str, str]:
    """Environment variables of a process that starts an engine; those that are set already win."""
    wanted = QUIET | ({} if gpus else CPU_ENVIRONMENT)
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def _close_standard_error() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class VllmEngine:
    """One vLLM engine; its process needs `engine_environment`.

    Args:
        model: a Hugging Face id or the path of a folder.
        max_model_len: tokens of prompt and answer together.
        choice_tokens: the tokens of `OneOf`'s choices, in their order.
        gpus: number of GPUs to spread the model over; 0 runs it on the CPU.
    """

    closed = ""
    notes: Sequence[str] = ()

    def __init__(
        self, model: str, max_model_len: int, choice_tokens: Sequence[int], gpus: int = 0
    ) -> None:
        from vllm import LLM  # takes 10 s, and only actors need it

        # Triton, which vLLM imports, ends its process with pages on what nanobind has leaked.
        atexit.register(_close_standard_error)
        if gpus == 0:
            # Linux lends AMX to a process that asks. vLLM relies on PyTorch having asked, which it
            # has not if the first prompts are too short for its own AMX kernels: SIGILL.
            torch.cpu._init_amx()
        self._choice_tokens = list(choice_tokens)
        self._llm = LLM(
            model,
            max_model_len=max_model_len,
            tensor_parallel_size=max(gpus, 1),
            enable_prefix_caching=True,
            enforce_eager=gpus == 0,
            # On a CPU vLLM caches prefixes by 128 tokens, which many a prompt does not have.
            block_size=None if gpus else 32,
            use_tqdm_on_load=False,
            # Blanks between the parts of an answer would only cost tokens.
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            seed=0,
        )

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        """See `Engine`. A prompt that the engine refuses is found by asking in halves.

        Raises:
            vllm.v1.engine.exceptions.EngineDeadError: the engine is gone.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        if not prompts:
            return []
        parameters = {form: self._parameters(form) for form in set(forms)}
        try:
            outputs = self._llm.generate(
                [{"prompt_token_ids": prompt.token_ids} for prompt in prompts],
                [parameters[form] for form in forms],
                use_tqdm=False,
            )
        except EngineDeadError:
            raise
        except Exception as error:  # whatever one prompt brings up must not cost the others
            engine = self._llm.llm_engine
            engine.abort_request(list(engine.output_processor.request_states), internal=True)
            if len(prompts) == 1:
                return [Answer(error=f"{PROMPT_ERROR}: {type(error).__name__}: {error}")]
            middle = len(prompts) // 2
            left = self.answer(prompts[:middle], forms[:middle])
            return left + self.answer(prompts[middle:], forms[middle:])
        return [
            _answer(output, parameters[form].logprob_token_ids)
            for output, form in zip(outputs, forms, strict=True)
        ]

    def _parameters(self, form: AnswerForm) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        if isinstance(form, Json):
            schema = StructuredOutputsParams(json=form.schema)
            return SamplingParams(
                max_tokens=form.max_tokens, temperature=0, structured_outputs=schema
            )
        # The best of these choices is what greedy decoding constrained to them would answer.
        return SamplingParams(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=self._choice_tokens,
            detokenize=False,
        )


def _answer(output: Any, choice_tokens: list[int] | None) -> Answer:
    completion = output.outputs[0]
    answer = Answer(
        prompt_tokens=len(output.prompt_token_ids),
        cached_tokens=output.num_cached_tokens or 0,
        answer_tokens=len(completion.token_ids),
    )
    if choice_tokens is None:
        answer.text = completion.text
    else:
        believed = completion.logprobs[0]
        answer.log_probabilities = [believed[token].logprob for token in choice_tokens]
    return answer
