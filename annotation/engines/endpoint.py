"""The choice of the endpoint engine: any server that speaks OpenAI's chat completions."""

import ipaddress
import os
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from annotation.engines.base import AnswerForm, Engine, EngineChoice, Secret
from annotation.engines.endpoint_settings import EndpointSettings
from annotation.engines.token_spend import Spend
from annotation.prompts.prompt import Document
from annotation.prompts.prompt_encoder import PromptEncoder
from corpus.errors import InputError


@dataclass(frozen=True)
class Endpoint(EndpointSettings, EngineChoice):
    """A server that speaks OpenAI's chat completions: OpenAI, vLLM, TGI, llama.cpp and others.

    Its settings are those of `EndpointSettings`.
    """

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
        return Secret(os.environ.get(self.key_variable, "").strip())

    def budget(self) -> int | None:
        return self.token_budget

    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        key = self.secret().value
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{self.key_variable}: a key has only printable ASCII characters")
        address = urlsplit(self.url)
        if _is_this_machine(address.hostname or ""):
            return
        if key and address.scheme == "http":
            raise InputError(
                f"{self.url}: the key of {self.key_variable} would cross the network unencrypted; "
                "use https://, or, for a server that needs no key, --engine.key_variable NONE"
            )
        if not key and address.scheme == "https":
            raise InputError(
                f"{self.url}: needs a key; put it into the variable {self.key_variable}"
            )

    def start(
        self,
        model: str,
        max_model_len: int,
        encoder: PromptEncoder,
        secret: Secret,
        spend: Spend | None,
    ) -> Engine:
        from annotation.engines.endpoint_engine import EndpointEngine  # brings OpenAI's client

        harmless = Document("Night trains", "A sleeper leaves Paris for Vienna at nine.")
        [control] = encoder.encode([("night train to Vienna", [harmless])], max_model_len)
        return EndpointEngine(self, model, secret, control, spend)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
