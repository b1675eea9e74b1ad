"""When a stream of annotated batches ends."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from annotation.annotator import until_closed
from corpus.errors import InputError


def batches(*columns: tuple[int, int, str]) -> Iterator[pa.Table]:
    """Batches of two rows, from number, begun and closed of each."""
    for number, begun, closed in columns:
        row = {"doc_id": f"d{number}", "number": number, "begun": begun, "closed": closed}
        yield pa.Table.from_pylist([row, row])


def test_an_open_engine_ends_nothing() -> None:
    passed = list(until_closed(batches((1, 2, ""), (0, 2, ""), (2, 3, ""))))
    assert [table["doc_id"][0].as_py() for table in passed] == ["d1", "d0", "d2"]
    assert passed[0].column_names == ["doc_id"]


def test_what_was_answered_before_a_budget_was_spent_is_waited_for() -> None:
    spent = "budget: 1,500 tokens are spent"
    # Batches 0 and 1 were in work; 1 was answered first, and 0 saw the budget end and came first.
    # 2 was begun thereafter, and so was 3, which is never taken.
    answers = batches((0, 2, spent), (2, 3, spent), (1, 2, ""), (3, 4, spent))
    assert [table["doc_id"][0].as_py() for table in until_closed(answers)] == ["d0", "d2", "d1"]
    assert next(answers)["number"][0].as_py() == 3


def test_a_refusal_is_told_after_all_answers() -> None:
    refusal = "engine: NotFoundError: no such model"
    passing = until_closed(batches((1, 2, refusal), (0, 2, refusal), (2, 3, refusal)))
    assert [next(passing)["doc_id"][0].as_py() for _ in range(2)] == ["d1", "d0"]
    with pytest.raises(InputError, match=r"NotFoundError: no such model.*--resume"):
        next(passing)
