"""A local server of chat completions that misbehaves, and how the tests ask it."""

import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import pytest

from annotation.asking.ask import CHOICES
from annotation.engines.base import Answer, Json, OneOf, Secret
from annotation.engines.endpoint import Endpoint
from annotation.engines.endpoint_engine import EndpointEngine
from annotation.prompts.prompt_encoder import EncodedPrompt

KEY = "sk-a-secret-of-the-test"
TOKENS = 7  # that a good answer says it has read; it has written one
USAGE = {"prompt_tokens": TOKENS, "completion_tokens": 1, "total_tokens": TOKENS + 1}
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
    "long": lambda _: (200, completion("2" * 100_000)),
    "long refusal": lambda _: (400, "no " * 100_000),
    "packed": lambda _: (200, gzip.compress(b" " * 100_000), {"Content-Encoding": "gzip"}),
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
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        content = text.encode() if isinstance(text, str) else text
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
