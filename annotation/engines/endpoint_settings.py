"""What a user says of a server of chat completions: its address, its key, its limits."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from annotation.engines.endpoint_policy import LENGTH_FIELDS
from corpus.errors import InputError

# Fields that would change how often or in what shape a server answers.
OWN_FIELDS = ("model", "messages", "stream", "n")
HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)


@dataclass(frozen=True)
class EndpointSettings:
    """A server that speaks OpenAI's chat completions: OpenAI, vLLM, TGI, llama.cpp and others.

    The key is taken from the environment and is never stored or printed. A redirect is not
    followed, so that prompts go to no other host than the one that is named here.

    What `token_budget` bounds: for each reply the tokens read and written, as the server counts
    them or as the tokenizer here does, whichever is more; for a reply that tells no count, and for
    each attempt that may have been worked on and brought none (a time-out, a cut connection, an
    error of the server), all that it could have cost. Attempts that the server turned away (a
    status of 3xx or 4xx) cost nothing. Before a request is sent, all that it could cost must be
    left, by the tokenizer here and by how many more tokens the server was seen to count. The first
    request is sent alone, to learn that; only it, and those of which the server then counts yet
    more, can go beyond. The count is kept in the output folder, so that it covers restarts and
    every `--resume`.

    Attributes:
        url: address of the server up to the version, such as https://api.openai.com/v1; with a
            query where the server needs one, such as
            https://host/openai/deployments/judge?api-version=2024-10-21.
        measured_by: Hugging Face id or folder of the tokenizer that measures texts; by default
            the model's. One of about the same size will do: it decides where texts are cut and what
            a request is expected to cost.
        concurrency: the largest number of requests that are open at the same time.
        timeout: time limit of a request in seconds.
        retries: how often a request is repeated, with growing pauses, after 408, 409, 429, 5xx, a
            cut connection or a time-out; as long as others are answered, 429 is waited out.
        token_budget: the limit of prompt and generated tokens of a job with its resumed runs; None
            for no limit.
        log_probabilities: ask for log-probabilities; without them pointwise grades have no
            confidence.
        key_variable: the environment variable that holds the key.
        key_header: the header that the key is sent in, such as api-key; by default it is sent as
            Authorization: Bearer.
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
    key_header: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port  # which is checked when it is read
        except ValueError as error:
            raise InputError(f"url is no address: {error}") from None
        if parts.username is not None or parts.password is not None:
            raise InputError(
                "url must hold no name or password: put the key into the variable "
                f"{self.key_variable}"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"url must begin with http:// or https:// and a host, not {self.url!r}"
            )
        least_values = {"concurrency": 1, "retries": 0, "timeout": 1e-3, "token_budget": 1}
        for name, least in least_values.items():
            if (value := getattr(self, name)) is not None and not value >= least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        for name in OWN_FIELDS:
            if name in self.fields:
                raise InputError(f"fields may not set {name}, which is Tandem's own to set")
        try:
            json.dumps(self.fields, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"fields can hold only what JSON can: {error}") from None
        if self.key_header is not None and not HEADER_NAME.fullmatch(self.key_header):
            raise InputError(f"key_header is no name of a header: {self.key_header!r}")
        for name in LENGTH_FIELDS:
            value = self.fields.get(name, 1)
            if type(value) is not int or value < 1:
                raise InputError(f"fields: {name} must be a whole number of tokens, not {value!r}")
