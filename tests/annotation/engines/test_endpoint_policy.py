"""What is asked after a server has refused a parameter, by the words that servers refuse with."""

import json
from dataclasses import replace
from typing import Any

import pytest

from annotation.asking.ask import CHOICES
from annotation.engines.base import AnswerForm, Json
from annotation.engines.endpoint_policy import ROOM_TO_THINK, Parameters, remedy

FORM = Json('{"type": "object"}', 50)
FIRST = Parameters()


def after(refusal: Any, form: AnswerForm = CHOICES, parameters: Parameters = FIRST) -> Any:
    words = refusal if isinstance(refusal, str) else json.dumps(refusal)
    return parameters.after_refusal(words, parameters.request("m", "prompt", form, {}), {})


def test_a_first_request_asks_for_all() -> None:
    body = FIRST.request("m", "prompt", CHOICES, {})
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "prompt"}],
        "max_completion_tokens": 4,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    schema = FIRST.request("m", "prompt", FORM, {})["response_format"]["json_schema"]
    assert schema == {"name": "answer", "strict": True, "schema": {"type": "object"}}


def test_a_judge_that_thinks_has_its_own_temperature_and_room() -> None:
    body = FIRST.request("m", "prompt", replace(CHOICES, thinking=500), {})
    assert "temperature" not in body
    assert body["max_completion_tokens"] == 504


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ({"message": "no such field: max_completion_tokens"}, {"length_field": "max_tokens"}),
        (
            {"message": "Unsupported value: 'temperature' does not support 0 with this model."},
            {"temperature": False},
        ),
        (
            {"param": "logprobs", "message": "temperature and logprobs: see max_completion_tokens"},
            {"top_log_probabilities": 0},
        ),
        ("logprobs is not supported by this model", {"top_log_probabilities": 0}),
        ("Logprobs is not enabled for this model", {"top_log_probabilities": 0}),
        ("Log probabilities are not served", {"top_log_probabilities": 0}),
        ("unknown key maxCompletionTokens", {"length_field": "max_tokens"}),
        ("top_logprobs must be at most 5", {"top_log_probabilities": 5}),
        ("top_logprobs: expected a value between 0 and 8.", {"top_log_probabilities": 8}),
        ("too many top_logprobs", {"top_log_probabilities": 5}),
        (
            {"detail": [{"loc": ["body", "top_logprobs"], "input": 20, "ctx": {"le": 11}}]},
            {"top_log_probabilities": 11},
        ),
        (
            "Requested sample logprobs of 20, which is greater than max allowed: 10",
            {"top_log_probabilities": 10},
        ),
        (
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]},
            {"length_field": "max_tokens"},
        ),
        (
            "Could not finish the message because max_tokens or model output limit was reached.",
            {"room_to_think": ROOM_TO_THINK},
        ),
    ],
)
def test_what_a_refusal_names_is_left_out_or_replaced(
    refusal: Any, expected: dict[str, Any]
) -> None:
    assert after(refusal) == replace(FIRST, **expected)


def test_log_probabilities_that_are_refused_again_are_left_out() -> None:
    five = after("too many top_logprobs")
    assert after("too many top_logprobs", parameters=five).top_log_probabilities == 0


@pytest.mark.parametrize(
    "refusal", ["this response_format is not served", "json_schema is unknown", "structured output"]
)
def test_the_schema_of_a_list_is_never_left_out_but_by_the_user(refusal: str) -> None:
    assert after(refusal, FORM) is None
    assert '"response_format": {"type": "json_object"}' in remedy(refusal, FORM)
    fields = {"response_format": {"type": "json_object"}}
    assert FIRST.request("m", "p", FORM, fields)["response_format"] == {"type": "json_object"}


def test_what_has_nothing_to_do_with_a_schema_has_no_such_remedy() -> None:
    assert remedy("this response_format is not served", CHOICES) == ""
    assert remedy("no", FORM) == ""


@pytest.mark.parametrize(
    "refusal", ["no", "", "prompt too long", "use max_tokens", "my_logprobs", {"param": "messages"}]
)
def test_a_refusal_of_nothing_that_was_asked_changes_nothing(refusal: Any) -> None:
    assert after(refusal) is None
    assert after("max_tokens", parameters=replace(FIRST, length_field="max_tokens")) is None


def test_fields_of_the_user_win_and_are_never_changed() -> None:
    fields = {"temperature": 1, "max_tokens": 900}
    body = FIRST.request("m", "prompt", CHOICES, fields)
    assert (body["temperature"], body["max_tokens"]) == (1, 900)
    assert "max_completion_tokens" not in body
    assert FIRST.longest(CHOICES, fields) == 900
    assert FIRST.longest(CHOICES, {"max_completion_tokens": 70}) == 70
    for refusal in ("temperature must be 0", "max_tokens is too large"):
        assert FIRST.after_refusal(refusal, body, fields) is None


def test_what_is_asked_otherwise_is_told_in_words() -> None:
    assert FIRST.differences(FIRST) == []
    others = replace(FIRST, temperature=False, top_log_probabilities=0, room_to_think=100)
    said = "; ".join(others.differences(FIRST))
    assert "its own temperature" in said
    assert "no confidence" in said
    assert "100 tokens more" in said
