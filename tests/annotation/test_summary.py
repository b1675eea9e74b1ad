from pathlib import Path

import pandas as pd

from annotation.summary import position_bias, summarise


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
    text = summarise(tmp_path)
    assert "annotated 4 pairs; 2 cut, 0 repaired, 1 failed (1 answer)" in text
    assert "grades 0: 0, 1: 1, 2: 0, 3: 2" in text
    assert "200 tokens read (0.50 from the prefix cache), 8 written" in text
    assert "stands higher in 1.00" in text
