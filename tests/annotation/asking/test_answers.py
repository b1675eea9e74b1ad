import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.asking.answers import (
    AnswerError,
    grades_schema,
    read_grades,
    read_ranking,
    read_selection,
)


@pytest.mark.parametrize(
    ("text", "grades", "repaired"),
    [
        ('{"1": 0, "2": 3}', [0, 3], False),
        ('```json\n{"1": 0, "2": 3}\n```', [0, 3], True),
        ('{"1": 0, "2": 3, "2": 3}', [0, 3], True),
        ('{"1": 0, "2": 3, "3": 1}', [0, 3], True),
        ('{"1": "0", "2": 3}', [0, 3], True),
        ('{"1": 0.0, "2": "3.0"}', [0, 3], True),
        ('{"1": 0.5, "2": 3.05}', [None, None], True),
        ('{"1": 0}', [0, None], False),
        ('{"1": 0, "2": 3, "2": 1}', [0, None], True),
        ('{"1": 0, "2": 4}', [0, None], False),
        ('{"1": true, "2": [3]}', [None, None], False),
        ("{}", [None, None], False),
    ],
)
def test_grades(text: str, grades: list[int | None], repaired: bool) -> None:
    read = read_grades(text, 2)
    assert (read.grades, read.repaired) == (grades, repaired)
    assert [error is None for error in read.errors] == [grade is not None for grade in grades]


@pytest.mark.parametrize(
    ("text", "ranking", "repaired"),
    [
        ('{"ranking": [3, 1, 2]}', [3, 1, 2], False),
        ('Here: {"ranking": [3, 1, 2]}', [3, 1, 2], True),
        ('{"ranking": [3, 3, 1, 2]}', [3, 1, 2], True),
        ('{"ranking": [3, 1, 2, 8]}', [3, 1, 2], True),
        ('{"ranking": [3, 1]}', [3, 1, 2], True),
        ('{"ranking": [3, 3, 1]}', [3, 1, 2], True),
        ('{"ranking": [3.0, "1", 2]}', [3, 1, 2], True),
    ],
)
def test_rankings(text: str, ranking: list[int], repaired: bool) -> None:
    assert read_ranking(text, 3) == (ranking, repaired)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 > 1 > 2",
        '{"ranking": "3, 1, 2"}',
        '{"ranking": [3]}',
        '{"order": [3, 1, 2]}',
        '{"ranking": ["a", "b"]}',
        '{"ranking": [3, 1, 2]',
        "{" * 5000 + "}" * 5000,
    ],
)
def test_rankings_that_say_nothing_certain_are_refused(text: str) -> None:
    with pytest.raises(AnswerError):
        read_ranking(text, 3)


def test_selections() -> None:
    assert read_selection('{"selected": []}', 3) == ([], False)
    assert read_selection('{"selected": [2, 1]}', 3) == ([2, 1], False)
    assert read_selection('{"selected": [2, 2, 0]}', 3) == ([2], True)
    with pytest.raises(AnswerError, match="numbers"):
        read_selection('{"selected": [1.5]}', 3)


@given(st.text(), st.integers(1, 9))
def test_whatever_a_judge_writes_is_read_or_refused(text: str, documents: int) -> None:
    for read in (read_grades, read_selection, read_ranking):
        try:
            read(text, documents)
        except AnswerError:
            continue


@given(st.permutations(range(1, 8)))
def test_a_whole_ranking_is_taken_as_it_is(ranking: list[int]) -> None:
    assert read_ranking(json.dumps({"ranking": ranking}), 7) == (ranking, False)


def test_the_schema_asks_for_every_grade() -> None:
    schema = json.loads(grades_schema(3))
    assert schema["required"] == ["1", "2", "3"]
    assert schema["additionalProperties"] is False
