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
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from openai.types.chat import ChatCompletion
from transformers import PreTrainedTokenizerFast

from annotation.annotate import annotate
from annotation.asking import CHOICES
from annotation.encoding import EncodedPrompt, PromptEncoder
from annotation.endpoint import (
    Endpoint,
    EndpointEngine,
    _read_completion,
)
from annotation.engine import Answer, Json, OneOf, Secret
from annotation.prompts import load_prompt
from annotation.vllm_engine import engine_environment
from corpus.errors import InputError
from corpus.tables import read_table
from tests.annotation.conftest import DOCUMENTS, QUERIES

KEY = "sk-a-secret-of-the-test"
TOKENS = 7  # that a good answer says it has read; it has written one
USAGE = {"prompt_tokens": TOKENS, "completion_tokens": 1, "total_tokens": TOKENS + 1}


class Misbehaving(BaseHTTPRequestHandler):
    """Does what the message says; "twice" and "once" say how often before it answers well."""

    seen: ClassVar[Counter[str]]
    keys: ClassVar[set[str]]
    bodies: ClassVar[list[dict[str, Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = body["messages"][0]["content"]
        self.seen[message] += 1
        self.keys.add(self.headers["Authorization"])
        self.bodies.append(body)
        times = self.seen[message]
        if message == "busy twice" and times <= 2:
            self._reply(429, {"error": {"message": "too many"}}, {"Retry-After": "0"})
        elif message == "broken once" and times <= 1:
            self._reply(500, {"error": {"message": "oops"}})
        elif message == "cut once" and times <= 1:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
        elif message == "always broken":
            self._reply(503, {"error": {"message": "down"}})
        elif message == "nonsense":
            self._reply(200, "<html>Welcome to the proxy</html>")
        elif message == "empty":
            self._reply(200, {"choices": []})
        elif message == "unknown model":
            self._reply(404, {"error": {"message": "no such model"}})
        elif message == "refused":
            self._reply(400, {"error": {"message": "content filter"}})
        elif message == "essay":
            self._reply(200, _completion("It depends."))
        else:
            if message == "late":
                time.sleep(4)
            self._reply(200, _completion("2"))

    def _reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header(
                "Content-Type", "text/html" if isinstance(body, str) else "application/json"
            )
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except BrokenPipeError:
            pass  # the client has given up waiting

    def log_message(self, *_: Any) -> None:
        pass


def _completion(text: str) -> dict[str, Any]:
    top = [{"token": "2", "logprob": -0.1}, {"token": " 3", "logprob": -2.5}]
    content = [{"token": "2", "logprob": -0.1, "top_logprobs": top}]
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": content},
    }
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": USAGE,
    }


@pytest.fixture
def server() -> Iterator[str]:
    Misbehaving.seen, Misbehaving.keys, Misbehaving.bodies = Counter(), set(), []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()


def ask(url: str, *messages: str, form: OneOf | Json = CHOICES, **settings: Any) -> list[Any]:
    endpoint = Endpoint(url, timeout=2, **{"retries": 3, **settings})
    engine = EndpointEngine(endpoint, "m", Secret(KEY))
    prompts = [EncodedPrompt(message, [1] * TOKENS, [False]) for message in messages]
    return engine.answer(prompts, [form] * len(prompts))


def test_what_passes_is_asked_again_and_what_does_not_costs_itself_only(server: str) -> None:
    messages = ["good", "busy twice", "broken once", "cut once", "nonsense", "empty", "late"]
    answers = ask(server, *messages, "always broken", "essay", retries=2)
    answers += ask(server, "refused")
    errors = [answer.error and answer.error.partition(":")[0] for answer in answers]
    assert errors == [None] * 4 + ["engine"] * 4 + ["answer", "prompt"]
    assert [answer.text for answer in answers[:4]] == ["2"] * 4
    assert Misbehaving.seen["busy twice"] == 3
    assert Misbehaving.seen["broken once"] == 2
    assert Misbehaving.seen["cut once"] == 2
    assert Misbehaving.seen["always broken"] == 3
    assert Misbehaving.seen["late"] == 3
    assert Misbehaving.seen["good"] == 1


def test_log_probabilities_are_those_where_the_grade_stands(server: str) -> None:
    [answer] = ask(server, "good")
    assert answer.log_probabilities == [-2.5, -2.5, -0.1, -2.5]  # 0 and 1 are at most as likely
    assert (answer.prompt_tokens, answer.answer_tokens) == (TOKENS, 1)


def test_a_list_answer_is_asked_for_by_its_schema_and_fields_are_passed_on(server: str) -> None:
    ask(server, "good", form=Json('{"type": "object"}', 50), fields={"reasoning_effort": "low"})
    [body] = Misbehaving.bodies
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["max_completion_tokens"] == 50
    assert body["reasoning_effort"] == "low"
    assert body["temperature"] == 0


def test_never_are_more_tokens_spent_than_the_budget_allows(server: str) -> None:
    answers = ask(server, *["good"] * 10, token_budget=5 * (TOKENS + 1) + 3, concurrency=4)
    assert [answer.error for answer in answers[:5]] == [None] * 5
    assert {answer.error for answer in answers[5:]} == {"budget: 43 tokens are spent"}
    assert Misbehaving.seen["good"] == 5


def test_a_server_that_knows_no_such_model_stops_the_job(server: str) -> None:
    endpoint = Endpoint(server, concurrency=1)
    engine = EndpointEngine(endpoint, "m", Secret(KEY))
    messages = ["good", "unknown model", "good"]
    prompts = [EncodedPrompt(message, [1] * TOKENS, [False]) for message in messages]
    answers = engine.answer(prompts, [CHOICES] * 3)
    assert [answer.text for answer in answers] == ["2", None, None], "what was paid for is kept"
    assert "no such model" in engine.closed
    assert {answer.error for answer in engine.answer(prompts, [CHOICES] * 3)} == {engine.closed}
    assert Misbehaving.seen["good"] == 1


def test_after_many_failures_in_a_row_the_job_stops(server: str) -> None:
    engine = EndpointEngine(Endpoint(server, retries=0, concurrency=4), "m", Secret(KEY))
    prompts = [EncodedPrompt("always broken", [1] * TOKENS, [False])] * 200
    answers = engine.answer(prompts, [CHOICES] * 200)
    assert {answer.error.partition(":")[0] for answer in answers} == {"engine"}
    assert 50 <= Misbehaving.seen["always broken"] < 60
    assert re.search("50 requests in a row failed.*down", engine.closed)


@pytest.mark.parametrize(
    ("text", "grade"),
    [("2", "2"), (" 2", "2"), ("**2**", "2"), ('"2".', "2"), ("2 - in part", "2")]
    + [("2.5", None), ("1-2", None), ("1 or 2", None), ("-3", None), ("30", None), ("It", None)],
)
def test_only_an_answer_that_names_one_grade_is_taken(text: str, grade: str | None) -> None:
    answer = Answer()
    _read_completion(ChatCompletion.model_validate(_completion(text)), CHOICES, answer)
    assert answer.text == grade
    assert (answer.error is None) == (grade is not None)


def test_a_reply_that_cannot_be_read_has_its_price_all_the_same() -> None:
    reply = _completion("")
    reply["choices"][0]["message"]["content"] = None
    answer = Answer()
    with pytest.raises(ValueError, match="an empty answer"):
        _read_completion(ChatCompletion.model_validate(reply), CHOICES, answer)
    assert (answer.prompt_tokens, answer.answer_tokens) == (TOKENS, 1)


def test_log_probabilities_that_are_not_there_leave_the_grade() -> None:
    for lacking in ({"content": None}, None):
        reply = _completion("2")
        reply["choices"][0]["logprobs"] = lacking
        answer = Answer()
        _read_completion(ChatCompletion.model_validate(reply), CHOICES, answer)
        assert (answer.text, answer.log_probabilities) == ("2", None)


def test_the_key_reaches_the_server_and_nothing_else(server: str) -> None:
    ask(server, "good")
    assert Misbehaving.keys == {f"Bearer {KEY}"}
    assert KEY not in repr(Secret(KEY))


def test_without_a_key_a_far_server_is_refused(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    endpoint = Endpoint("https://api.example.org/v1", key_variable="JUDGE_KEY")
    encoder = PromptEncoder(tokenizer, load_prompt())
    with pytest.raises(InputError, match="JUDGE_KEY"):
        endpoint.check(encoder, OneOf)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    endpoint.check(encoder, OneOf)


@pytest.mark.parametrize(
    "setting",
    [{"url": "api.example.org"}, {"concurrency": 0}, {"timeout": 0}, {"retries": -1}]
    + [{"token_budget": 0}],
)
def test_an_endpoint_that_will_not_do_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        Endpoint(**{"url": "http://localhost:1/v1", **setting})


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

    first = run(budget=1_500, resume=False)
    answered = first.filter(pc.is_valid(first["grade"])).num_rows
    assert 50 < answered < 300
    assert "--resume" in capsys.readouterr().out
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
    with pytest.raises(InputError, match=r"no pair was answered: engine: .*onnection"):
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
