"""The endpoint engine against a local server that misbehaves, and against vLLM's own server."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from transformers import PreTrainedTokenizerFast

from annotation.annotate import annotate
from annotation.asking.ask import CHOICES
from annotation.engines.base import Answer, Json, OneOf, Secret
from annotation.engines.endpoint import Endpoint
from annotation.engines.endpoint_engine import EndpointEngine
from annotation.engines.endpoint_failures import status_failure
from annotation.engines.token_spend import TokenSpend, read_spend
from annotation.engines.vllm_start import engine_environment
from annotation.prompts.prompt import load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder
from corpus.errors import InputError
from corpus.tables import read_table
from tests.annotation.conftest import DOCUMENTS, QUERIES

KEY = "sk-a-secret-of-the-test"
TOKENS = 7  # that a good answer says it has read; it has written one
USAGE = {"prompt_tokens": TOKENS, "completion_tokens": 1, "total_tokens": TOKENS + 1}
COST = TOKENS + 1
MOST = TOKENS + 4  # that an answer could cost

Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


def completion(text: str | None, usage: Any = USAGE, **choice: Any) -> dict[str, Any]:
    top = [{"token": "2", "logprob": -0.1}, {"token": " 3", "logprob": -2.5}]
    content = [{"token": "2", "logprob": -0.1, "top_logprobs": top}]
    message = {"role": "assistant", "content": text}
    said = {"finish_reason": "stop", "message": message, "logprobs": {"content": content}}
    return {"choices": [said | choice], "usage": usage}


def refusal(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


GOOD: Reply = (200, completion("2"))


def strict(body: dict[str, Any], _: int) -> Reply:
    for field in ("max_completion_tokens", "logprobs", "top_logprobs"):
        if field in body:
            return 422, refusal(f"no such field: {field}")
    return GOOD


def reasoner(body: dict[str, Any], _: int) -> Reply:
    if body.get("temperature") not in (None, 1):
        return 400, refusal("takes no temperature but 1", param="temperature")
    if body.get("logprobs"):
        return 400, refusal("gives no logprobs", param="logprobs")
    if body["max_completion_tokens"] < 256:
        return 200, completion("", finish_reason="length")
    return GOOD


# What a server does whose address begins so, from the request and how many it had before.
ODDITIES: dict[str, Callable[[dict[str, Any], int], Reply]] = {
    "strict": strict,
    "reasoner": reasoner,
    "top5": lambda body, _: (422, "at most 5 top_logprobs") if body["top_logprobs"] > 5 else GOOD,
    "no schemas": lambda body, _: (
        GOOD
        if body["response_format"]["type"] == "json_object"
        else (400, refusal("this response_format is not served"))
    ),
    "all refused": lambda *_: (400, refusal("no such thing")),
    "dies": lambda _, before: GOOD if before == 0 else (503, "down"),
    "rate": lambda _, before: (429, "slow", {"Retry-After-Ms": "20"}) if before % 3 else GOOD,
    "for days": lambda *_: (429, "later", {"Retry-After": "86400"}),
    "no money": lambda *_: (429, refusal("pay first", code="insufficient_quota")),
    "wrong key": lambda *_: (401, refusal(f"{KEY} is no key of ours\x1b[2J")),
    "no such address": lambda *_: (405, "Method Not Allowed"),
    "redirect": lambda *_: (307, "", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "counts nothing": lambda *_: (200, completion("2", usage=None)),
    "counts more": lambda *_: (200, completion("2", {"prompt_tokens": 35, "total_tokens": 36})),
}

# What a server does with a message, likewise.
MESSAGES: dict[str, Callable[[int], Reply]] = {
    "busy twice": lambda before: (429, "too many", {"Retry-After": "0"}) if before < 2 else GOOD,
    "broken once": lambda before: (500, refusal("oops")) if before == 0 else GOOD,
    "always broken": lambda _: (503, refusal("down")),
    "nonsense": lambda _: (200, "<html>Welcome to the proxy</html>"),
    "nested": lambda _: (200, "[" * 100_000),
    "empty": lambda _: (200, {"choices": []}),
    "error in a reply": lambda _: (200, refusal("overlong", code=400)),
    "busy in a reply once": lambda n: (200, refusal("slow", code="429")) if n == 0 else GOOD,
    "unknown model": lambda _: (404, refusal("no such model")),
    "bad": lambda _: (400, refusal("prompt is too long")),
    "filtered": lambda _: (400, refusal("no", code="content_filter")),
    "filtered answer": lambda _: (200, completion(None, finish_reason="content_filter")),
    "essay": lambda _: (200, completion("It depends.")),
}


class Misbehaving(BaseHTTPRequestHandler):
    """Does what the first part of its address says, or else what the message says."""

    seen: ClassVar[Counter[str]]
    keys: ClassVar[set[tuple[str | None, str | None]]]
    bodies: ClassVar[list[dict[str, Any]]]
    paths: ClassVar[set[str]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = body["messages"][0]["content"]
        oddity = unquote(self.path.split("/")[1])
        name = oddity if oddity in ODDITIES else message
        before = self.seen[name]
        self.seen[name] += 1
        self.keys.add((self.headers["Authorization"], self.headers["api-key"]))
        self.bodies.append(body)
        self.paths.add(self.path)
        if oddity in ODDITIES:
            self._reply(*ODDITIES[oddity](body, before))
        elif message == "cut once" and before == 0:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
        elif message == "drips":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
            for _ in range(12):
                time.sleep(0.2)
                self.wfile.write(b" ")
        else:
            if message == "late":
                time.sleep(2)
            self._reply(*MESSAGES[message](before) if message in MESSAGES else GOOD)

    def _reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            kind = "text/html" if isinstance(body, str) else "application/json"
            self.send_header("Content-Type", kind)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # the client has given up waiting

    def log_message(self, *_: Any) -> None:
        pass


class Listening(ThreadingHTTPServer):
    request_queue_size = 200  # as real servers have it; a client that finds it full is cut off


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation.engines.endpoint_engine.FIRST_PAUSE", 0.01)


@pytest.fixture
def server() -> Iterator[str]:
    Misbehaving.seen, Misbehaving.keys = Counter(), set()
    Misbehaving.bodies, Misbehaving.paths = [], set()
    running = Listening(("127.0.0.1", 0), Misbehaving)
    threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()


def odd(server: str, oddity: str) -> str:
    return server.replace("/v1", f"/{quote(oddity)}/v1")


def encoded(message: str) -> EncodedPrompt:
    return EncodedPrompt(message, [1] * TOKENS, [False])


def start(url: str, key: str = KEY, spend: Any = None, **settings: Any) -> EndpointEngine:
    endpoint = Endpoint(url, **{"timeout": 30, "retries": 0, **settings})
    return EndpointEngine(endpoint, "m", Secret(key), encoded("harmless"), spend)


def answer(engine: EndpointEngine, *messages: str, form: OneOf | Json = CHOICES) -> list[Answer]:
    return engine.answer([encoded(message) for message in messages], [form] * len(messages))


def kinds(answers: list[Answer]) -> list[str | None]:
    return [answer.error and answer.error.partition(":")[0] for answer in answers]


def test_what_passes_is_asked_again_and_what_does_not_costs_itself_only(server: str) -> None:
    messages = ["good", "busy twice", "broken once", "cut once", "nonsense", "empty", "nested"]
    engine = start(server, retries=2, timeout=1)
    answers = answer(engine, *messages, "error in a reply", "always broken", "bad", "essay", "late")
    assert kinds(answers) == [None] * 4 + ["prompt"] * 6 + ["answer", "engine"]
    assert [answer.text for answer in answers[:4]] == ["2"] * 4
    seen = Misbehaving.seen
    assert min(seen[name] for name in ("broken once", "cut once")) >= 2
    assert min(seen[name] for name in ("busy twice", "late")) >= 3
    assert seen["always broken"] == 4, "once more, after a good prompt was answered"
    assert not engine.closed


def test_a_status_that_stands_in_a_reply_is_heeded(server: str) -> None:
    assert kinds(answer(start(server, retries=1), "busy in a reply once")) == [None]


def test_an_answer_that_comes_drop_by_drop_is_not_waited_for_longer_than_another(
    server: str,
) -> None:
    engine = start(server, timeout=0.7)
    [dripping] = answer(engine, "drips")
    assert dripping.error == "engine: no answer within 0.7 s (timeout)"


def test_log_probabilities_are_those_where_the_grade_stands(server: str) -> None:
    [graded] = answer(start(server), "good")
    assert graded.log_probabilities == [-2.5, -2.5, -0.1, -2.5]  # 0 and 1 are at most as likely
    assert (graded.prompt_tokens, graded.answer_tokens) == (TOKENS, 1)


def test_a_list_answer_is_asked_for_by_its_schema_and_fields_are_passed_on(server: str) -> None:
    form = Json('{"type": "object"}', 50)
    answer(start(server, fields={"reasoning_effort": "low"}), "good", form=form)
    [body] = Misbehaving.bodies
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["max_completion_tokens"] == 50
    assert body["reasoning_effort"] == "low"
    assert body["temperature"] == 0


@pytest.mark.parametrize(
    ("oddity", "found_out", "said"),
    [
        ("strict", 2, "max_tokens takes the place of max_completion_tokens; log-probabilities are"),
        ("reasoner", 3, "its own temperature.*no confidence; the model thinks.*1,024 tokens more"),
        ("top5", 1, "log-probabilities of 5 tokens"),
    ],
)
def test_what_a_server_takes_is_found_out_and_said_once(
    oddity: str, found_out: int, said: str, server: str
) -> None:
    engine = start(odd(server, oddity))
    for _ in range(2):
        assert {late.error for late in answer(engine, *["good"] * 20)} == {None}
    assert Misbehaving.seen[oddity] == 40 + found_out
    [note] = engine.notes
    assert re.search(said, note)


def test_a_model_that_thinks_when_asked_to_has_the_room_that_it_is_given(server: str) -> None:
    engine = start(odd(server, "reasoner"))
    [graded] = answer(engine, "good", form=replace(CHOICES, thinking=500))
    assert graded.text == "2"
    assert Misbehaving.bodies[-1]["max_completion_tokens"] == 504
    assert Misbehaving.seen["reasoner"] == 2, "only log-probabilities had to be left out"


# Budgets


def test_never_are_more_tokens_spent_than_the_budget_allows(server: str) -> None:
    engine = start(server, token_budget=5 * COST + 3, concurrency=4)
    answers = answer(engine, *["good"] * 10)
    assert [answer.error for answer in answers[:5]] == [None] * 5
    assert {answer.error for answer in answers[5:]} == {"budget: 43 tokens do not suffice for more"}
    assert Misbehaving.seen["good"] == 5


def test_a_server_that_counts_nothing_is_counted_for(server: str) -> None:
    answers = answer(start(odd(server, "counts nothing"), token_budget=100), *["good"] * 200)
    # 8 for each, of which 4 might have been written: the twelfth is the last that 11 are left for.
    assert Misbehaving.seen["counts nothing"] == 12
    assert Counter(kinds(answers)) == {None: 12, "budget": 188}
    assert (answers[0].prompt_tokens, answers[0].answer_tokens) == (TOKENS, 1)


def test_a_server_that_counts_more_is_reckoned_with(server: str) -> None:
    answers = answer(start(odd(server, "counts more"), token_budget=200), *["good"] * 100)
    # 36 for each: after the first, 35 + 4 must be left for another.
    assert Misbehaving.seen["counts more"] == 5
    assert Counter(kinds(answers)) == {None: 5, "budget": 95}


def test_attempts_that_may_have_cost_something_are_charged(server: str) -> None:
    engine = start(server, token_budget=3 * MOST + MOST - 1, retries=10)
    assert kinds(answer(engine, "always broken")) == ["budget"]
    assert Misbehaving.seen["always broken"] == 3
    engine = start(server, token_budget=2 * MOST - 1, timeout=0.5, retries=10)
    assert kinds(answer(engine, "late")) == ["budget"]
    assert Misbehaving.seen["late"] == 1


def test_attempts_that_were_turned_away_cost_nothing(server: str) -> None:
    engine = start(server, token_budget=MOST, retries=3)
    assert kinds(answer(engine, "busy twice")) == [None]
    engine = start("http://127.0.0.1:9/v1", token_budget=MOST, retries=1)
    [unreached] = answer(engine, "good")
    assert re.search("engine: .*127.0.0.1:9.*onnect", unreached.error or "")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_users_own_length_of_an_answer_is_reckoned_with(field: str, server: str) -> None:
    engine = start(server, token_budget=TOKENS + 99, fields={field: 100})
    assert kinds(answer(engine, "good")) == ["budget"]
    assert not Misbehaving.seen
    engine = start(server, token_budget=TOKENS + 100, fields={field: 100})
    assert kinds(answer(engine, "good")) == [None]


def test_room_to_think_is_reckoned_with(server: str) -> None:
    engine = start(server, token_budget=MOST + 499)
    assert kinds(answer(engine, "good", form=replace(CHOICES, thinking=500))) == ["budget"]


def test_a_restarted_engine_goes_on_with_the_count(server: str) -> None:
    spend = TokenSpend(3 * COST + 3)
    assert kinds(answer(start(server, spend=spend), "good")) == [None]
    assert spend.reserve(COST), "a request that is open when the engine is lost"
    assert kinds(answer(start(server, spend=spend), *["good"] * 3)) == [None, "budget", "budget"]


# Whose fault


def test_a_server_that_knows_no_such_model_stops_the_job(server: str) -> None:
    engine = start(server, concurrency=1)
    answers = answer(engine, "good", "unknown model", "good")
    assert [answer.text for answer in answers] == ["2", None, None], "what was paid for is kept"
    assert "no such model" in engine.closed
    assert f"asked: {server}/chat/completions" in engine.closed
    assert {late.error for late in answer(engine, "good", "bad")} == {engine.closed}
    assert Misbehaving.seen["good"] == 1


@pytest.mark.parametrize(
    ("oddity", "reason"),
    [
        ("no money", "HTTP 429: pay first"),
        ("no such address", r"HTTP 405: Method Not Allowed \(asked: http://.*/chat/completions\)"),
        ("wrong key", r"HTTP 401: \*\*\* is no key of ours \[2J"),
        ("for days", r"HTTP 429: later \(asks to wait for 86,400 s\)"),
        ("redirect", "sends to http://127.0.0.1:9/elsewhere; .*--engine.url"),
    ],
)
def test_what_no_other_prompt_would_mend_stops_the_job_at_once(
    oddity: str, reason: str, server: str
) -> None:
    engine = start(odd(server, oddity), retries=9)
    assert kinds(answer(engine, *["good"] * 30)) == ["engine"] * 30
    assert Misbehaving.seen[oddity] == 1
    assert re.search(reason, engine.closed)
    assert KEY not in engine.closed
    assert engine.closed.isprintable()


def test_a_server_that_refuses_all_is_soon_given_up(server: str) -> None:
    engine = start(odd(server, "all refused"))
    answers = answer(engine, *["good"] * 200)
    assert kinds(answers) == ["engine"] * 200, "another time they may be answered"
    assert Misbehaving.seen["all refused"] == 10, "five, each beside one that no server minds"
    assert engine.closed == (
        "engine: 5 requests in a row failed, and none was answered; HTTP 400: no such thing"
    )


def test_a_list_is_not_asked_for_without_its_schema_unless_the_user_says_so(server: str) -> None:
    form = Json('{"type": "object"}', 50)
    engine = start(odd(server, "no schemas"))
    first, *others = answer(engine, *["good"] * 20, form=form)
    assert kinds([first, *others]) == ["engine"] * 20
    assert Misbehaving.seen["no schemas"] == 10
    reason = "HTTP 400: this response_format is not served (the schema of the answer; to ask"
    assert reason in (first.error or "")
    assert reason in engine.closed
    asked = start(odd(server, "no schemas"), fields={"response_format": {"type": "json_object"}})
    assert kinds(answer(asked, *["good"] * 20, form=form)) == [None] * 20


def test_a_server_that_answers_no_more_is_given_up(server: str) -> None:
    engine = start(odd(server, "dies"), concurrency=4)
    answers = answer(engine, *["good"] * 200)
    assert kinds(answers) == [None] + ["engine"] * 199
    assert 100 <= Misbehaving.seen["dies"] < 120, "each beside one that was answered before"
    assert re.search("50 requests in a row failed; HTTP 503: down", engine.closed)


@pytest.mark.parametrize(
    ("message", "kind"),
    [("bad", "prompt"), ("filtered", "refused"), ("filtered answer", "refused")],
)
def test_prompts_that_are_not_answered_stop_no_other_wherever_they_stand(
    message: str, kind: str, server: str
) -> None:
    engine = start(server, concurrency=4)
    answers = answer(engine, *[message] * 8, *["good"] * 8, *[message] * 60)
    assert kinds(answers) == [kind] * 8 + [None] * 8 + [kind] * 60
    assert not engine.closed
    # What is left for a resumed job may be these alone.
    again = start(server)
    assert kinds(answer(again, *[message] * 8)) == [kind] * 8
    assert not again.closed


def test_a_server_with_too_much_to_do_is_waited_for(server: str) -> None:
    engine = start(odd(server, "rate"), retries=2)
    assert kinds(answer(engine, *["good"] * 24)) == [None] * 24
    assert Misbehaving.seen["rate"] == 70, "two of three are turned away"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "20"}, 0.02),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "1.5"}, 1.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for_is_read(
    headers: dict[str, str], wait: float | None
) -> None:
    assert status_failure(429, "", "http://host", headers).wait == wait


# Addresses and keys


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


@pytest.mark.slow
def test_a_spent_budget_stops_cleanly_and_resuming_goes_on(
    server: str,
    collection_folder: Path,
    random_model: Path,
    cluster: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"

    def run(budget: int | None, resume: bool) -> pa.Table:
        engine = Endpoint(server, measured_by=str(random_model), token_budget=budget)
        annotate(
            collection_folder,
            output,
            model="m",
            engine=engine,
            max_model_len=600,  # every prompt alone is within the budget, whichever comes first
            batch_size=100,
            resume=resume,
        )
        return read_table(output, "annotations")

    first = run(budget=40_000, resume=False)
    answered = first.filter(pc.is_valid(first["grade"])).num_rows
    assert 50 < answered < 300
    assert "--resume" in capsys.readouterr().out
    spent = read_spend(output / "token_spend.json")
    assert 39_000 < spent <= 40_000
    assert sum(Misbehaving.seen.values()) == answered
    assert run(budget=40_000, resume=True).equals(first), "the budget is of all runs together"
    assert f"{spent:,} of 40,000 tokens of the budget are spent" in capsys.readouterr().out
    whole = run(budget=None, resume=True)
    askable = len(DOCUMENTS) * (len(QUERIES) - 1)  # one query is blank
    assert whole.num_rows == len(DOCUMENTS) * len(QUERIES)
    assert pc.sum(pc.is_valid(whole["grade"])).as_py() == askable
    assert sum(Misbehaving.seen.values()) == askable, "none was paid for twice"
    assert json.loads((output / "job.json").read_text())["complete"]


@pytest.mark.slow
def test_an_endpoint_that_nobody_listens_at_ends_the_job_with_its_reason(
    collection_folder: Path, random_model: Path, cluster: None, tmp_path: Path
) -> None:
    engine = Endpoint("http://127.0.0.1:9/v1", measured_by=str(random_model), retries=0)
    with pytest.raises(
        InputError, match=r"none was answered; http://127.0.0.1:9/v1.*onnect.*--resume"
    ):
        annotate(
            collection_folder,
            tmp_path / "out",
            model="m",
            engine=engine,
            max_pairs=10,
            batch_size=5,
        )
    record = json.loads((tmp_path / "out" / "job.json").read_text())
    assert not record["complete"], "--resume asks again"


@pytest.fixture(scope="module")
def vllm_server(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own OpenAI server with the small judge, whose chat is the bare message."""
    template = tmp_path_factory.mktemp("chat") / "bare.jinja"
    template.write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(random_model), "--served-model-name", "judge"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--chat-template", str(template)]
    command += ["--max-model-len", "1024", "--enforce-eager"]
    # A judge of random weights would write blanks for ever.
    command += [
        "--structured-outputs-config",
        '{"backend": "xgrammar", "disable_any_whitespace": true}',
    ]
    environment = os.environ | engine_environment(gpus=0)
    log = (template.parent / "server.log").open("w")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, (template.parent / "server.log").read_text()[-3000:]
        try:
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).raise_for_status()
            break
        except httpx.HTTPError:
            time.sleep(1)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.slow
def test_vllms_server_gives_the_grades_that_the_pool_gives(
    vllm_server: str, collection_folder: Path, random_model: Path, cluster: None, tmp_path: Path
) -> None:
    # vLLM's own way to hold an answer to choices; this judge often would rather write a word.
    choices = {"structured_outputs": {"choice": ["0", "1", "2", "3"]}}
    endpoint = Endpoint(vllm_server, measured_by=str(random_model), fields=choices)
    annotate(
        collection_folder, tmp_path / "endpoint", model="judge", engine=endpoint, max_model_len=1000
    )
    annotate(collection_folder, tmp_path / "pool", model=str(random_model), max_model_len=1000)
    served, pooled = (read_table(tmp_path / name, "annotations") for name in ("endpoint", "pool"))
    assert served["error"].equals(pooled["error"])
    # bfloat16 and other batches: where two grades are as good as equal, either may win.
    same = pc.equal(served["grade"], pooled["grade"])
    assert pc.mean(same).as_py() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["listwise", "selection", "ranking"])
def test_vllms_server_answers_lists_in_their_form(
    strategy: Any,
    vllm_server: str,
    collection_folder: Path,
    random_model: Path,
    cluster: None,
    tmp_path: Path,
) -> None:
    endpoint = Endpoint(vllm_server, measured_by=str(random_model), timeout=300)
    annotate(
        collection_folder,
        tmp_path / "out",
        model="judge",
        strategy=strategy,
        engine=endpoint,
        max_model_len=1000,
        documents_per_prompt=2,
        max_pairs=90,
    )
    table = read_table(tmp_path / "out", "annotations")
    assert table.num_rows == 90
    asked = table.filter(pc.not_equal(table["query_id"], "q3"))  # whose text is blank
    assert asked.num_rows >= 81
    assert asked["error"].null_count == asked.num_rows
