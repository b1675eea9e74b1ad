"""The endpoint engine: any server that speaks OpenAI's chat completions."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from annotation.encoding import EncodedPrompt, PromptEncoder
from annotation.engine import (
    BUDGET_ERROR,
    ENGINE_ERROR,
    PROMPT_ERROR,
    Answer,
    AnswerForm,
    Engine,
    EngineChoice,
    Json,
    OneOf,
    Secret,
)
from corpus.errors import InputError

TOP_LOG_PROBABILITIES = 20
FAILURES_TO_GIVE_UP = 50
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Endpoint(EngineChoice):
    """A server that speaks OpenAI's chat completions: OpenAI, vLLM, TGI, llama.cpp and others.

    The key is taken from the environment and is never stored or printed.

    Attributes:
        url: up to the version, such as https://api.openai.com/v1.
        measured_by: Hugging Face id or folder of the tokenizer that measures texts; by default
            the model's. One of about the same size will do: it only decides where texts are cut.
        concurrency: requests that are open at the same time.
        timeout: seconds that an answer may take.
        retries: how often a request is repeated, with growing pauses, after 408, 409, 429, 5xx, a
            cut connection or a time-out.
        token_budget: tokens, read and written, that one run may spend, as the server counts those
            of its replies; nothing is asked that could go beyond it.
        log_probabilities: ask for them; without, pointwise grades have no confidence.
        key_variable: the environment variable that holds the key.
        fields: further fields of each request, such as reasoning_effort.
    """

    url: str
    measured_by: str | None = None
    concurrency: int = 16
    timeout: float = 60.0
    retries: int = 6
    token_budget: int | None = None
    log_probabilities: bool = True
    key_variable: str = "OPENAI_API_KEY"
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"url must begin with http:// or https://, not {self.url!r}")
        least_values = {"concurrency": 1, "retries": 0, "timeout": 1e-3, "token_budget": 1}
        for name, least in least_values.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")

    def actors(self) -> int:
        return 1

    def actor_options(self) -> dict[str, Any]:
        return {"num_cpus": 0.5}

    def identity(self) -> dict[str, Any]:
        decides = {"url": self.url, "measured_by": self.measured_by, "fields": self.fields}
        return {"engine": "Endpoint", **decides}

    def context_length(self, model: str) -> int:
        return sys.maxsize

    def tokenizer(self, model: str) -> str:
        return self.measured_by or model

    def secret(self) -> Secret:
        return Secret(os.environ.get(self.key_variable, ""))

    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        if not self.secret().value and urlsplit(self.url).hostname not in LOCAL_HOSTS:
            raise InputError(
                f"{self.url}: needs a key; put it into the variable {self.key_variable}"
            )

    def start(
        self, model: str, max_model_len: int, encoder: PromptEncoder, secret: Secret
    ) -> Engine:
        return EndpointEngine(self, model, secret)


class EndpointEngine:
    """Asks a server, many requests at a time.

    It is closed once the budget is spent, the server has refused the key or the model, or
    FAILURES_TO_GIVE_UP requests in a row have failed.

    Args:
        endpoint: which server, and how.
        model: the name that the server knows the model by.
        secret: the key.
    """

    def __init__(self, endpoint: Endpoint, model: str, secret: Secret) -> None:
        self._endpoint = endpoint
        self._model = model
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.url,
            api_key=secret.value or "none",
            timeout=endpoint.timeout,
            max_retries=endpoint.retries,
        )
        self._loop = asyncio.new_event_loop()
        self._budget = endpoint.token_budget or sys.maxsize
        self._spent = 0  # tokens of the requests that were answered
        self._reserved = 0  # tokens that the open requests can take
        self._settled = asyncio.Condition()
        self.closed = ""
        self._failures = 0  # in a row

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        """See `Engine`."""
        return self._loop.run_until_complete(self._answer_all(prompts, forms))

    async def _answer_all(
        self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]
    ) -> list[Answer]:
        open_requests = asyncio.Semaphore(self._endpoint.concurrency)

        async def answer_one(prompt: EncodedPrompt, form: AnswerForm) -> Answer:
            async with open_requests:
                return await self._answer_within_budget(prompt, form)

        return await asyncio.gather(*map(answer_one, prompts, forms))

    async def _answer_within_budget(self, prompt: EncodedPrompt, form: AnswerForm) -> Answer:
        request = self._request(prompt.message, form)
        longest = self._endpoint.fields.get("max_completion_tokens", form.max_tokens)
        wanted = len(prompt.token_ids) + longest
        async with self._settled:
            while not self.closed and self._spent + self._reserved + wanted > self._budget:
                if self._reserved > 0:
                    await self._settled.wait()
                else:
                    self.closed = f"{BUDGET_ERROR}: {self._budget:,} tokens are spent"
            if self.closed:
                return Answer(error=self.closed)
            self._reserved += wanted
        answer = await self._ask(request, form)
        async with self._settled:
            self._reserved -= wanted
            self._spent += answer.prompt_tokens + answer.answer_tokens
            self._settled.notify_all()
        return answer

    async def _ask(self, request: dict[str, Any], form: AnswerForm) -> Answer:
        answer = Answer()
        try:
            completion = await self._client.chat.completions.create(**request)
            _read_completion(completion, form, answer)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            answer.error = f"{PROMPT_ERROR}: {_describe(error)}"
        except (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        ) as error:
            answer.error = self.closed = f"{ENGINE_ERROR}: {_describe(error)}"
        except (openai.OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
            answer.error = f"{ENGINE_ERROR}: {_describe(error)}"
        failed = (answer.error or "").startswith(ENGINE_ERROR)
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= FAILURES_TO_GIVE_UP and not self.closed:
            in_a_row = f"{self._failures} requests in a row failed"
            self.closed = f"{ENGINE_ERROR}: {in_a_row}; {answer.error}"
        return answer

    def _request(self, message: str, form: AnswerForm) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": message}],
            "temperature": 0,
            "max_completion_tokens": form.max_tokens,
        }
        if isinstance(form, Json):
            schema = {"name": "answer", "strict": True, "schema": json.loads(form.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self._endpoint.log_probabilities:
            request |= {"logprobs": True, "top_logprobs": TOP_LOG_PROBABILITIES}
        # extra_body wins over the client's own fields and may hold what it does not know.
        return request | {"extra_body": self._endpoint.fields}


def _read_completion(completion: Any, form: AnswerForm, answer: Answer) -> None:
    """Reads a reply into `answer`, first what it has cost.

    Raises:
        AttributeError, IndexError, TypeError, ValueError: it is none.
    """
    usage = completion.usage
    answer.prompt_tokens = getattr(usage, "prompt_tokens", None) or 0
    answer.answer_tokens = getattr(usage, "completion_tokens", None) or 0
    details = getattr(usage, "prompt_tokens_details", None)
    answer.cached_tokens = getattr(details, "cached_tokens", None) or 0
    [choice] = completion.choices
    if choice.message.content is None:
        raise ValueError(f"an empty answer ({choice.finish_reason})")
    answer.text = choice.message.content
    if isinstance(form, OneOf):
        _read_choice(answer, choice, form.choices)


def _read_choice(answer: Answer, choice: Any, choices: Sequence[str]) -> None:
    """Takes the choice that the text begins with, and the belief in all where it stands.

    A text that goes on with another number ("2.5", "1 or 2") names no choice. A choice that is not
    among the likeliest tokens counts as likely as the least of them, which it cannot exceed.
    """
    alternatives = "|".join(choices)
    pattern = rf"[\s\"'`(*\[]*({alternatives})(?!\d|\s*(?:[.,/–-]|or|to|and)\s*\d)"
    found = re.match(pattern, answer.text or "")
    answer.text = found[1] if found else None
    if not found:
        answer.error = "answer: none of " + ", ".join(choices)
    places = getattr(choice.logprobs, "content", None) if found else None
    for place in places or ():
        if place.token.strip() == answer.text and place.top_logprobs:
            believed = {other.token.strip(): other.logprob for other in place.top_logprobs[::-1]}
            least = min(believed.values())
            answer.log_probabilities = [believed.get(name, least) for name in choices]
            break


def _describe(error: Exception) -> str:
    """One line; a server's answer can be a page."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
