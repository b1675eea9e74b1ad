"""Agreement, against published numbers and by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from annotation.quality.agreement import agreement, grades_of_clicks, human_grades
from annotation.quality.grade_scales import HumanScale, human_scale
from annotation.quality.merge import merge
from corpus.errors import InputError
from corpus.places import Place, place_of
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection, write_collection, write_table
from tests.annotation.quality.conftest import annotations_of


def scale_of(grades: list[int], declared: int | None = None) -> HumanScale:
    ids = [str(number) for number in range(len(grades))]
    frame = pd.DataFrame({"query_id": ["q"] * len(grades), "doc_id": ids, "grade": grades})
    return human_scale(frame, declared, 2, "judgments.parquet")


def test_scales_are_brought_together() -> None:
    judgments = pd.DataFrame({"query_id": ["q"] * 5, "doc_id": list("abcde"), "grade": range(5)})
    shrunk = human_grades(judgments, HumanScale(4, 2))
    assert shrunk["grade"].tolist() == [0, 1, 2, 2, 3]
    assert shrunk["relevant"].tolist() == [False, False, True, True, True]
    same = human_grades(judgments[:3], HumanScale(3, 2))
    assert same["grade"].tolist() == [0, 1, 2], "0 to 3 stay as they are"


@pytest.mark.parametrize("highest", [1, 3, 4, 5, 10, 100])
@pytest.mark.parametrize("relevant_from", [1, 2, 3])
def test_humans_and_a_judge_who_grades_as_they_do_call_the_same_relevant(
    highest: int, relevant_from: int
) -> None:
    scale = HumanScale(highest, relevant_from)
    grades = np.arange(highest + 1)
    relevant = grades >= scale.relevant_for_humans
    threshold = scale.of_judge([relevant_from]).item()
    assert relevant.tolist() == (scale.of_humans(grades) >= threshold).tolist()


def test_the_scale_is_that_of_all_judgments_or_as_declared() -> None:
    assert scale_of([0, 1, 1]).highest == 1
    assert scale_of([0, 0]).highest == 1, "no scale has one grade"
    assert scale_of([-2, 3, 1]).highest == 3
    assert scale_of([0, 1], declared=4).highest == 4
    with pytest.raises(InputError, match=r"judgments.parquet: query 'q' and document '1' have "):
        scale_of([0, 2], declared=1)


@pytest.mark.parametrize(("relevant", "irrelevant"), [(3, 0), (2, 1)])
def test_a_perfect_judge_agrees_with_binary_judgments(
    tiny_collection: Collection, tmp_path: Path, relevant: int, irrelevant: int
) -> None:
    grades = {("q1", "d1"): 1, ("q1", "d2"): 0, ("q2", "d3"): 1, ("q2", "d4"): 0, ("q3", "d1"): 0}
    judgments = pa.table(
        [[q for q, _ in grades], [d for _, d in grades], list(grades.values())],
        schema=SCHEMAS["judgments"],
    )
    write_collection(replace(tiny_collection, judgments=judgments), tmp_path / "collection")
    rows = [(q, d, "a", relevant if grade else irrelevant) for (q, d), grade in grades.items()]
    write_table(annotations_of(list(rows)), tmp_path / "a", "annotations")
    agreement(tmp_path / "collection", tmp_path / "a", tmp_path / "out", resamples=5)
    found = json.loads((tmp_path / "out" / "agreement.json").read_text())["human"]["all"]
    values = {name: measure["value"] for name, measure in found["measures"].items()}
    assert values == dict.fromkeys(values, 1.0)
    assert found["measures"]["mean_auc"]["queries"] == 2
    assert found["confusion"][0][irrelevant] == 3, "a row for each human grade"
    assert len(found["confusion"]) == 2


def test_clicks_get_the_judges_grades_by_rank() -> None:
    ids = {"query_id": ["q"] * 4, "doc_id": list("abcd")}
    labels = pd.DataFrame({**ids, "relevance": [0.1, 5.0, 0.3, 0.2]})
    judged = pd.DataFrame({**ids, "grade": [0, 3, 0, 2], "expected_grade": [0.0, 3.0, 0.0, 2.0]})
    assert grades_of_clicks(labels, judged)["grade"].tolist() == [0, 3, 2, 0]
    tied = labels.assign(relevance=[0.0, 1.0, 0.0, 0.0])
    assert grades_of_clicks(tied, judged)["grade"].tolist() == [0, 3, 0, 0]


@pytest.fixture
def judged_collection(tiny_collection: Collection, tmp_path: Path) -> Path:
    write_collection(tiny_collection, tmp_path / "collection")
    rows = [("q1", "d1", "a", 3), ("q1", "d2", "a", 1), ("q2", "d3", "a", 1), ("q2", "d4", "a", 0)]
    write_table(annotations_of(list(rows)), tmp_path / "a", "annotations")
    return tmp_path


def test_the_job_reports_by_bucket(
    judged_collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = judged_collection / "agreement"
    agreement(judged_collection / "collection", judged_collection / "a", output, resamples=20)
    report = json.loads((output / "agreement.json").read_text())
    assert report["human"]["all"]["pairs"] == 3  # q2's d4 was not judged
    assert report["human"]["all"]["confusion"][2] == [0, 1, 0, 0]  # d3: human 2, judge 1
    assert report["human"]["all"]["measures"]["auc"]["value"] == 0.75
    assert (output / "agreement.svg").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "agreement of the judge and human" in shown
    assert "humans graded from 0 to 3, the highest of the judgments" in shown


def test_jobs_on_a_store_write_what_they_write_on_a_disk(
    tiny_collection: Collection, store: Place, tmp_path: Path
) -> None:
    rows = [("q1", "d1", "a", 3), ("q1", "d2", "a", 1), ("q2", "d3", "b", 1), ("q2", "d4", "b", 0)]
    for place in (store, place_of(tmp_path)):
        write_collection(tiny_collection, place / "collection")
        for judge in "ab":
            write_table(
                annotations_of([row for row in rows if row[2] == judge]),
                place / judge,
                "annotations",
            )
        merge([place / "a", place / "b"], place / "merged")
        agreement(place / "collection", place / "merged", place / "agreement", resamples=5)
    for name in ("merged/annotations.parquet", "agreement/agreement.json"):
        assert (store / name).read_bytes() == (tmp_path / name).read_bytes()
    assert (store / "agreement" / "agreement.svg").stat().st_size > 1000
    with pytest.raises(InputError, match="--resume"):
        merge([store / "a"], store / "merged")
    merge([store / "a", store / "b"], store / "merged", resume=True)


def test_what_cannot_be_told_is_said(
    judged_collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("q1", "d1", "a", 3), ("q1", "d2", "a", 3), ("q2", "d3", "a", 3)]
    write_table(annotations_of(list(rows)), judged_collection / "same", "annotations")
    output = judged_collection / "out"
    agreement(judged_collection / "collection", judged_collection / "same", output, resamples=5)
    assert "every pair has the grade 3 of the judge" in capsys.readouterr().out
    found = json.loads((output / "agreement.json").read_text())["human"]["all"]["measures"]
    assert found["tau"]["value"] is None
    assert found["kappa"]["value"] == 0.0


def test_nothing_to_compare_with_is_refused(judged_collection: Path) -> None:
    collection = judged_collection / "collection"
    (collection / "judgments.parquet").unlink()
    with pytest.raises(InputError, match="--click_labels"):
        agreement(collection, judged_collection / "a", judged_collection / "out")
    assert not (judged_collection / "out").exists()


def test_clicks_and_another_judge_are_references_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    queries = [f"q{number}" for number in range(30)]
    pairs = [(query, doc) for query in queries for doc in "abcd"]
    grades = rng.integers(0, 4, len(pairs))
    noisy = np.clip(grades + rng.integers(-1, 2, len(pairs)), 0, 3)
    empty = {name: empty_table(name) for name in ("candidates", "sessions", "judgments", "splits")}
    texts = [["a", "b", "c", "d"], [""] * 4, ["x"] * 4]
    collection = Collection(
        queries=pa.table([queries, queries, list(range(2, 32))], schema=SCHEMAS["queries"]),
        documents=pa.table(texts, schema=SCHEMAS["documents"]),
        **empty,
    )
    write_collection(collection, tmp_path / "collection")
    for name, given in (("a", grades), ("b", noisy)):
        rows = [(q, d, name, int(g)) for (q, d), g in zip(pairs, given, strict=True)]
        write_table(annotations_of(list(rows)), tmp_path / name, "annotations")
    labels = [
        {
            "query_id": q,
            "doc_id": d,
            "relevance": float(g),
            "impressions": 9,
            "clicks": 1,
            "model": "m",
        }
        for (q, d), g in zip(pairs, grades, strict=True)
    ]
    labels_table = pa.Table.from_pylist(labels, SCHEMAS["click_labels"])
    write_table(labels_table, tmp_path / "clicks", "click_labels")
    agreement(
        tmp_path / "collection",
        tmp_path / "a",
        tmp_path / "out",
        click_labels=tmp_path / "clicks",
        other_annotations=tmp_path / "b",
        resamples=50,
    )
    report = json.loads((tmp_path / "out" / "agreement.json").read_text())
    kappa = report["clicks"]["all"]["measures"]["kappa"]
    assert set(kappa.values()) == {1.0}, "clicks in the order of the grades"
    kappa = report["other judge"]["all"]["measures"]["quadratic_kappa"]
    assert kappa["low"] < kappa["value"] < kappa["high"]
    assert 0.6 < kappa["value"] < 0.9
    assert report["other judge"]["low"]["queries"] == 9


def test_no_pair_in_common_is_refused(judged_collection: Path) -> None:
    rows = [("q3", "d1", "a", 3)]
    write_table(annotations_of(list(rows)), judged_collection / "lone", "annotations")
    with pytest.raises(InputError, match="has no pair"):
        agreement(
            judged_collection / "collection", judged_collection / "lone", judged_collection / "out"
        )
    assert not (judged_collection / "out").exists()


def test_several_judges_must_be_merged_first(judged_collection: Path) -> None:
    rows = [("q1", "d1", "a", 3), ("q1", "d1", "b", 1)]
    write_table(annotations_of(list(rows)), judged_collection / "two", "annotations")
    with pytest.raises(InputError, match="merge"):
        agreement(
            judged_collection / "collection", judged_collection / "two", judged_collection / "out"
        )
