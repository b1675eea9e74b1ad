"""The endpoint engine against a local server that misbehaves, and against vLLM's own server."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from annotation.annotate import annotate
from annotation.asking.ask import CHOICES
from annotation.engines import endpoint_client
from annotation.engines.base import Json
from annotation.engines.endpoint import Endpoint
from annotation.engines.endpoint_failures import status_failure
from corpus.errors import InputError
from tests.annotation.engines.conftest import (
    KEY,
    TOKENS,
    Misbehaving,
    answer,
    kinds,
    odd,
    start,
)


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


def test_a_reply_without_end_is_not_read_to_its_end(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_client, "MOST_BYTES", 2**14)
    answers = answer(start(server), "good", "long", "long refusal", "packed")
    assert kinds(answers) == [None, "prompt", "prompt", "prompt"]
    assert {one.error for one in answers[1:]} == {"prompt: the reply is longer than 0 MiB"}


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
