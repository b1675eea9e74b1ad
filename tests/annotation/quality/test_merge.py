"""Several judges' annotations merged into one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annotation.quality.merge import merge, merge_annotations
from corpus.errors import InputError
from corpus.tables import read_table, write_table
from tests.annotation.quality.conftest import annotations_of

ROWS: list[tuple[str, str, str, int | None]] = [
    *[("q", "x", judge, grade) for judge, grade in zip("abcd", [0, 3, 3, 1], strict=True)],
    *[("q", "y", judge, grade) for judge, grade in zip("abcd", [2, None, 3, None], strict=True)],
    *[("q", "z", judge, None) for judge in "abcd"],
]


@pytest.mark.parametrize(
    ("rule", "expected", "grades", "confidence"),
    [
        ("mean", [1.75, 2.5], [{2}, {2, 3}], [0.75, 0.75]),
        ("median", [2.0, 2.5], [{2}, {2, 3}], [0.75, 0.75]),
        ("majority", [3.0, None], [{3}, {2, 3}], [0.5, 0.5]),
    ],
)
def test_merging_by_hand(
    rule: str,
    expected: list[float | None],
    grades: list[set[int]],
    confidence: list[float],
) -> None:
    merged = merge_annotations(annotations_of(ROWS).to_pandas(), rule)
    assert merged["doc_id"].tolist() == ["x", "y", "z"]
    for row in (0, 1):
        assert merged["grade"][row] in grades[row]
        assert merged["expected_grade"][row] == (expected[row] or merged["grade"][row])
    assert merged["confidence"].tolist()[:2] == confidence
    assert merged["error"].isna().tolist() == [True, True, False]
    assert pd.isna(merged["grade"].tolist()[2])
    assert merged["error"].tolist()[2].startswith("merge:")


@pytest.mark.parametrize("rule", ["mean", "median", "majority"])
@pytest.mark.parametrize("votes", [[0, 1], [2, 3], [1, 2, 3, 0], [0, 0, 1, 1]])
def test_what_is_halfway_goes_up_as_often_as_down(rule: str, votes: list[int]) -> None:
    pairs = [(f"q{number // 10}", f"d{number}") for number in range(400)]
    rows = [(*pair, f"j{judge}", vote) for pair in pairs for judge, vote in enumerate(votes)]
    merged = merge_annotations(annotations_of(list(rows)).to_pandas(), rule)
    assert merged["grade"].mean() == pytest.approx(np.mean(votes), abs=0.08)  # three deviations
    again = merge_annotations(annotations_of(rows[::-1]).to_pandas(), rule)
    both = merged.merge(again, on=["query_id", "doc_id"])
    assert (both["grade_x"] == both["grade_y"]).all(), "whatever the order of the judges"


@pytest.mark.parametrize(
    ("votes", "expected_grades", "grade"),
    [
        ([1, 3], [1.2, 2.6], 1),  # mean 1.9
        ([1, 2], [1.4, 1.8], 2),
        ([0, 1, 3], [0.0, 1.0, 3.0], 1),  # mean 1.33
        ([0, 0, 3, 3, 1], [0.1, 0.2, 3.0, 3.0, 1.0], 0),  # mean 1.46
        ([0, 0, 3], [1.4, 1.4, 3.0], 0),  # a majority needs no mean
    ],
)
def test_a_tie_goes_to_what_the_judges_expect(
    votes: list[int], expected_grades: list[float], grade: int
) -> None:
    rows = [("q", "d", f"j{judge}", vote) for judge, vote in enumerate(votes)]
    table = annotations_of(list(rows)).to_pandas().assign(expected_grade=expected_grades)
    merged = merge_annotations(table, "majority")
    assert merged["grade"].tolist() == [grade]
    assert merged["expected_grade"].tolist() == [grade]
    assert merged["confidence"].tolist() == [votes.count(grade) / len(votes)]


def test_a_judge_that_tells_no_expected_grade_counts_with_its_grade() -> None:
    rows = [("q", "d", "a", 1), ("q", "d", "b", 3)]
    table = annotations_of(list(rows)).to_pandas().assign(expected_grade=np.nan)
    assert merge_annotations(table, "mean")["grade"].tolist() == [2]


def test_a_judge_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = annotations_of(ROWS)
    write_table(table, tmp_path / "all", "annotations")
    write_table(table.slice(0, 1), tmp_path / "again", "annotations")
    with pytest.raises(InputError, match="1 pairs have two rows of the same"):
        merge([tmp_path / "all", tmp_path / "again"], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merge([tmp_path / "all"], tmp_path / "merged")
    assert "graded" in capsys.readouterr().out


def test_the_merged_table_is_one_of_annotations(tmp_path: Path) -> None:
    write_table(annotations_of(ROWS), tmp_path / "all", "annotations")
    merge([tmp_path / "all"], tmp_path / "merged")
    table = read_table(tmp_path / "merged", "annotations")
    assert table["annotator"].to_pylist() == ["mean of 4"] * 3
    assert table["grade"].to_pylist() == [2, 2, None]  # 2.5 goes either way, by the ids
    assert table["expected_grade"].to_pylist() == [1.75, 2.5, None]
