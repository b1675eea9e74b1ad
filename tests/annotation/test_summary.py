from pathlib import Path

import pandas as pd

from annotation.summary import count_spent_tokens, position_bias, summarise
from corpus.places import place_of


def shown(positions: list[int | None], grades: list[float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "query_id": "q",
            "shown_list": 0,
            "shown_position": positions,
            "expected_grade": grades,
        }
    )


def test_position_bias_by_hand() -> None:
    as_shown = shown([1, 2, 3], [3.0, 1.0, 1.0])
    assert position_bias(as_shown) == {
        "told_apart": 2,
        "first_higher": 2,
        "answers": 1,
        "as_shown": 1,
    }
    mixed = shown([3, 1, 2], [3.0, 2.0, 1.0])  # of the pairs shown (2, 1, 3) only 2 > 1 is in order
    assert position_bias(mixed) == {
        "told_apart": 3,
        "first_higher": 1,
        "answers": 1,
        "as_shown": 0,
    }


def test_documents_shown_alone_or_without_a_grade_tell_nothing() -> None:
    nothing = {"told_apart": 0, "first_higher": 0, "answers": 0, "as_shown": 0}
    assert position_bias(shown([None, None], [3.0, 1.0])) == nothing
    assert position_bias(shown([1, 2], [3.0, None])) == nothing
    assert position_bias(shown([1, 2], [2.0, 2.0])) == nothing


def test_parts_are_counted_together(tmp_path: Path) -> None:
    for number, error in enumerate([None, "answer: no grade"]):
        rows = shown([1, 2], [3.0, None if error else 1.0]).assign(
            grade=pd.Series([3, None if error else 1], dtype="Int64"),
            error=pd.Series([None, error], dtype=object),
            cut=[True, False],
            repaired=False,
            prompt_tokens=50.0,
            cached_tokens=25.0,
            answer_tokens=2.0,
        )
        path = tmp_path / f"part-{number:06d}.parquet"
        rows.to_parquet(path)
    found = summarise(place_of(tmp_path))
    text = found.told()
    assert "annotated 4 pairs; 2 cut, 0 repaired, 1 failed (1 answer)" in text
    assert "grades 0: 0, 1: 1, 2: 0, 3: 2" in text
    assert "200 tokens read (0.50 from the prefix cache), 8 written" in text
    assert "stands higher in 1.00" in text
    assert "mass" not in text, "parts from before it was a column"
    assert (found.failed, found.judged) == (1, 4)
    assert count_spent_tokens(place_of(tmp_path)) == 208


def graded(folder: Path, masses: list[float | None]) -> str:
    """A summary of graded pairs, and of one without a grade and with a mass of 0."""
    columns = {"query_id": "q", "expected_grade": 2.0, "cut": False, "repaired": False}
    columns |= {"prompt_tokens": 9.0, "cached_tokens": 0.0, "answer_tokens": 1.0, "shown_list": 0}
    grades = pd.Series([2] * len(masses) + [None], dtype="Int64")
    rows = pd.DataFrame({"grade": grades}).assign(**columns)
    rows["answered_mass"] = pd.Series([*masses, 0.0], dtype="float64")
    rows["shown_position"] = pd.Series([None] * len(rows), dtype="Int64")
    rows["error"] = pd.Series([None] * len(rows), dtype=object)
    rows.to_parquet(folder / "part-000000.parquet")
    return summarise(place_of(folder)).told()


def test_a_judge_that_would_rather_answer_otherwise_is_warned_of(tmp_path: Path) -> None:
    text = graded(tmp_path, [0.1, 0.3, 0.8, None])
    assert "mass of the four grades: 0.40 on average; below one half for 0.67" in text
    assert "warning: this judge would rather answer with something else" in text
    text = graded(tmp_path, [0.4, 0.9, 1.0, None])
    assert "mass of the four grades: 0.77 on average; below one half for 0.33" in text
    assert "warning" not in text
    assert "mass" not in graded(tmp_path, [None, None])
