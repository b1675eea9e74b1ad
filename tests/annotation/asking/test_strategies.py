"""Verdicts from answers that are known: an engine of the test's own stands in for no vLLM here."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from annotation.asking.ask import Asking, DocumentList, Verdict
from annotation.asking.strategies import STRATEGIES, grade_from_log_probabilities
from annotation.engines.base import Answer, AnswerForm
from annotation.prompts.prompt import Document, StrategyName, load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder

log_probabilities = arrays(
    np.float64, st.tuples(st.integers(1, 5), st.just(4)), elements=st.floats(-40, 0)
)


def test_grades_worked_out_by_hand() -> None:
    belief = np.log([[0.7, 0.1, 0.1, 0.1], [0.0625, 0.0625, 0.25, 0.625]])
    grade, expected, confidence = grade_from_log_probabilities(belief)
    assert grade.tolist() == [0, 3]
    # 0.1 + 0.2 + 0.3, and 0.0625 + 0.5 + 1.875
    np.testing.assert_allclose(expected, [0.6, 2.4375])
    np.testing.assert_allclose(confidence, [0.7, 0.625])


def test_a_grade_that_is_out_of_the_question_counts_nothing() -> None:
    belief = np.array([[-np.inf, -np.inf, -1.0, -1.0]])
    _, expected, confidence = grade_from_log_probabilities(belief)
    assert expected.tolist() == [2.5]
    assert confidence.tolist() == [0.5]


@given(log_probabilities)
def test_grades_stay_in_their_ranges(belief: NDArray[np.float64]) -> None:
    grade, expected, confidence = grade_from_log_probabilities(belief)
    assert np.isin(grade, [0, 1, 2, 3]).all()
    assert ((expected >= -1e-9) & (expected <= 3 + 1e-9)).all()
    assert ((confidence >= 0.25 - 1e-9) & (confidence <= 1 + 1e-9)).all()


@given(log_probabilities, st.floats(-30, 30))
def test_the_base_line_of_the_logits_does_not_matter(
    belief: NDArray[np.float64], shift: float
) -> None:
    _, expected, confidence = grade_from_log_probabilities(belief)
    _, shifted_expected, shifted_confidence = grade_from_log_probabilities(belief + shift)
    np.testing.assert_allclose(shifted_expected, expected, atol=1e-9)
    np.testing.assert_allclose(shifted_confidence, confidence, atol=1e-9)


@given(log_probabilities)
def test_the_scale_read_backwards_gives_the_mirrored_expectation(
    belief: NDArray[np.float64],
) -> None:
    _, expected, confidence = grade_from_log_probabilities(belief)
    _, mirrored, same = grade_from_log_probabilities(belief[:, ::-1])
    np.testing.assert_allclose(mirrored, 3 - expected, atol=1e-9)
    np.testing.assert_allclose(same, confidence, atol=1e-9)


class Scripted:
    """Answers each prompt by a function of the documents that it shows, best known by length."""

    closed = ""

    def __init__(self, answer: Callable[[list[int]], Answer]) -> None:
        self.shown: list[list[int]] = []
        self._answer = answer

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        answers = []
        for prompt in prompts:
            lines = prompt.message.splitlines()
            shown = [int(line[5:]) for line in lines if line.startswith("body ")]
            self.shown.append(shown)
            answers.append(self._answer(shown))
        return answers


def judge(
    strategy: StrategyName,
    tokenizer: PreTrainedTokenizerFast,
    answer: Callable[[list[int]], Answer],
    documents: int,
    at_once: int = 20,
) -> tuple[list[Verdict], list[list[int]]]:
    engine = Scripted(answer)
    encoder = PromptEncoder(tokenizer, load_prompt(strategy))
    asking = Asking(engine, encoder, 10_000, at_once, seed=5)
    listed = DocumentList(
        "q", "night trains", [Document("", f"body {n}") for n in range(documents)]
    )
    [verdicts] = STRATEGIES[strategy]([listed], asking)
    return verdicts, engine.shown


def by_number(shown: list[int]) -> str:
    """The ranking that puts documents of a higher number first."""
    order = sorted(range(len(shown)), key=lambda place: -shown[place])
    return '{"ranking": [' + ", ".join(str(place + 1) for place in order) + "]}"


def test_listwise_grades_go_to_the_documents_that_were_shown(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    def answer(shown: list[int]) -> Answer:
        grades = ", ".join(f'"{place}": {number % 4}' for place, number in enumerate(shown, 1))
        return Answer(text="{" + grades + "}", prompt_tokens=70, answer_tokens=14)

    verdicts, shown = judge("listwise", tokenizer, answer, documents=7, at_once=3)
    assert [verdict.grade for verdict in verdicts] == [0, 1, 2, 3, 0, 1, 2]
    assert [verdict.expected_grade for verdict in verdicts] == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0]
    assert sorted(map(len, shown)) == [2, 2, 3]
    assert sorted(number for numbers in shown for number in numbers) == list(range(7))
    assert sum(verdict.prompt_tokens for verdict in verdicts) == pytest.approx(3 * 70)
    for number, verdict in enumerate(verdicts):
        together = next(numbers for numbers in shown if number in numbers)
        assert together[(verdict.shown_position or 0) - 1] == number


def test_selected_documents_get_the_highest_grade(tokenizer: PreTrainedTokenizerFast) -> None:
    def answer(shown: list[int]) -> Answer:
        return Answer(text=f'{{"selected": [{shown.index(2) + 1}, 99]}}')

    verdicts, _ = judge("selection", tokenizer, answer, documents=4)
    assert [verdict.grade for verdict in verdicts] == [0, 0, 3, 0]
    assert all(verdict.repaired for verdict in verdicts)


def test_ranks_become_grades_by_quarters(tokenizer: PreTrainedTokenizerFast) -> None:
    verdicts, _ = judge("ranking", tokenizer, lambda s: Answer(text=by_number(s)), documents=8)
    assert [verdict.grade for verdict in verdicts] == [0, 0, 1, 1, 2, 2, 3, 3]
    expected = [3 * (number + 0.5) / 8 for number in range(8)]
    assert [verdict.expected_grade for verdict in verdicts] == pytest.approx(expected)


def test_sliding_windows_bring_the_best_to_the_front(tokenizer: PreTrainedTokenizerFast) -> None:
    def answer(shown: list[int]) -> Answer:
        return Answer(text=by_number(shown), prompt_tokens=12)

    verdicts, shown = judge("ranking", tokenizer, answer, documents=9, at_once=4)
    assert [len(numbers) for numbers in shown] == [4, 4, 4, 4]
    # One pass of windows of 4 by 2 is sure of the two best only; the rest is nearly sorted.
    ranked = np.argsort([-(verdict.expected_grade or 0) for verdict in verdicts])
    assert ranked[:2].tolist() == [8, 7]
    assert sum(verdict.prompt_tokens for verdict in verdicts) == pytest.approx(4 * 12)


@pytest.mark.parametrize("strategy", ["listwise", "selection", "ranking"])
def test_an_answer_that_cannot_be_read_is_refused(
    strategy: StrategyName, tokenizer: PreTrainedTokenizerFast
) -> None:
    verdicts, _ = judge(strategy, tokenizer, lambda _: Answer(text="All are good."), documents=3)
    assert [verdict.grade for verdict in verdicts] == [None] * 3
    assert {verdict.error for verdict in verdicts} == {"answer: is no JSON object"}


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_an_engine_that_fails_is_told_in_each_row(
    strategy: StrategyName, tokenizer: PreTrainedTokenizerFast
) -> None:
    verdicts, _ = judge(strategy, tokenizer, lambda _: Answer(error="engine: gone"), documents=3)
    assert [(verdict.grade, verdict.error) for verdict in verdicts] == [(None, "engine: gone")] * 3


def test_a_grade_without_log_probabilities_has_no_confidence(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    verdicts, _ = judge("pointwise", tokenizer, lambda _: Answer(text="2"), documents=2)
    assert [(v.grade, v.expected_grade, v.confidence) for v in verdicts] == [(2, 2.0, None)] * 2


def test_the_shown_order_is_drawn_by_query_and_seed() -> None:
    def order(query_id: str, seed: int) -> list[int]:
        asking = Asking(Scripted(lambda _: Answer()), None, 1, 20, seed)
        documents = [Document("", "")] * 30
        return asking.shown_order(DocumentList(query_id, "query", documents)).tolist()

    assert order("q1", 0) == order("q1", 0)
    assert order("q1", 0) != order("q2", 0)
    assert order("q1", 0) != order("q1", 1)
    assert sorted(order("q1", 0)) == list(range(30))
