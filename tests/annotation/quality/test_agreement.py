"""Agreement, against published numbers and by hand."""

import json
from dataclasses import replace
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from annotation.quality.agreement import agreement, grades_of_clicks, human_grades
from annotation.quality.agreement_measures import POOLED, measure_agreement
from annotation.quality.grade_scales import HumanScale, human_scale
from annotation.quality.merge import merge, merge_annotations
from corpus.errors import InputError
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection, read_table, write_collection, write_table


def pairs_of(grades: list[int], references: list[int], queries: str | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "query_id": list(queries or "q" * len(grades)),
            "grade": grades,
            "expected_grade": np.float64(grades),
            "grade_reference": references,
            "relevant": np.array(references) >= 2,
        }
    )


def test_cohens_kappa_of_the_textbook_table() -> None:
    # Fifty proposals, two readers: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no. Observed agreement
    # 0.7, expected 0.5, so kappa = 0.4.
    pairs = pairs_of([1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15)
    assert POOLED["kappa"](pairs) == pytest.approx(0.4)
    assert POOLED["quadratic_kappa"](pairs) == pytest.approx(0.4), "two grades: the same"


def test_krippendorffs_alpha_of_his_two_observers() -> None:
    # Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section A: 0.095. Of two
    # values, the ordinal alpha is the nominal one.
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert POOLED["alpha"](pairs_of(meg, owen)) == pytest.approx(0.095, abs=5e-4)


def test_the_library_has_krippendorffs_ordinal_alpha() -> None:
    # Section E of the same paper: four observers, twelve units, ordinal 0.815.
    missing = np.nan
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, missing, missing, missing],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, missing, 3],
        [missing, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, missing],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, missing],
    ]
    alpha = krippendorff.alpha(reliability_data=observers, level_of_measurement="ordinal")
    assert alpha == pytest.approx(0.815, abs=5e-4)


def test_tau_and_auc_by_hand() -> None:
    pairs = pairs_of([0, 1, 2, 3], [0, 2, 1, 3])
    assert POOLED["tau"](pairs) == pytest.approx(4 / 6)  # five pairs agree, one does not
    assert POOLED["auc"](pairs) == pytest.approx(3 / 4)  # (1, 2) is the pair that is wrong


def test_auc_with_ties_is_the_librarys() -> None:
    rng = np.random.default_rng(0)
    pairs = pairs_of(rng.integers(0, 4, 50).tolist(), rng.integers(0, 4, 50).tolist())
    expected = roc_auc_score(pairs["relevant"], pairs["expected_grade"])
    assert POOLED["auc"](pairs) == pytest.approx(expected)


def test_what_is_not_defined_is_nan() -> None:
    pairs = pairs_of([2, 2], [2, 2])
    assert all(np.isnan(measure(pairs)) for measure in POOLED.values())
    undefined = {"value": None, "low": None, "high": None}
    found = measure_agreement(pairs, resamples=5, seed=0)
    assert found["kappa"] == undefined
    assert found["mean_auc"] == undefined | {"queries": 0}
    assert measure_agreement(pairs[:0], resamples=5, seed=0)["tau"] == undefined


def test_queries_are_told_apart_from_pairs() -> None:
    # The judge is stricter with the second query, and right within each of the first two; the
    # third cannot tell. Over all pairs, of four relevant and two irrelevant documents, the one of
    # expected grade 3 is above both, each of grade 1 above one.
    pairs = pairs_of([2, 3, 0, 1, 1, 1], [0, 2, 1, 3, 2, 2], "aabbcc")
    found = measure_agreement(pairs, resamples=20, seed=0)
    assert found["mean_tau"] == {"value": 1.0, "low": None, "high": None, "queries": 2}
    assert found["mean_auc"] == {"value": 1.0, "low": None, "high": None, "queries": 2}
    assert found["auc"]["value"] == 5 / 8
    assert found["auc"].keys() == {"value", "low", "high"}


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


def annotations_of(rows: list[tuple[str, str, str, int | None]]) -> pa.Table:
    columns = [
        {
            "query_id": query_id,
            "doc_id": doc_id,
            "annotator": annotator,
            "strategy": "pointwise",
            "prompt_id": "p",
            "grade": grade,
            "expected_grade": None if grade is None else float(grade),
            "confidence": None if grade is None else 0.75,
            "error": "engine: gone" if grade is None else None,
        }
        for query_id, doc_id, annotator, grade in rows
    ]
    return pa.Table.from_pylist(columns, SCHEMAS["annotations"])


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
        queries=pa.table([queries, queries, list(range(30))], schema=SCHEMAS["queries"]),
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
