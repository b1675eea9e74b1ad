"""The key and the address of an endpoint: where they go, and which are refused."""

from datetime import date
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from annotation.engines.base import OneOf, Secret
from annotation.engines.endpoint import Endpoint
from annotation.prompts.prompt import load_prompt
from annotation.prompts.prompt_encoder import PromptEncoder
from corpus.errors import InputError
from tests.annotation.engines.conftest import KEY, Misbehaving, answer, kinds, start


def test_the_key_reaches_the_server_and_nothing_else(server: str) -> None:
    answer(start(server), "good")
    assert Misbehaving.keys == {(f"Bearer {KEY}", None)}
    assert KEY not in repr(Secret(KEY))


def test_a_key_can_be_sent_in_a_header_of_its_own_to_an_address_with_a_version(server: str) -> None:
    url = server.replace("/v1", "/openai/deployments/judge?api-version=2024-10-21")
    assert kinds(answer(start(url, key_header="api-key"), "good")) == [None]
    assert Misbehaving.keys == {(None, KEY)}
    whole = url.replace("?", "/chat/completions?")
    assert kinds(answer(start(whole, key_header="api-key"), "good")) == [None]
    path = "/openai/deployments/judge/chat/completions?api-version=2024-10-21"
    assert Misbehaving.paths == {path}


def test_without_a_key_none_is_sent(server: str) -> None:
    answer(start(server, key=""), "good")
    answer(start(server, key="", key_header="api-key"), "good")
    assert Misbehaving.keys == {(None, None)}


@pytest.mark.parametrize(
    ("url", "key", "refused"),
    [
        ("https://api.example.org/v1", None, "needs a key; put it into the variable JUDGE_KEY"),
        ("https://api.example.org/v1", KEY, None),
        ("https://api.example.org/v1", "sk-ключ", "printable ASCII"),
        ("http://api.example.org/v1", KEY, "unencrypted; use https://.*--engine.key_variable NONE"),
        ("http://127.0.0.1.example.org/v1", KEY, "unencrypted"),
        ("http://10.0.0.5:8000/v1", KEY, "unencrypted"),
        ("http://10.0.0.5:8000/v1", None, None),
        ("http://127.0.0.2:8000/v1", KEY, None),
        ("http://[::1]:8000/v1", KEY, None),
        ("http://localhost:8000/v1", f"{KEY}\n", None),
    ],
)
def test_a_key_is_asked_for_and_goes_nowhere_unencrypted(
    url: str,
    key: str | None,
    refused: str | None,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if key is None:
        monkeypatch.delenv("JUDGE_KEY", raising=False)
    else:
        monkeypatch.setenv("JUDGE_KEY", key)
    endpoint = Endpoint(url, key_variable="JUDGE_KEY")
    encoder = PromptEncoder(tokenizer, load_prompt())
    if refused is None:
        endpoint.check(encoder, OneOf)
        assert endpoint.secret().value == (key or "").strip()
    else:
        with pytest.raises(InputError, match=refused):
            endpoint.check(encoder, OneOf)


@pytest.mark.parametrize(
    "setting",
    [{"url": "api.example.org"}, {"url": "http:///v1"}, {"url": "http://host:port/v1"}]
    + [{"concurrency": 0}, {"timeout": 0}, {"timeout": float("nan")}, {"retries": -1}]
    + [{"token_budget": 0}, {"fields": {"stream": True}}, {"fields": {"max_tokens": "7"}}]
    + [{"fields": {"since": date(2024, 1, 1)}}, {"fields": {"top_p": float("nan")}}]
    + [{"key_header": "api key"}, {"key_header": ""}],
)
def test_an_endpoint_that_will_not_do_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        Endpoint(**{"url": "http://localhost:1/v1", **setting})


@pytest.mark.parametrize("user", ["user:password-of-the-test", "password-of-the-test", ":"])
def test_a_password_in_the_address_is_refused_and_not_shown(user: str) -> None:
    with pytest.raises(InputError, match="put the key into the variable OPENAI_API_KEY") as refused:
        Endpoint(f"https://{user}@api.example.org/v1")
    assert "password-of" not in str(refused.value)
