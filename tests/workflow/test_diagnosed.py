"""What is known of relevance and quality, and what evaluated rankers follow of it."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from corpus.prepare import prepare
from corpus.simulation.world import human_grade
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, write_collection, write_parquet
from evaluation.diagnosis import PAIR
from evaluation.trec_writing import write_trec_run
from workflow.diagnosed import diagnose_rankers, known_truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    prepare(folder / "collection", SimulatedWorld(queries=60, documents=80), seed=3)
    return folder


def test_relevance_and_quality_of_a_world_are_those_that_made_its_grades(folder: Path) -> None:
    collection = read_collection(folder / "collection")
    truth = known_truth(folder / "collection")
    assert len(truth) == collection.candidates.num_rows
    assert set(truth["quality"]) == {0, 1, 2}
    both = truth.merge(collection.judgments.to_pandas(), on=PAIR)
    assert len(both) > 100
    made = human_grade(both["relevance"].to_numpy(), both["quality"].to_numpy() / 2)
    assert both["grade"].tolist() == made.tolist()


def test_rankers_that_follow_one_thing_alone_are_told_apart(folder: Path) -> None:
    truth = known_truth(folder / "collection")
    evaluation = folder / "evaluation"
    (evaluation / "runs").mkdir(parents=True)
    scores = {"by relevance": truth["relevance"], "by quality": truth["quality"]}
    scores["none"] = 0 * truth["quality"]
    for name, score in scores.items():
        run = truth[PAIR].assign(score=score.astype(float))
        write_trec_run(run, evaluation / "runs" / f"{name.replace(' ', '_')}.trec", name)
    write_parquet(pa.table({"ranker": list(scores)}), evaluation / "values.parquet")
    found = diagnose_rankers(evaluation, folder / "collection")
    assert found.groupby(["measure", "query_id"]).size().eq(len(scores)).all()
    means = found.groupby(["measure", "ranker"])["value"].mean()
    for of, given in (("relevance", "quality"), ("quality", "relevance")):
        assert means[f"correlation with {of}", f"by {of}"] == pytest.approx(1.0)
        assert means[f"pairs by {of}", f"by {of}"] == 1.0
        assert means[f"pairs by {of}", f"by {given}"] == 0.5
        assert means[f"correlation with {of}", "none"] == 0.0
    assert means["AUC of relevant", "by relevance"] == 1.0


def test_of_runs_and_tables_what_is_needed_is_read(folder: Path, tmp_path: Path) -> None:
    collection, evaluation = tmp_path / "collection", tmp_path / "evaluation"
    judgments = pa.table({"query_id": ["q"] * 3, "doc_id": ["a", "b", "c"], "grade": [0, 2, 1]})
    write_parquet(judgments, collection / "judgments.parquet")
    for unread in ("documents", "sessions", "candidates"):
        (collection / f"{unread}.parquet").write_text("broken")
    run = [("q", "b", 3.0), ("q", "unjudged", 2.5), ("q", "a", 2.0), ("q", "c", 1.0)]
    elsewhere = [("unjudged", document, 1.0) for document in "abc"]
    frame = pd.DataFrame([*run, *elsewhere], columns=[*PAIR, "score"])
    write_trec_run(frame, evaluation / "runs" / "r.trec", "r")
    write_parquet(pa.table({"ranker": ["r", "r"]}), evaluation / "values.parquet")
    found = diagnose_rankers(evaluation, collection)
    # b stands above a, c does not; b and c, of grades 2 and 1, are in their order.
    assert found[["query_id", "measure", "value"]].to_numpy().tolist() == [
        ["q", "AUC of relevant", 0.5],
        ["q", "nDCG@10 among relevant", 1.0],
    ]


def test_where_quality_is_not_known_human_grades_are_relevance(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = read_collection(folder / "collection")
    write_collection(collection, tmp_path)
    grades = known_truth(tmp_path)
    assert list(grades) == [*PAIR, "relevance"]
    judgments = collection.judgments.to_pandas()
    pd.testing.assert_series_equal(grades["relevance"], judgments["grade"], check_names=False)
    record = json.loads((folder / "collection" / "job.json").read_text())
    record["settings"]["seed"] = 4  # as a world that an older version made
    (tmp_path / "job.json").write_text(json.dumps(record))
    assert "quality" not in known_truth(tmp_path)
    assert "made otherwise now" in capsys.readouterr().out
