"""A vLLM engine that says how likely each of a few tokens is as the answer to each prompt."""

import atexit
import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

CPU_ENVIRONMENT = {
    # The engine in its actor's own process: it starts in 2 s instead of 30 and dies with the actor.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Ray gives each actor its number of threads; vLLM would pin all engines to the same cores.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


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
        gpus: number of GPUs to spread the model over; 0 runs it on the CPU.
    """

    def __init__(self, model: str, max_model_len: int, gpus: int = 0) -> None:
        from vllm import LLM  # takes 10 s, and only actors need it

        # Triton, which vLLM imports, ends its process with pages on what nanobind has leaked.
        atexit.register(_close_standard_error)
        if gpus == 0:
            # Linux lends AMX to a process that asks. vLLM relies on PyTorch having asked, which it
            # has not if the first prompts are too short for its own AMX kernels: SIGILL.
            torch.cpu._init_amx()
        self._llm = LLM(
            model,
            max_model_len=max_model_len,
            tensor_parallel_size=max(gpus, 1),
            enable_prefix_caching=True,
            enforce_eager=gpus == 0,
            use_tqdm_on_load=False,
            seed=0,
        )

    def log_probabilities(
        self, prompts: Sequence[list[int]], choices: Sequence[int]
    ) -> tuple[NDArray[np.float64], list[str | None]]:
        """Asks for one token after each prompt.

        A prompt that the engine refuses costs that prompt only: the others are asked again.

        Args:
            prompts: token ids; none empty, none longer than the model allows.
            choices: the tokens that can be the answer.

        Returns:
            Log-probabilities of the choices, shape (prompts, choices), NaN where the engine
            failed; and for each prompt the error or None.

        Raises:
            vllm.v1.engine.exceptions.EngineDeadError: the engine is gone.
        """
        from vllm import SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        if not prompts:
            return np.empty((0, len(choices))), []
        # The best of these choices is what greedy decoding constrained to them would answer.
        parameters = SamplingParams(
            max_tokens=1, temperature=0, logprob_token_ids=list(choices), detokenize=False
        )
        try:
            outputs = self._llm.generate(
                [{"prompt_token_ids": token_ids} for token_ids in prompts],
                parameters,
                use_tqdm=False,
            )
        except EngineDeadError:
            raise
        except Exception as error:  # whatever one prompt brings up must not cost the others
            engine = self._llm.llm_engine
            engine.abort_request(list(engine.output_processor.request_states), internal=True)
            if len(prompts) == 1:
                failure = f"engine: {type(error).__name__}: {error}"
                return np.full((1, len(choices)), np.nan), [failure]
            middle = len(prompts) // 2
            left, left_errors = self.log_probabilities(prompts[:middle], choices)
            right, right_errors = self.log_probabilities(prompts[middle:], choices)
            return np.concatenate([left, right]), left_errors + right_errors
        answers = [output.outputs[0].logprobs[0] for output in outputs]
        found = [[answer[token].logprob for token in choices] for answer in answers]
        return np.array(found, dtype=np.float64), [None] * len(found)
