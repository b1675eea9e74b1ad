"""What is measured of a log, by hand and at its edges, and what the job prints of it."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.schemas import SCHEMAS, empty_table
from corpus.sources import SimulatedWorld
from corpus.tables import Collection, read_collection, write_collection, write_table
from tests.conftest import make_table
from workflow.advise import advise
from workflow.log_facts import Facts, agree, measure_facts


def _annotate(folder: Path, grades: dict[tuple[str, str], float]) -> Path:
    """The annotations of one judge."""
    rows = [
        {"query_id": query, "doc_id": doc, "annotator": "judge", "strategy": "pointwise"}
        | {"prompt_id": "p", "grade": round(grade), "expected_grade": grade, "confidence": 1.0}
        for (query, doc), grade in grades.items()
    ]
    write_table(pa.Table.from_pylist(rows, SCHEMAS["annotations"]), folder, "annotations")
    return folder


def _facts(collection: Collection, annotations: Path | None = None) -> Facts:
    return measure_facts(collection, Path("here"), annotations, least_impressions=2)


def test_facts_of_a_log_by_hand(tiny_collection: Collection, tmp_path: Path) -> None:
    splits = make_table("splits", [("q1", "test", "high", True), ("q2", "train", "low", True)])
    collection = replace(tiny_collection, splits=splits)
    grades = {("q1", "d1"): 2.6, ("q1", "d2"): 0.4, ("q2", "d3"): 1.0}
    facts = _facts(collection, _annotate(tmp_path, grades))
    assert (facts.queries, facts.searched, facts.searches, facts.held_out) == (3, 2, 3, 0)
    assert facts.once == 0.5
    assert facts.traffic == {
        "high": pytest.approx(2 / 3),
        "medium": 0.0,
        "low": pytest.approx(1 / 3),
    }
    assert (facts.pairs, facts.shown, facts.shown_often) == (4, 1.0, 0.5)
    assert facts.clicks == 2
    assert facts.positions == 2
    assert (facts.annotated, facts.shown_annotated) == (0.75, 0.75)
    assert facts.with_humans is not None
    assert (facts.with_humans.value, facts.with_humans.queries) == (1.0, 1)
    assert facts.judged == {"high": 1, "medium": 0, "low": 0, "all": 1}
    assert facts.detectable["all"] == math.inf
    withheld = make_table("splits", [("q1", "test", "high", True), ("q2", "test", "low", False)])
    facts = _facts(replace(collection, splits=withheld), tmp_path)
    assert (facts.annotated, facts.shown_annotated) == (1.0, 0.75), "training may read q1 alone"


def test_a_collection_without_a_log_judgments_or_splits(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    nothing = {name: empty_table(name) for name in ("sessions", "judgments", "splits")}
    facts = _facts(replace(tiny_collection, **nothing), _annotate(tmp_path, {("q1", "d1"): 1.0}))
    assert (facts.searches, facts.clicks, facts.positions, facts.shown) == (0, 0, 0, 0.0)
    assert facts.with_humans is None
    assert facts.with_clicks is None
    assert facts.judged["all"] == 0


def test_a_log_whose_documents_never_change_places_tells_no_propensity(
    tiny_collection: Collection,
) -> None:
    rows = [(f"s{n}", "q1", ["d1", "d2"], [n % 2 == 0, n % 3 == 0]) for n in range(30)]
    facts = _facts(replace(tiny_collection, sessions=make_table("sessions", rows)))
    assert (facts.unknown_positions, facts.unknown_clicks) == (1, 1.0)
    without_clicks = [(name, query, docs, [False, False]) for name, query, docs, _ in rows]
    facts = _facts(replace(tiny_collection, sessions=make_table("sessions", without_clicks)))
    assert (facts.clicks, facts.unknown_positions, facts.unknown_clicks) == (0, 1, 1.0)


def test_agreement_is_the_mean_correlation_within_queries() -> None:
    pairs = [("q", "a"), ("q", "b"), ("q", "c"), ("r", "a"), ("r", "b"), ("same", "a")]
    frame = pd.DataFrame(pairs, columns=["query_id", "doc_id"])
    grades = frame.assign(expected_grade=[0.0, 1.0, 2.0, 1.0, 2.0, 3.0])
    found = agree(grades, frame.assign(value=[1, 2, 3, 5, 4, 0]))
    assert found is not None
    assert (found.value, found.queries) == (0.0, 2)  # 1 and -1; the last query tells nothing
    assert (found.low, found.high) == (-1.0, 1.0)
    assert agree(grades, frame[:0].assign(value=[])) is None


def test_what_no_advice_can_be_given_on_is_refused(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"candidates.parquet: has no rows, .*; prepare"):
        _facts(replace(tiny_collection, candidates=empty_table("candidates")))
    of_others = _annotate(tmp_path, {("x", "y"): 1.0})
    with pytest.raises(InputError, match="a grade of none of the 4 candidate pairs of here"):
        _facts(tiny_collection, of_others)
    with pytest.raises(InputError, match="least_impressions must be at least 1, not 0"):
        advise(tmp_path, least_impressions=0)


def test_the_job_prints_facts_a_choice_and_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "collection"
    prepare(folder, SimulatedWorld(queries=80, documents=60))
    collection = read_collection(folder)
    pairs = collection.judgments.to_pandas()
    grades = {(row.query_id, row.doc_id): float(row.grade) for row in pairs.itertuples()}
    annotations = _annotate(tmp_path / "annotations", grades)
    capsys.readouterr()
    advise(folder, annotations)
    shown = capsys.readouterr().out
    assert "1.00 (1.00 to 1.00" in shown, "a judge that gives human grades"
    assert "Learn from: fusion." in shown
    assert f"--prior {annotations}" in shown
    assert list(tmp_path.iterdir()) == [folder, annotations], "it writes nothing"


def test_a_log_in_which_every_query_was_searched_once(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = make_table("queries", [("q1", "red fox", 1), ("q2", "bread", 1)])
    rows = [("s1", "q1", ["d1", "d2"], [True, False]), ("s2", "q2", ["d3", "d4"], [True, False])]
    once = {"queries": queries, "sessions": make_table("sessions", rows)}
    nothing = {name: empty_table(name) for name in ("judgments", "splits")}
    write_collection(replace(tiny_collection, **once, **nothing), tmp_path)
    advise(tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert "Every query was searched once" in shown
    assert "only 2 clicks" in shown
    assert "Learn from: nothing." in shown
    assert "ray_jobs/annotate.py" in shown
