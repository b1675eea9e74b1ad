"""The four ways to ask a judge that the paper compares (arXiv 2511.06635).

Each takes queries with their documents, asks an engine, and returns a verdict on each document:

* pointwise: one document a prompt; the grade is one token, and the log-probabilities of the four
  grades give an expected grade and a confidence;
* listwise: a grade for each of several documents that are shown together;
* selection: the documents that deserve a high grade, named among several;
* ranking: an order of several documents; long lists by windows that slide from the end to the
  front, after RankGPT (Sun et al., EMNLP 2023, arXiv 2304.09542).

Where several documents are shown, their order is random for each query, so that the position bias
of a judge favours no document.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from annotation.asking.answers import (
    REFUSED,
    AnswerError,
    read_grades,
    read_ranking,
    read_selection,
)
from annotation.asking.ask import CHOICES, Asking, DocumentList, Verdict, answer_form
from annotation.engines.base import PROMPT_ERROR, Answer
from annotation.prompts.prompt import GRADES, StrategyName
from annotation.prompts.prompt_encoder import EncodedPrompt

SELECTED_GRADE, OTHER_GRADE = 3, 0
LEAST_SELECTED = 2  # the grade from which on the prompts ask to select

Strategy = Callable[[Sequence[DocumentList], Asking], list[list[Verdict]]]


def pointwise(lists: Sequence[DocumentList], asking: Asking) -> list[list[Verdict]]:
    """Asks for the grade of each document alone; see `grade_from_log_probabilities`."""
    asked = [(listed.query, [document]) for listed in lists for document in listed.documents]
    verdicts = []
    believed = np.full((len(asked), len(GRADES)), np.nan)
    for row, (prompt, answer) in enumerate(asking.ask(asked, CHOICES)):
        verdict = Verdict(
            error=answer.error,
            cut=prompt.cut[0],
            answered_mass=answer.answered_mass,
            reasoning=answer.reasoning,
        )
        _share_tokens(answer, [verdict])
        verdicts.append(verdict)
        if answer.text is not None:
            verdict.grade, verdict.expected_grade = int(answer.text), float(answer.text)
        if answer.log_probabilities is not None:
            believed[row] = answer.log_probabilities
            if np.isnan(believed[row]).any():
                verdict.error = f"{PROMPT_ERROR}: the engine gave no log-probabilities"
    known = np.flatnonzero(~np.isnan(believed).any(axis=1))
    columns = (column.tolist() for column in grade_from_log_probabilities(believed[known]))
    for row, grade, expected, confidence in zip(known, *columns, strict=True):
        verdict = verdicts[row]
        verdict.grade, verdict.expected_grade, verdict.confidence = grade, expected, confidence
    remaining = iter(verdicts)
    return [[next(remaining) for _ in listed.documents] for listed in lists]


def listwise(lists: Sequence[DocumentList], asking: Asking) -> list[list[Verdict]]:
    """Asks for the grades of several documents at once; long lists are split evenly."""

    def judge(text: str, verdicts: list[Verdict]) -> None:
        read = read_grades(text, len(verdicts))
        for verdict, grade, error in zip(verdicts, read.grades, read.errors, strict=True):
            verdict.grade, verdict.error, verdict.repaired = grade, error, read.repaired
            verdict.expected_grade = None if grade is None else float(grade)

    return _judge_together(lists, asking, "listwise", judge)


def selection(lists: Sequence[DocumentList], asking: Asking) -> list[list[Verdict]]:
    """Asks which of several documents deserve a high grade: they get 3, the others 0."""

    def judge(text: str, verdicts: list[Verdict]) -> None:
        selected, repaired = read_selection(text, len(verdicts))
        for number, verdict in enumerate(verdicts, 1):
            verdict.grade = SELECTED_GRADE if number in selected else OTHER_GRADE
            verdict.expected_grade, verdict.repaired = float(verdict.grade), repaired

    return _judge_together(lists, asking, "selection", judge)


def ranking(lists: Sequence[DocumentList], asking: Asking) -> list[list[Verdict]]:
    """Asks for an order of the documents and turns ranks into grades.

    Windows of `documents_per_prompt` slide from the end of the list to its front by half their
    length, and each is put in the order of its answer before the next (RankGPT, section 3.2). The
    grades are those of `grades_of_ranks`.
    """
    verdicts = [_shown_verdicts(asking.shown_order(listed)) for listed in lists]
    orders = [asking.shown_order(listed) for listed in lists]
    windows = [_windows(len(listed.documents), asking.documents_per_prompt) for listed in lists]
    for step in range(max(map(len, windows), default=0)):
        by_length: dict[int, list[int]] = {}
        for number, own in enumerate(windows):
            if step < len(own) and verdicts[number][0].error is None:
                by_length.setdefault(own[step].stop - own[step].start, []).append(number)
        for length, numbers in by_length.items():
            shown = [orders[number][windows[number][step]] for number in numbers]
            asked = [
                (lists[number].query, [lists[number].documents[row] for row in rows])
                for number, rows in zip(numbers, shown, strict=True)
            ]
            answered = asking.ask(asked, answer_form("ranking", length))
            for number, rows, (prompt, answer) in zip(numbers, shown, answered, strict=True):
                window = [verdicts[number][row] for row in rows]
                _note_prompt(prompt, answer, window)
                order = _ranked(answer, window, verdicts[number])
                orders[number][windows[number][step]] = rows[order]
    for order, listed in zip(orders, verdicts, strict=True):
        for row, grade, expected in zip(order, *grades_of_ranks(len(order)), strict=True):
            if listed[row].error is None:
                listed[row].grade, listed[row].expected_grade = grade, expected
    return verdicts


STRATEGIES: dict[StrategyName, Strategy] = {
    "pointwise": pointwise,
    "listwise": listwise,
    "selection": selection,
    "ranking": ranking,
}


def grades_of_ranks(documents: int) -> tuple[list[int], list[float]]:
    """The grade and the expected grade of each rank of an order, the best first.

    The document at rank r of n has the expected grade 3 u and the grade floor(4 u), where
    u = 1 - (r - 1/2) / n: the best quarter gets 3, the last 0, and a document alone 2.

    Args:
        documents: their number, n.

    >>> grades_of_ranks(4)
    ([3, 2, 1, 0], [2.625, 1.875, 1.125, 0.375])
    """
    shares = [1 - (rank - 0.5) / documents for rank in range(1, documents + 1)]
    return [int(len(GRADES) * share) for share in shares], [max(GRADES) * share for share in shares]


def grade_from_log_probabilities(
    log_probabilities: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Grades from the judge's probabilities of them (Zhuang et al., NAACL 2024, arXiv 2310.14122).

    The four are normalised, p = softmax(log_probabilities), as if only grades could be answered.
    The grade is the one with the highest p, the lower one of equals; the expected grade is
    sum over g of g p_g (their equation 4); the confidence is the highest p.

    Args:
        log_probabilities: log-probabilities of the grades 0 to 3, float64, shape (pairs, 4); a
            constant may be added to a row, so logits do too.

    Returns:
        grade (int64, 0 to 3), expected grade (in [0, 3]) and confidence (in [1/4, 1]); each of
        shape (pairs,).

    >>> grade, expected, confidence = grade_from_log_probabilities(np.log([[0.1, 0.2, 0.6, 0.1]]))
    >>> int(grade[0]), round(float(expected[0]), 6), round(float(confidence[0]), 6)
    (2, 1.7, 0.6)
    """
    probabilities = softmax(log_probabilities, axis=1)
    grade = log_probabilities.argmax(axis=1).astype(np.int64)
    return grade, probabilities @ np.array(GRADES, dtype=np.float64), probabilities.max(axis=1)


def _judge_together(
    lists: Sequence[DocumentList],
    asking: Asking,
    strategy: StrategyName,
    judge: Callable[[str, list[Verdict]], None],
) -> list[list[Verdict]]:
    """Shows each list's documents in prompts of equal length and reads each answer once."""
    verdicts = [_shown_verdicts(asking.shown_order(listed)) for listed in lists]
    by_length: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
    for number, listed in enumerate(lists):
        prompts = -(-len(listed.documents) // asking.documents_per_prompt)
        for shown_list, rows in enumerate(np.array_split(asking.shown_order(listed), prompts)):
            by_length.setdefault(len(rows), []).append((number, rows))
            for position, row in enumerate(rows, 1):
                verdicts[number][row].shown_list = shown_list
                verdicts[number][row].shown_position = position
    for length, shown in by_length.items():
        asked = [
            (lists[number].query, [lists[number].documents[row] for row in rows])
            for number, rows in shown
        ]
        answered = asking.ask(asked, answer_form(strategy, length))
        for (number, rows), (prompt, answer) in zip(shown, answered, strict=True):
            together = [verdicts[number][row] for row in rows]
            _note_prompt(prompt, answer, together)
            if answer.error is None:
                try:
                    judge(answer.text or "", together)
                except AnswerError as error:
                    _refuse(together, error)
    return verdicts


def _ranked(answer: Answer, window: list[Verdict], listed: list[Verdict]) -> NDArray[np.int64]:
    """The window's new order; an answer that cannot be read costs the whole list its ranks."""
    kept = np.arange(len(window))
    if answer.error is not None:
        for verdict in listed:
            verdict.error = answer.error
        return kept
    try:
        ranked, repaired = read_ranking(answer.text or "", len(window))
    except AnswerError as error:
        _refuse(listed, error)
        return kept
    for verdict in window:
        verdict.repaired |= repaired
    return np.array(ranked) - 1


def _windows(documents: int, size: int) -> list[slice]:
    """Windows from the end to the front, each half a window before the last.

    >>> [(window.start, window.stop) for window in _windows(9, 4)]
    [(5, 9), (3, 7), (1, 5), (0, 4)]
    """
    step = max(size // 2, 1)
    starts = list(range(documents - size, 0, -step))
    return [slice(start, start + size) for start in starts] + [slice(0, min(size, documents))]


def _shown_verdicts(order: NDArray[np.int64]) -> list[Verdict]:
    verdicts = [Verdict() for _ in order]
    for position, row in enumerate(order, 1):
        verdicts[row].shown_position = position
    return verdicts


def _note_prompt(prompt: EncodedPrompt, answer: Answer, shown: list[Verdict]) -> None:
    _share_tokens(answer, shown)
    for verdict, cut in zip(shown, prompt.cut, strict=True):
        verdict.cut |= cut
        verdict.reasoning = answer.reasoning  # of a list that is asked again, the last
        verdict.error = verdict.error or answer.error


def _share_tokens(answer: Answer, shown: list[Verdict]) -> None:
    for verdict in shown:
        verdict.prompt_tokens += answer.prompt_tokens / len(shown)
        verdict.cached_tokens += answer.cached_tokens / len(shown)
        verdict.answer_tokens += answer.answer_tokens / len(shown)


def _refuse(verdicts: list[Verdict], error: AnswerError) -> None:
    for verdict in verdicts:
        verdict.error = f"{REFUSED}: {error}"
