"""What servers reply, in the shapes that they have been seen to reply in."""

import math
from typing import Any

import pytest

from annotation.asking.ask import CHOICES
from annotation.engines.base import Answer, Json
from annotation.engines.endpoint_replies import fill_answer, one_line, read_reply, read_usage

JSON_FORM = Json('{"type": "object"}', 50)
LIST = '{"1": 2, "2": 0}'


def place(token: str, *likeliest: tuple[str, float]) -> dict[str, Any]:
    return {"token": token, "top_logprobs": [{"token": t, "logprob": p} for t, p in likeliest]}


GRADED = place("2", ("2", -0.1), ("3", -2.5), ("1", -4.0), ("0", -6.0))


def completion(
    content: Any, *places: dict[str, Any], finish: str = "stop", **message: Any
) -> dict[str, Any]:
    choice: dict[str, Any] = {"message": {"content": content, **message}, "finish_reason": finish}
    return {"choices": [choice | {"logprobs": {"content": list(places)} if places else None}]}


def read(reply: dict[str, Any], form: Any = CHOICES) -> Answer:
    answer = Answer()
    fill_answer(answer, read_reply(reply), form)
    return answer


@pytest.mark.parametrize(
    ("text", "grade"),
    [("2", "2"), (" 2", "2"), ("**2**", "2"), ('"2".', "2"), ("2 - in part", "2")]
    + [("Grade: 3", "3"), ("**Relevance grade:** 1", "1"), ("评分：2", "2"), ("3.0", "3")]
    + [("2,00", "2"), ('{"grade": 3}', "3"), ("```\n2\n```", "2"), ("```json\n2\n```", "2")]
    + [("2.5", None), ("1-2", None), ("1 or 2", None), ("-3", None), ("30", None), ("It", None)]
    + [("3.05", None), ("Grade: -3", None), ("Grade: 4", None), ("At 3: trains", None)]
    + [("Documents: 2", None), ("3/3", None), ("2.0-3.0", None), ("Grade 3", "3")]
    + [("The grade is **2**", "2"), ("7 out of 10", None), ("3 out of 10", None), ("2 of 3", None)]
    + [("2或3", None), ("1～2", None), ("answer has 2 parts", None)]
    + [("1. Grade: 3", "3"), ("1) **Grade:** 3", "3"), ("**1.** Grade: 3", "3")]
    + [("Document 1: grade 3", "3"), ("[1] Grade: 3", "3"), ("1 - score of 2", None)]
    + [("2. The grade is 2", "2"), ("1. Grade: 4", None), ("1、评分：3", "3")]
    + [("1\n\nGrade: 3", None), ("1. It names trains.\nGrade: 3", None)]
    + [("2. It names trains.\nGrade: 2", "2"), ("2 (grade 2 of 3)", "2")],
)
def test_only_an_answer_that_names_one_grade_is_taken(text: str, grade: str | None) -> None:
    answer = read(completion(text))
    assert answer.text == grade
    assert (answer.error is None) == (grade is not None)


@pytest.mark.parametrize(
    ("content", "message", "reasoning"),
    [
        ("<think>\nAbout {1: 3} trains.\n</think>\n\n", {}, "About {1: 3} trains."),
        ("<think>\n\n</think>\n\n", {}, None),
        ("it says 3</think>", {}, "it says 3"),
        ("[THINK]3?[/THINK]", {}, "3?"),
        ("◁think▷3?◁/think▷", {}, "3?"),
        ("<seed:think>3?</seed:think>\n", {}, "3?"),
        ("<|START_THINKING|>3?<|END_THINKING|>", {}, "3?"),
        ("<think>a</think><think>b</think>", {}, "a</think><think>b"),
        ("", {"reasoning_content": "1 or 3?"}, "1 or 3?"),
        ("", {"reasoning": "1 or 3?", "reasoning_content": None}, "1 or 3?"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}], {}, "hm"),
        ([{"type": "thinking", "thinking": []}], {}, None),
        ([{"type": "reasoning", "text": "hm"}], {}, "hm"),
    ],
)
@pytest.mark.parametrize(("answered", "form"), [("2", CHOICES), (LIST, JSON_FORM)])
def test_a_thought_is_read_apart(
    content: Any, message: dict[str, Any], reasoning: str | None, answered: str, form: Any
) -> None:
    if isinstance(content, list):
        content = [*content, {"type": "text", "text": answered}]
    else:
        content += answered
    answer = read(completion(content, **message), form)
    assert (answer.text, answer.reasoning, answer.error) == (answered, reasoning, None)


@pytest.mark.parametrize("content", ["<think> 2 or", "", None, [], [{"type": "thinking"}]])
def test_an_answer_that_the_thought_leaves_no_room_for_is_none(content: Any) -> None:
    answer = read(completion(content, finish="length"))
    assert answer.text is None
    assert answer.error == "answer: was cut before it began; it needs more --reasoning_tokens"
    assert read(completion("", finish="stop")).error == "answer: is empty"


@pytest.mark.parametrize(
    "reply",
    [
        completion(None, refusal="not this one"),
        completion([{"type": "refusal", "refusal": "not this one"}]),
        completion("", refusal="not this\none"),
    ],
)
def test_a_refusal_is_an_answer_that_says_no(reply: dict[str, Any]) -> None:
    assert read(reply).error == "refused: not this one"
    filtered = read(completion(None, finish="content_filter"))
    assert filtered.error == "refused: the server filtered the answer"


BELIEF = [-6.0, -4.0, -0.1, -2.5]
MASS = math.exp(-0.1) + math.exp(-2.5) + math.exp(-4) + math.exp(-6)  # 1.0076, so 1


def test_log_probabilities_are_of_the_answer_and_not_of_the_thought() -> None:
    thought = [place(t, (t, -0.2), ("0", -3)) for t in ("I", " see", " 2", "</think>", "\n")]
    apart = completion("2", *thought, GRADED, reasoning_content="I see 2")
    within = completion("I see 2</think>\n2", *thought, GRADED, place("<|im_end|>"))
    labelled = completion("Grade: 2", place("Grade"), place(":", ("2", -9)), GRADED)
    blank = completion(" 2", GRADED | {"token": "▁2"})
    for reply in (completion("2", GRADED), apart, within, labelled, blank):
        answer = read(reply)
        assert answer.log_probabilities == pytest.approx(BELIEF)
        assert answer.answered_mass == 1.0


def test_the_mass_is_what_the_choices_had_before_they_were_normalised() -> None:
    # 2 is thought of with and without a blank; 0 and 1 are at most as likely as the least told.
    likeliest = [("It", -0.5), (" 2", math.log(0.1)), ("2", math.log(0.2)), ("3", math.log(0.05))]
    answer = read(completion("2", place(" 2", *likeliest)))
    assert answer.log_probabilities == pytest.approx(np_log(0.05, 0.05, 0.3, 0.05))
    assert answer.answered_mass == pytest.approx(0.35)


def np_log(*values: float) -> list[float]:
    return [math.log(value) for value in values]


@pytest.mark.parametrize(
    "places",
    [[], [place("3", ("3", -1))], [place("2")], [{"token": None}], [place("2", ("2", math.nan))]]
    + [[{"token": "2", "top_logprobs": None}], [{"token": "2", "top_logprobs": [3]}]],
)
def test_log_probabilities_that_are_not_there_leave_the_grade(places: list[Any]) -> None:
    answer = read(completion("2", *places))
    assert (answer.text, answer.log_probabilities, answer.answered_mass) == ("2", None, None)


def test_usage_is_read_as_far_as_it_is_told() -> None:
    told = {"prompt_tokens": 50, "completion_tokens": 3, "total_tokens": 53}
    usage = read_usage({"usage": told | {"prompt_tokens_details": {"cached_tokens": 32}}})
    assert (usage.read, usage.cached, usage.written) == (50, 32, 3)
    thought_in_the_total = read_usage({"usage": told | {"total_tokens": 353}})
    assert thought_in_the_total.written == 303
    for otherwise in ({"input_tokens": 50, "output_tokens": 3}, {"prompt_tokens": 50.0}):
        usage = read_usage({"usage": {"completion_tokens": 3.0} | otherwise})
        assert (usage.read, usage.written) == (50, 3)
    nothings: list[Any] = [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "50"}, []]
    for nothing in nothings:
        usage = read_usage({"usage": nothing})
        assert (usage.read, usage.cached, usage.written) == (0, 0, 0)


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}])
def test_what_is_no_completion_is_refused(reply: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no chat completion|without a message"):
        read_reply(reply)


def test_what_a_server_writes_cannot_command_a_terminal_or_break_a_table() -> None:
    answer = read(
        completion("\x1b]0;gone\x07 {}\ud800", reasoning_content="a\x1b[31m\nb"), JSON_FORM
    )
    assert answer.text == "]0;gone  {}?"
    assert answer.reasoning == "a [31m\nb"
    refused = read(completion(None, refusal="\x1b[2Jno\u202e\x9b"))
    assert refused.error == "refused: [2Jno"
    assert one_line("x" * 10_000) == "x" * 300
