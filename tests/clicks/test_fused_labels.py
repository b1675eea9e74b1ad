"""The job from sessions and a judge's grades to fused labels."""

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clicks import DynamicBayesianNetwork
from clicks.fit_clicks import fit_clicks
from corpus.errors import InputError
from corpus.tables import read_table
from tests.clicks.small_log import GRADES, QUERIES, SESSIONS, annotate, write_log


def test_a_judges_grades_are_the_prior_of_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection, output = write_log(tmp_path / "collection", SESSIONS), tmp_path / "clicks"
    foreign: dict[tuple[str, str], float | None] = {
        ("r", "a"): 1.0,
        ("q", "z"): 1.0,
        ("q", "A"): None,
    }
    prior = annotate(tmp_path / "annotations", GRADES | foreign)
    fit_clicks(collection, output, prior=prior, resamples=0)
    labels = read_table(output, "click_labels").to_pylist()
    assert [(row["doc_id"], row["impressions"], row["clicks"]) for row in labels] == [
        ("a", 4, 3),
        ("b", 3, 1),
        ("c", 0, 0),
    ]
    assert {row["model"] for row in labels} == {"PositionBasedModel"}
    assert labels[0]["relevance"] > labels[1]["relevance"]
    assert labels[0]["precision"] > labels[2]["precision"] > 0
    table = pq.read_table(output / "prior.parquet")
    assert table.column_names == ["grade", "mean", "strength", "carry"]
    assert table["grade"].to_pylist()[:2] + table["grade"].to_pylist()[-2:] == [0, 0.1, 3, None]
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 of 2 shown pairs have a grade, and 1 graded pairs were never shown" in printed
    assert "1 rows without a grade are set aside" in printed
    assert "2 rows of a query or document that the collection lacks are set aside" in printed
    annotate(prior, GRADES | foreign | {("q", "a"): 2.7})
    with pytest.raises(InputError, match="begun with prior_hash"):
        fit_clicks(collection, output, prior=prior, resamples=0, resume=True)
    with pytest.raises(InputError, match="begun with labels"):
        fit_clicks(collection, output, resamples=0, resume=True)


def test_contexts_share_the_opinion_of_a_pair_that_none_has_shown(tmp_path: Path) -> None:
    device = SESSIONS.append_column("device", pa.array(["tv", "phone", "tv", "phone"]))
    collection = write_log(tmp_path / "collection", device)
    prior, output = annotate(tmp_path / "annotations", GRADES), tmp_path / "clicks"
    fit_clicks(collection, output, "DynamicBayesianNetwork", context="device", prior=prior)
    labels = read_table(output, "click_labels").to_pylist()
    assert [row["impressions"] for row in labels] == [4, 3, 0]
    models = [
        DynamicBayesianNetwork.load(output / "click_model" / str(number)).relevance()
        for number in (1, 2)
    ]
    unseen = [model["relevance"].to_pylist()[2] for model in models]
    assert labels[2]["relevance"] == pytest.approx(sum(unseen) / 2)
    # Two contexts have seen a, so its label is worth more than the one opinion of c.
    assert labels[0]["precision"] > labels[2]["precision"] > 0
    assert set(pq.read_table(output / "prior.parquet")["context"].to_pylist()) == {"phone", "tv"}


@pytest.mark.parametrize("fused", [True, False])
def test_clicks_of_a_query_that_no_judge_graded_are_weighted(tmp_path: Path, fused: bool) -> None:
    # What a model says of q and of r is for rankers that learn grades beside; r has none.
    of_r = SESSIONS.set_column(0, "session_id", pa.array(["5", "6", "7", "8"]))
    of_r = of_r.set_column(1, "query_id", pa.array(["r"] * 4))
    queries = pa.table([["q", "r"], ["tandem", "bicycle"], [4, 4]], schema=QUERIES)
    log = pa.concat_tables([SESSIONS, of_r])
    collection = write_log(tmp_path / "collection", log, queries)
    annotations = annotate(tmp_path / "annotations", GRADES | {("r", "a"): None})
    fit_clicks(collection, tmp_path / "weighted", resamples=0)
    weighted = read_table(tmp_path / "weighted", "click_labels").to_pylist()
    if fused:
        fit_clicks(collection, tmp_path / "clicks", prior=annotations, resamples=0)
    else:
        fit_clicks(
            collection, tmp_path / "clicks", "PositionBasedModel", beside=annotations, resamples=0
        )
    labels = read_table(tmp_path / "clicks", "click_labels").to_pylist()
    of_queries = {
        query: [row for row in labels if row["query_id"] == query] for query in ("q", "r")
    }
    assert {row["model"] for row in of_queries["q"]} == {"PositionBasedModel"}
    assert of_queries["r"] == [row for row in weighted if row["query_id"] == "r"]
    assert {row["model"] for row in of_queries["r"]} == {"ipw-em"}


def test_beside_is_of_click_models(tmp_path: Path) -> None:
    collection = write_log(tmp_path / "collection", SESSIONS)
    with pytest.raises(InputError, match="leave beside out, or name a click model"):
        fit_clicks(collection, tmp_path / "clicks", beside=tmp_path / "annotations")
    assert not (tmp_path / "clicks").exists()


@pytest.mark.parametrize(
    ("grades", "tail", "labels", "message"),
    [
        (GRADES, 1, None, "grades of 2 judges"),
        (dict.fromkeys(GRADES), 0, None, "none of its 3 rows has a grade"),
        ({("r", "a"): 1.0}, 0, None, "none of its 1 graded pairs is of a query and a document"),
        ({("q", "c"): 1.0}, 0, None, "the sessions show none of its 1 graded pairs"),
        ({}, 0, None, "none of its 0 rows has a grade"),
        (GRADES, 0, "ipw", "which have no prior"),
        (None, 0, None, "there is no such table"),
    ],
)
def test_annotations_that_cannot_be_a_prior_are_refused_before_the_output_is_claimed(
    grades: dict[tuple[str, str], float | None] | None,
    tail: int,
    labels: Literal["ipw"] | None,
    message: str,
    tmp_path: Path,
) -> None:
    collection = write_log(tmp_path / "collection", SESSIONS)
    prior = tmp_path / "annotations"
    if grades is not None:
        annotate(prior, grades, tail=tail)
    with pytest.raises(InputError, match=message):
        fit_clicks(collection, tmp_path / "clicks", labels, prior=prior)
    assert not (tmp_path / "clicks").exists()
