"""When a stream of annotated batches ends."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from annotation.actor import Annotator, until_closed, until_failing
from annotation.asking.ask import CHOICES, Asking
from annotation.engines.base import Answer, AnswerForm, Secret
from annotation.engines.endpoint import Endpoint
from annotation.engines.vllm import VllmPool
from annotation.judge import Judge
from annotation.pool import part_texts
from annotation.prompts.prompt import Document, load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder
from corpus.errors import InputError
from corpus.tables import read_collection

SPENT = "budget: 1,500 tokens are spent"


def batches(*columns: tuple[str, int, int, str]) -> Iterator[pa.Table]:
    """Batches of two rows, from actor, number, begun and closed of each."""
    for actor, number, begun, closed in columns:
        row = {"doc_id": f"{actor}{number}", "actor": actor, "number": number, "begun": begun}
        yield pa.Table.from_pylist([row | {"closed": closed, "notes": "about 1\nabout 2"}] * 2)


def passed(answers: Iterator[pa.Table]) -> list[str]:
    return [table["doc_id"][0].as_py() for table in until_closed(answers)]


def test_an_open_engine_ends_nothing() -> None:
    order = [("a", 1, 2, ""), ("a", 0, 2, ""), ("b", 0, 1, ""), ("a", 2, 3, "")]
    assert passed(batches(*order)) == ["a1", "a0", "b0", "a2"]
    assert next(until_closed(batches(*order))).column_names == ["doc_id"]


def test_what_engines_note_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    passed(batches(("a", 0, 1, ""), ("b", 0, 1, ""), ("a", 1, 2, "")))
    assert capsys.readouterr().out == "about 1\nabout 2\n"


def failing(*errors: str | None, closed: str = "", queries: int = 5) -> pa.Table:
    rows = {"error": pa.array(errors, pa.string()), "closed": [closed] * len(errors)}
    return pa.table(rows | {"query_id": [f"q{row % queries}" for row in range(len(errors))]})


def test_a_job_that_mostly_fails_is_stopped() -> None:
    parts = [failing(*[None] * 60, *["refused: no"] * 40), failing(*["answer: none"] * 100)]
    passing = until_failing(iter([*parts, *parts]), 0.5)
    assert [next(passing) for _ in parts] == parts, "what was answered is passed on"
    with pytest.raises(InputError, match=r"140 of the first 200 pairs.*0.5 allows.*answer: none"):
        next(passing)


@pytest.mark.parametrize(
    "parts",
    [
        [failing(*["prompt: too long"] * 199)],
        [failing(*["refused: no"] * 900, queries=4)],
        [failing(*[None] * 100, *["refused: no"] * 100)],
        [failing(*[None] * 200), failing(*["budget: 7 tokens are spent"] * 900)],
        [failing(*[None] * 200), failing(*["engine: gone"] * 900, closed="engine: gone")],
    ],
)
def test_a_job_that_fails_in_part_goes_on(parts: list[pa.Table]) -> None:
    assert list(until_failing(iter(parts), 0.5)) == parts


def test_what_was_answered_before_a_budget_was_spent_is_waited_for() -> None:
    # Batches 0 and 1 were in work; 1 was answered first, and 0 saw the budget end and came first.
    # 2 was begun thereafter, and so was 3, which is never taken.
    answers = batches(("a", 0, 2, SPENT), ("a", 2, 3, SPENT), ("a", 1, 2, ""), ("a", 3, 4, SPENT))
    assert passed(answers) == ["a0", "a2", "a1"]
    assert next(answers)["number"][0].as_py() == 3


def test_an_actor_that_was_started_again_is_waited_for_by_itself() -> None:
    before = [("a", 0, 2, ""), ("a", 1, 2, "")]
    answers = batches(*before, ("b", 0, 2, SPENT), ("b", 1, 2, ""), ("b", 2, 3, SPENT))
    assert passed(answers) == ["a0", "a1", "b0", "b1"]
    # Batch 1 of the first, which was closed, was lost with it.
    answers = batches(("a", 0, 2, SPENT), ("b", 0, 1, SPENT), ("b", 1, 2, SPENT))
    assert passed(answers) == ["a0", "b0"]


def test_a_refusal_is_told_after_all_answers() -> None:
    refusal = "engine: NotFoundError: no such model"
    order = [("a", 1, 2, refusal), ("a", 0, 2, refusal), ("a", 2, 3, refusal)]
    passing = until_closed(batches(*order))
    assert [next(passing)["doc_id"][0].as_py() for _ in range(2)] == ["a1", "a0"]
    with pytest.raises(InputError, match="the judge does not answer: NotFoundError: no such"):
        next(passing)


class ClosingEngine:
    """Answers its first call, once it may, and is closed thereafter."""

    notes: Sequence[str] = ()

    def __init__(self) -> None:
        self.closed = ""
        self.asked, self.may_answer = Event(), Event()

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        if self.asked.is_set():
            self.closed = SPENT
            return [Answer(error=SPENT) for _ in prompts]
        self.asked.set()
        self.may_answer.wait(60)
        return [Answer(text="2") for _ in prompts]


class Recording:
    """Keeps the forms that it is asked for."""

    closed = ""

    def __init__(self) -> None:
        self.forms: list[AnswerForm] = []

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        self.forms += forms
        return [Answer(text="2") for _ in prompts]


def test_room_to_think_is_given_to_each_answer_and_taken_from_its_prompt(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    engine = Recording()
    encoder = PromptEncoder(tokenizer, load_prompt(), reasoning=True)
    asking = Asking(engine, encoder, 600, 1, seed=0, thinking=150)
    [(prompt, answer)] = asking.ask([("trains", [Document("", "Vienna " * 1000)])], CHOICES)
    assert engine.forms == [replace(CHOICES, thinking=150)]
    assert 400 < len(prompt.token_ids) <= 600 - 150 - CHOICES.max_tokens
    assert answer.text == "2"


def test_a_thought_that_leaves_no_room_for_a_prompt_is_refused() -> None:
    judge = Judge("m", "m", VllmPool(), "pointwise", load_prompt(), 500, 1, seed=0, thinking=496)
    with pytest.raises(InputError, match=r"500 of the 500 tokens.*lower --reasoning_tokens"):
        judge.check(1)


@dataclass(frozen=True)
class Closing(Endpoint):
    engine: ClosingEngine | None = None

    def start(self, *_: Any) -> Any:
        return self.engine


def test_two_batches_in_work_when_the_engine_is_closed_are_both_passed_on(
    collection_folder: Path, random_model: Path
) -> None:
    tables = read_collection(collection_folder)
    engine = ClosingEngine()
    choice = Closing("http://localhost:1/v1", str(random_model), engine=engine)
    judge = Judge("m", "m", choice, "pointwise", load_prompt(), 500, 1, seed=0)
    annotator = Annotator(judge, Secret())
    rows = np.repeat(np.arange(3), 3)
    pairs = pa.table({"part": rows, "query_row": rows, "doc_row": np.tile(np.arange(3), 3)})
    parts = list(part_texts(pairs, tables))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(annotator.annotate, parts[0])
        assert engine.asked.wait(60)
        second = threads.submit(annotator.annotate, parts[1])
        engine.may_answer.set()
        answered, refused = first.result(), second.result()
    later = annotator.annotate(parts[2])
    assert answered["error"].null_count == 3
    assert refused["error"].to_pylist() == [SPENT] * 3
    kept = list(until_closed(iter([refused, answered, later])))
    assert [table["part"][0].as_py() for table in kept] == [1, 0]
