"""Reading a judge's JSON: what it plainly means is repaired, what it might mean is refused."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from annotation.prompts.prompt import GRADES

REFUSED = "answer"
WHOLE = re.compile(r"\.0+$")  # what a whole number may end with
GRADE_OF_TEXT = {str(grade): grade for grade in GRADES}


class AnswerError(ValueError):
    """An answer that says nothing certain; the text says why."""


@dataclass(frozen=True)
class ListGrades:
    """The grades of a list's documents.

    Attributes:
        grades: grade of each document, 0 to 3; None where the answer gives none for certain.
        errors: why a document has no grade; None where it has one.
        repaired: whether the answer had to be repaired.
    """

    grades: list[int | None]
    errors: list[str | None]
    repaired: bool


def grades_schema(documents: int) -> str:
    """JSON schema of ``{"1": 0, "2": 3, ...}``: a grade for every document."""
    numbers = [str(number) for number in range(1, documents + 1)]
    grade = {"type": "integer", "enum": list(GRADES)}
    return _object_schema(dict.fromkeys(numbers, grade))


def selection_schema(documents: int) -> str:
    """JSON schema of ``{"selected": [2, 5]}``."""
    return _object_schema({"selected": _numbers_schema(documents) | {"maxItems": documents}})


def ranking_schema(documents: int) -> str:
    """JSON schema of ``{"ranking": [2, 1, 3]}``; that numbers do not repeat, it cannot say."""
    whole = {"minItems": documents, "maxItems": documents}
    return _object_schema({"ranking": _numbers_schema(documents) | whole})


def read_grades(text: str, documents: int) -> ListGrades:
    """Reads a grade for each document.

    Repaired: text around the JSON, a number that no document has, an equal grade given twice, a
    grade in quotes or with a decimal point (2.0).
    Refused, for that document only: no grade, two different grades, a grade that is not 0 to 3.

    Raises:
        AnswerError: there is no JSON object.

    >>> read_grades('{"1": 3, "2": 0, "2": 1, "9": 2}', 3).grades
    [3, None, None]
    """
    entries, repaired = _read_object(text)
    given: dict[str, set[str]] = {str(number): set() for number in range(1, documents + 1)}
    for key, value in entries:
        repaired = (
            repaired or key not in given or bool(given[key]) or isinstance(value, str | float)
        )
        if key in given:
            given[key].add(WHOLE.sub("", str(value).strip()))
    grades: list[int | None] = []
    errors: list[str | None] = []
    for values in given.values():
        grade = GRADE_OF_TEXT.get(next(iter(values))) if len(values) == 1 else None
        kind = "no grade" if not values else "two grades" if len(values) > 1 else "unknown grade"
        grades.append(grade)
        errors.append(f"{REFUSED}: {kind}" if grade is None else None)
    return ListGrades(grades, errors, repaired)


def read_selection(text: str, documents: int) -> tuple[list[int], bool]:
    """Reads the numbers of the selected documents, and whether the answer was repaired.

    Repaired: text around the JSON, a number that no document has, a number that repeats, one in
    quotes or with a decimal point.

    Raises:
        AnswerError: there is no list of numbers under "selected".

    >>> read_selection('{"selected": [2, 2, 7]}', 3)
    ([2], True)
    """
    numbers, repaired = _read_numbers(text, "selected")
    known = _distinct_known(numbers, documents)
    return known, repaired or known != numbers


def read_ranking(text: str, documents: int) -> tuple[list[int], bool]:
    """Reads a ranking of all documents, best first, and whether the answer was repaired.

    Repaired: text around the JSON, a number that no document has, a number that repeats (its
    first position counts), one in quotes or with a decimal point, one missing document (it is
    the last). Two missing documents could be in either order: refused.

    Raises:
        AnswerError: there is no list of numbers under "ranking", or it lacks two documents or more.

    >>> read_ranking('{"ranking": [3, 1]}', 3)
    ([3, 1, 2], True)
    """
    numbers, repaired = _read_numbers(text, "ranking")
    ranked = _distinct_known(numbers, documents)
    missing = sorted(set(range(1, documents + 1)) - set(ranked))
    if len(missing) > 1:
        raise AnswerError(f"{len(missing)} documents are missing")
    return ranked + missing, repaired or ranked + missing != numbers


def _object_schema(properties: dict[str, Any]) -> str:
    return json.dumps(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def _numbers_schema(documents: int) -> dict[str, Any]:
    numbers = list(range(1, documents + 1))
    return {"type": "array", "items": {"type": "integer", "enum": numbers}}


def _read_object(text: str) -> tuple[list[tuple[str, Any]], bool]:
    """The entries of the JSON object in `text`, with repeated keys; and whether more is there."""
    start, end = text.find("{"), text.rfind("}")
    try:
        entries = json.loads(text[start : end + 1], object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise AnswerError("is no JSON object") from error
    return entries, bool((text[: max(start, 0)] + text[end + 1 :]).strip())


def _read_numbers(text: str, name: str) -> tuple[list[int], bool]:
    entries, repaired = _read_object(text)
    lists = [value for key, value in entries if key == name]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise AnswerError(f"has no list {name!r}")
    numbers = [_whole_number(number) for number in lists[0]]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        raise AnswerError(f"{name!r} holds something other than numbers")
    return known, repaired or len(entries) > 1 or any(type(n) is not int for n in lists[0])


def _whole_number(value: Any) -> int | None:
    """A number that is whole, however it is written: 2, 2.0, "2"."""
    text = WHOLE.sub("", str(value).strip())
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _distinct_known(numbers: Sequence[int], documents: int) -> list[int]:
    return [number for number in dict.fromkeys(numbers) if 1 <= number <= documents]
