"""The vLLM engine, which runs in the process of its actor: thoughts, answers, and whose fault."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from annotation.engines.base import ENGINE_ERROR, PROMPT_ERROR, Answer, AnswerForm, Json
from annotation.engines.checkpoint_files import local_checkpoint
from annotation.engines.vllm_start import start_llm
from annotation.prompts.chat import ThoughtTokens
from annotation.prompts.prompt_encoder import EncodedPrompt
from corpus.errors import InputError

FAILURES_TO_GIVE_UP = 10  # in a row: what fails for all prompts is the engine's fault


class VllmEngine:
    """One vLLM engine; its process needs `engine_environment`.

    It is closed if it cannot start, if it dies, or once FAILURES_TO_GIVE_UP prompts in a row have
    failed by no fault of theirs.

    Args:
        model: a Hugging Face id or the path of a folder.
        max_model_len: the limit of tokens of prompt, thought and answer together.
        choice_tokens: token id of each choice of `OneOf`, in their order.
        gpus: number of GPUs to split the model over; 0 runs it on the CPU.
        thought: the tokens that end a thought; None if the judge does not think.
        settings: further settings of vLLM, by its own names.
        adapter: folder of LoRA weights to load beside the model; None for none.
    """

    notes: Sequence[str] = ()

    def __init__(
        self,
        model: str,
        max_model_len: int,
        choice_tokens: Sequence[int],
        gpus: int = 0,
        thought: ThoughtTokens | None = None,
        settings: Mapping[str, Any] | None = None,
        adapter: str | None = None,
    ) -> None:
        self.closed = ""
        self._choice_tokens = list(choice_tokens)
        self._thought = thought
        self._failures = 0
        self._good: list[int] = []  # a prompt that was answered
        self._adapter = None
        try:
            adapter = adapter and local_checkpoint(adapter)
            self._llm = start_llm(
                local_checkpoint(model), max_model_len, gpus, settings or {}, adapter
            )
            if adapter is not None:
                from vllm.lora.request import LoRARequest

                self._adapter = LoRARequest("adapter", 1, adapter)
        except Exception as error:  # of a model, of vLLM, of a driver; a trace would tell no more
            self.closed = f"{ENGINE_ERROR}: it cannot start: {_describe(error)}"

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        """Answers prompts, see `Engine`. A judge that may think first generates its thought.

        The thought is then a part of the answer's prompt, whose prefix is in the cache.
        """
        if self.closed:
            return [Answer(error=self.closed) for _ in prompts]
        answers = [Answer() for _ in prompts]
        asked = [prompt.token_ids for prompt in prompts]
        thinking = [row for row, form in enumerate(forms) if form.thinking]
        if self._thought and thinking:
            parameters = [self._thinking(forms[row].thinking) for row in thinking]
            outputs = self._generate([asked[row] for row in thinking], parameters)
            for row, output in zip(thinking, outputs, strict=True):
                if not isinstance(output, str):
                    asked[row] = [*asked[row], *_thought_so_far(output, self._thought)]
                    answers[row].reasoning = output.outputs[0].text.strip() or None
                _note(output, answers[row])
        sound = [row for row, answer in enumerate(answers) if answer.error is None]
        made = {form: self._parameters(form) for form in set(forms)}
        outputs = self._generate([asked[row] for row in sound], [made[forms[row]] for row in sound])
        for row, output in zip(sound, outputs, strict=True):
            _note(output, answers[row])
            if isinstance(output, str):
                continue
            completion = output.outputs[0]
            if isinstance(forms[row], Json):
                answers[row].text = completion.text
            else:  # the log-probabilities are of the whole vocabulary
                believed = [completion.logprobs[0][token].logprob for token in self._choice_tokens]
                answers[row].log_probabilities = believed
                answers[row].answered_mass = min(sum(map(math.exp, believed)), 1.0)
        return answers

    def _generate(self, asked: list[list[int]], parameters: list[Any]) -> list[Any]:
        """vLLM's output of each prompt, or its error; failing prompts are found by bisection."""
        if self.closed or not asked:
            return [self.closed] * len(asked)
        try:
            outputs = self._ask(asked, parameters)
        except Exception as error:  # whatever one prompt brings up must not cost the others
            if len(asked) == 1:
                return [self._blame(error, asked[0], parameters[0])]
            middle = len(asked) // 2
            left = self._generate(asked[:middle], parameters[:middle])
            return left + self._generate(asked[middle:], parameters[middle:])
        self._failures, self._good = 0, asked[0]
        return outputs

    def _ask(self, asked: list[list[int]], parameters: list[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": token_ids} for token_ids in asked]
        try:
            outputs: list[Any] = self._llm.generate(
                prompts, parameters, use_tqdm=False, lora_request=self._adapter
            )
        except Exception:
            engine = self._llm.llm_engine
            engine.abort_request(list(engine.output_processor.request_states), internal=True)
            raise
        return outputs

    def _blame(self, error: Exception, token_ids: list[int], parameters: Any) -> str:
        """Decides whether a failure is the fault of the prompt or of the engine; returns the error.

        It is the prompt's only if vLLM refuses it before it computes, and if a prompt that was
        answered before still is with the same parameters. Other failures, such as a lack of memory,
        may not happen again.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError

        refused = isinstance(error, VLLMClientError | TypeError | ValueError)
        if isinstance(error, EngineDeadError):
            self.closed = f"{ENGINE_ERROR}: it died: {_describe(error)}"
            return self.closed
        shortest = parameters.clone()
        shortest.max_tokens = 1
        try:
            self._ask([self._good or token_ids[:1]], [shortest])
        except Exception:  # then it is the engine, whatever this says
            refused = False
            self._failures += 1
        else:
            self._failures = 0 if self._good else self._failures + (not refused)
        if self._failures >= FAILURES_TO_GIVE_UP:
            in_a_row = f"{self._failures} prompts in a row failed"
            self.closed = f"{ENGINE_ERROR}: {in_a_row}, the last with {_describe(error)}"
            return self.closed
        return f"{PROMPT_ERROR if refused else ENGINE_ERROR}: {_describe(error)}"

    def _thinking(self, tokens: int) -> Any:
        from vllm import SamplingParams

        assert self._thought is not None
        return SamplingParams(
            max_tokens=max(tokens - len(self._thought.closing), 1),
            temperature=0,
            stop=[self._thought.end],
            skip_special_tokens=False,  # else the end would not be seen
        )

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


def _thought_so_far(output: Any, thought: ThoughtTokens) -> list[int]:
    """The tokens of a thought, its end and what leads to the answer, however it came to an end."""
    completion = output.outputs[0]
    written = list(completion.token_ids)
    if completion.stop_reason == thought.end:
        return [*written, *thought.answering]
    if completion.finish_reason == "stop":  # by a token that ends the judge's whole turn
        written.pop()
    return [*written, *thought.closing]


def _note(output: Any, answer: Answer) -> None:
    """Adds the tokens of an output to an answer, or the error in place of an output."""
    if isinstance(output, str):
        answer.error = output
        return
    answer.prompt_tokens += len(output.prompt_token_ids)
    answer.cached_tokens += output.num_cached_tokens or 0
    answer.answer_tokens += len(output.outputs[0].token_ids)


def _describe(error: Exception) -> str:
    """One line of at most 300 characters; what vLLM says can be a page."""
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:300]
