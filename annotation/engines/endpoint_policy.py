"""Which parameters a server of chat completions takes, found out from what it refuses.

Servers differ: reasoning models take no temperature and give no log-probabilities, older servers
know `max_tokens` only. Each refusal names what it is about; that is left out or replaced, and asked
again, until the server answers or there is nothing left to change. The JSON schema of a list's
answer stays: without one a judge is another, which only the user may choose.
"""

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from annotation.engines.base import AnswerForm, Json

TOP_LOG_PROBABILITIES = 20
FEWER_LOG_PROBABILITIES = 5  # where a server says that 20 are too many, but not how many it gives
ROOM_TO_THINK = 1024  # tokens, for a model that thinks although it was not asked to
LENGTH_FIELDS = ("max_completion_tokens", "max_tokens")
NAMES_A_SCHEMA = re.compile(r"response[ _-]?format|json[ _-]?schema|structured[ _-]?output", re.I)
CUT_WHILE_THINKING = re.compile(r"could not finish the message|output limit was reached", re.I)


@dataclass(frozen=True)
class Parameters:
    """The parameters that one server takes.

    Attributes:
        length_field: the field that limits the tokens of an answer.
        temperature: whether temperature 0 is asked for.
        top_log_probabilities: the number of most likely tokens whose log-probabilities are asked
            for, 0 to 20; 0 asks for none.
        room_to_think: tokens that are added to the limit of each answer, for a model that thinks
            although it was not asked to.
    """

    length_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    temperature: bool = True
    top_log_probabilities: int = TOP_LOG_PROBABILITIES
    room_to_think: int = 0

    def longest(self, form: AnswerForm, fields: dict[str, Any]) -> int:
        """The limit of tokens of an answer with its thought.

        Args:
            form: the form of the answer.
            fields: the user's own fields of the request, which may set the limit.
        """
        given = [fields[name] for name in LENGTH_FIELDS if name in fields]
        return max(given) if given else form.max_tokens + form.thinking + self.room_to_think

    def request(
        self, model: str, message: str, form: AnswerForm, fields: dict[str, Any]
    ) -> dict[str, Any]:
        """Makes the body of a request.

        Args:
            model: the name that the server knows the model by.
            message: the prompt, without a chat template.
            form: the form of the answer.
            fields: the user's own fields, which replace all others.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": message}],
        }
        if not any(name in fields for name in LENGTH_FIELDS):
            body[self.length_field] = self.longest(form, fields)
        if self.temperature and not form.thinking:
            body["temperature"] = 0
        if not isinstance(form, Json):
            if self.top_log_probabilities:
                body |= {"logprobs": True, "top_logprobs": self.top_log_probabilities}
        else:
            schema = {"name": "answer", "strict": True, "schema": json.loads(form.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body | fields

    def after_refusal(
        self, refusal: str, body: dict[str, Any], fields: dict[str, Any]
    ) -> "Parameters | None":
        """The parameters to ask with after the server has refused some.

        Args:
            refusal: the error of the server, as text or JSON.
            body: the body of the refused request.
            fields: the user's own fields of it, which are never changed.

        Returns:
            Other parameters; None where the refusal names none that could be changed.
        """
        if CUT_WHILE_THINKING.search(refusal):
            return self.with_room_to_think()
        ours = body.keys() - fields.keys()
        told = re.search(r'"param": *"(\w+)', refusal)  # some say it apart, and more in the message
        if told and told[1] in body:
            named = {told[1]} & ours
        else:
            named = {name for name in ours if _names(refusal, name)}
        if "temperature" in named:
            return replace(self, temperature=False)
        if {"logprobs", "top_logprobs"} & named:
            return replace(self, top_log_probabilities=self._fewer(refusal, named))
        if "max_completion_tokens" in named:
            return replace(self, length_field="max_tokens")
        return None

    def with_room_to_think(self) -> "Parameters | None":
        """These parameters with room to think; None if they have it already."""
        return replace(self, room_to_think=ROOM_TO_THINK) if self.room_to_think == 0 else None

    def _fewer(self, refusal: str, named: set[str]) -> int:
        told = [int(number) for number in re.findall(r"(?<![\w.-])\d{1,9}(?!\w|\.\d)", refusal)]
        possible = [number for number in told if 0 < number < self.top_log_probabilities]
        if possible:
            return max(possible)
        fewer = "top_logprobs" in named and self.top_log_probabilities > FEWER_LOG_PROBABILITIES
        return FEWER_LOG_PROBABILITIES if fewer else 0

    def differences(self, first: "Parameters") -> list[str]:
        """How these parameters differ from `first`, a text for each difference."""
        said = []
        if self.length_field != first.length_field:
            said.append(f"{self.length_field} takes the place of {first.length_field}")
        if self.temperature != first.temperature:
            said.append("its own temperature is used")
        if self.top_log_probabilities != first.top_log_probabilities:
            said.append(
                f"log-probabilities of {self.top_log_probabilities} tokens are asked for"
                if self.top_log_probabilities
                else "log-probabilities are left out, so grades have no confidence"
            )
        if self.room_to_think != first.room_to_think:
            said.append(
                f"the model thinks: each answer may take {self.room_to_think:,} tokens more "
                "(--reasoning sets how many)"
            )
        return said


def remedy(refusal: str, form: AnswerForm) -> str:
    """Advice for the user if a server refuses the schema of an answer; else ""."""
    if not isinstance(form, Json) or not NAMES_A_SCHEMA.search(refusal):
        return ""
    return (
        " (the schema of the answer; to ask for JSON without one: "
        """--engine.fields '{"response_format": {"type": "json_object"}}')"""
    )


def _names(refusal: str, parameter: str) -> bool:
    """Whether a parameter is named, be it as maxTokens, "max tokens" or log probabilities."""
    written = parameter.replace("_", "[ _-]?").replace("logprobs", r"log[ _-]?prob(?:s|abilities)")
    return re.search(rf"(?<!\w){written}(?!\w)", refusal, re.I) is not None
