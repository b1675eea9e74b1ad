"""The endpoint engine: asks a server of chat completions, many requests at a time."""

import asyncio
import math
import random
import sys
import time
from collections.abc import Sequence

from annotation.engines.base import (
    BUDGET_ERROR,
    ENGINE_ERROR,
    PROMPT_ERROR,
    REFUSED_ERROR,
    Answer,
    AnswerForm,
    Secret,
)
from annotation.engines.endpoint_client import ChatClient
from annotation.engines.endpoint_failures import RequestError
from annotation.engines.endpoint_policy import TOP_LOG_PROBABILITIES, Parameters, remedy
from annotation.engines.endpoint_replies import Reply, fill_answer, read_reply, read_usage
from annotation.engines.endpoint_settings import EndpointSettings
from annotation.engines.token_spend import Spend, TokenSpend
from annotation.prompts.prompt_encoder import EncodedPrompt

FAILURES_AT_FIRST = 5  # in a row, before anything was answered
FAILURES_TO_GIVE_UP = 50  # in a row, once something was
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a request is repeated


class EndpointEngine:
    """Asks a server, many requests at a time.

    It is closed once the budget is spent, the server has refused the key or the model, or many
    requests in a row have failed: FAILURES_AT_FIRST where none was answered, else
    FAILURES_TO_GIVE_UP. Until the first is answered, they are sent one at a time: they show which
    parameters the server takes and how many tokens it counts.

    A prompt that fails is asked again once a prompt that is known to be good is answered; only if
    it fails then too, the fault is its own.

    Args:
        endpoint: the settings of the endpoint.
        model: the name that the server knows the model by.
        secret: the key.
        control: a harmless prompt to test the server with, until one of the job is answered.
        spend: the count of spent tokens; None counts in memory only.
    """

    def __init__(
        self,
        endpoint: EndpointSettings,
        model: str,
        secret: Secret,
        control: EncodedPrompt,
        spend: Spend | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._secret = secret
        self._client = ChatClient(endpoint, secret)
        self._loop = asyncio.new_event_loop()
        self._spend = spend or TokenSpend(endpoint.token_budget or sys.maxsize)
        self._spend.begin()
        self._open = 0  # number of requests with reserved tokens
        self._settled = asyncio.Condition()
        self._counts_more = 1.0  # the largest ratio of the server's count of tokens to ours
        most = TOP_LOG_PROBABILITIES if endpoint.log_probabilities else 0
        self._first_parameters = self._parameters = Parameters(top_log_probabilities=most)
        self._opening = asyncio.Lock()  # held by the only request before anything was answered
        self._replies = 0
        self._good = control
        self._good_since = -math.inf  # when the last answered request was sent
        self._checking = asyncio.Lock()
        self._busy_until = -math.inf
        self._failures = 0  # in a row
        self.closed = ""
        self.notes: list[str] = []

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        """See `Engine`."""
        return self._loop.run_until_complete(self._answer_all(prompts, forms))

    async def _answer_all(
        self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]
    ) -> list[Answer]:
        open_requests = asyncio.Semaphore(self._endpoint.concurrency)

        async def answer_one(prompt: EncodedPrompt, form: AnswerForm) -> Answer:
            async with open_requests:
                if self._replies == 0:
                    async with self._opening:
                        if self._replies == 0:
                            return await self._answer_or_blame(prompt, form)
                return await self._answer_or_blame(prompt, form)

        return await asyncio.gather(*map(answer_one, prompts, forms))

    async def _answer_or_blame(self, prompt: EncodedPrompt, form: AnswerForm) -> Answer:
        """The answer; or an error that says whether the prompt or the server is at fault."""
        answer = Answer()
        try:
            await self._ask(prompt, form, answer, self._endpoint.retries)
        except RequestError as failure:
            await self._blame(failure, prompt, form, answer)
        return answer

    async def _blame(
        self, failure: RequestError, prompt: EncodedPrompt, form: AnswerForm, answer: Answer
    ) -> None:
        failed_at = time.monotonic()
        if failure.refused:
            answer.error = f"{REFUSED_ERROR}: {self._reason(failure, form)}"
            return
        if failure.by_prompt and await self._answers_others(failed_at, form):
            try:
                await self._ask(prompt, form, answer, retries=0)
                return
            except RequestError as again:
                failure = again
            if failure.by_prompt:
                answer.error = f"{PROMPT_ERROR}: {self._reason(failure, form)}"
                return
        self._failures += 1
        if failure.closing:
            self._close(f"{ENGINE_ERROR}: {self._reason(failure, form)}")
        at_most = FAILURES_TO_GIVE_UP if self._replies else FAILURES_AT_FIRST
        if self._failures >= at_most:
            all_of_them = "" if self._replies else ", and none was answered"
            in_a_row = f"{self._failures} requests in a row failed{all_of_them}"
            self._close(f"{ENGINE_ERROR}: {in_a_row}; {self._reason(failure, form)}")
        answer.error = self.closed or f"{ENGINE_ERROR}: {self._reason(failure, form)}"

    async def _answers_others(self, since: float, form: AnswerForm) -> bool:
        """Whether the server answers a prompt that is known to be good, asked after a failure."""
        async with self._checking:
            if self._good_since <= since and not self.closed:
                try:
                    await self._ask(self._good, form, Answer(), retries=0)
                except RequestError:
                    return False
            return self._good_since > since

    async def _ask(
        self, prompt: EncodedPrompt, form: AnswerForm, answer: Answer, retries: int
    ) -> None:
        """Asks until there is an answer, with other parameters where the server refuses some.

        Raises:
            RequestError: there is none.
        """
        parameters = self._parameters
        while True:
            sent = time.monotonic()
            try:
                reply = await self._send_patiently(prompt, form, parameters, answer, retries)
            except RequestError as failure:
                other = None
                if self._replies == 0 and failure.by_prompt and not failure.refused:
                    fields = self._endpoint.fields
                    body = parameters.request(self._model, prompt.message, form, fields)
                    other = parameters.after_refusal(failure.words, body, fields)
                if other is None:
                    raise
                parameters = other
                continue
            starved = reply.text is None and reply.was_cut and not reply.refusal
            roomier = parameters.with_room_to_think()
            if starved and self._replies == 0 and not form.thinking and roomier is not None:
                parameters = roomier
                continue
            break
        if self._replies == 0:
            self._settle_parameters(parameters)
        self._replies += 1
        self._failures = 0
        self._good_since = max(self._good_since, sent)
        fill_answer(answer, reply, form)
        if answer.error is None:
            self._good = prompt

    def _settle_parameters(self, parameters: Parameters) -> None:
        self._parameters = parameters
        if differences := parameters.differences(self._first_parameters):
            self.notes.append(
                f"{self._client.address}: as the server wants it, {'; '.join(differences)}"
            )

    async def _send_patiently(
        self,
        prompt: EncodedPrompt,
        form: AnswerForm,
        parameters: Parameters,
        answer: Answer,
        retries: int,
    ) -> Reply:
        """Sends a request again, after a pause, as long as what hindered it may pass."""
        failed, replies = 0, self._replies
        while True:
            while (pause := self._busy_until - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            try:
                return await self._send(prompt, form, parameters, answer)
            except RequestError as failure:
                if failure.busy and self._replies > replies:  # others had their turn
                    failed, replies = 0, self._replies
                failed += 1
                if not failure.passing or failed > retries:
                    raise
                longest = min(FIRST_PAUSE * 2 ** (failed - 1), LONGEST_PAUSE)
                pause = longest * random.uniform(0.75, 1) if failure.wait is None else failure.wait
                if failure.busy:
                    self._busy_until = max(self._busy_until, time.monotonic() + pause)
                else:
                    await asyncio.sleep(pause)

    async def _send(
        self, prompt: EncodedPrompt, form: AnswerForm, parameters: Parameters, answer: Answer
    ) -> Reply:
        """Sends a request once and charges what it has cost.

        Raises:
            RequestError: no answer came, or none may be asked for.
        """
        fields = self._endpoint.fields
        body = parameters.request(self._model, prompt.message, form, fields)
        longest = parameters.longest(form, fields)
        read = len(prompt.token_ids)
        expected = math.ceil(read * self._counts_more)
        wanted = expected + longest
        await self._reserve(wanted)
        charged = wanted
        try:
            completion = await self._client.post(body)
            usage = read_usage(completion)
            charged = max(wanted, usage.read + usage.written)  # if it cannot be read
            if usage.read and read:
                self._counts_more = max(self._counts_more, usage.read / read)
            reply = read_reply(completion)
            # Where the server does not count, what it does not show may have been written as well.
            hides = form.thinking or parameters.room_to_think or reply.text is None
            shown = _shown_tokens(reply, longest)
            charged = max(usage.read, read) if usage.read else expected
            charged += usage.written or (longest if hides else shown)
            answer.prompt_tokens += usage.read or read
            answer.cached_tokens += usage.cached
            answer.answer_tokens += usage.written or shown
            return reply
        except ValueError as error:
            raise RequestError(f"the reply {error}", by_prompt=True) from None
        except RequestError as failure:
            charged = 0 if failure.free else wanted
            raise
        finally:
            async with self._settled:
                self._spend.settle(wanted, charged)
                self._open -= 1
                self._settled.notify_all()

    async def _reserve(self, tokens: int) -> None:
        async with self._settled:
            while not self.closed and not self._spend.reserve(tokens):
                if self._open > 0:
                    await self._settled.wait()
                else:
                    budget = self._endpoint.token_budget or 0
                    self._close(f"{BUDGET_ERROR}: {budget:,} tokens do not suffice for more")
            if self.closed:
                raise RequestError(self.closed.partition(": ")[2])
            self._open += 1

    def _reason(self, failure: RequestError, form: AnswerForm) -> str:
        """Why a request failed, without the key, which a server may have echoed."""
        key = self._secret.value
        reason = str(failure).replace(key, "***") if key else str(failure)
        return reason + remedy(failure.words, form)

    def _close(self, reason: str) -> None:
        self.closed = self.closed or reason


def _shown_tokens(reply: Reply, longest: int) -> int:
    """Tokens that a reply shows at most: each has a byte at least."""
    shown = (reply.text or "") + (reply.reasoning or "")
    return min(len(shown.encode()), longest)
