"""Evaluation against held-out traffic: beside human grades, and where there are none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from corpus.errors import InputError
from corpus.tables import Collection, write_collection
from rankers.evaluate import evaluate
from tests.rankers.traffic import with_traffic


def test_held_out_traffic_is_a_truth_beside_human_grades(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, clicks, run = with_traffic(tiny_collection, tmp_path, judged=True)
    runs = {"clicked": run}
    evaluate(folder, tmp_path / "out", runs=runs, click_labels=clicks)
    values = pd.read_parquet(tmp_path / "out" / "values.parquet")
    shown = values.pivot_table("value", ["measure", "query_id"], "ranker")
    # Humans say d1, and users d2, which they clicked in all searches of four of the queries.
    assert shown.loc["nDCG@10"].index.tolist() == ["q0", "q1"]
    assert shown.loc["nDCG@10", "first stage"].tolist() == [1.0, 1.0]
    ndcg = shown.loc["traffic nDCG@10"]
    assert ndcg.index.tolist() == ["q1", "q2", "q4", "q5"]  # the others had no click on a candidate
    assert ndcg["clicked"].tolist() == [1.0] * 4
    assert ndcg["first stage"].tolist() == pytest.approx([1 / np.log2(3)] * 4)
    likelihood = shown.loc["traffic log-likelihood"]
    assert likelihood.index.tolist() == [f"q{n}" for n in range(6)]
    assert likelihood["clicked"].mean() > likelihood["first stage"].mean()
    compared = pd.read_parquet(tmp_path / "out" / "comparison.parquet")
    assert set(compared["measure"]) == {"nDCG@10", "traffic nDCG@10", "traffic log-likelihood"}
    assert {"in the log", "new"} <= set(compared["group"])
    said = capsys.readouterr().out
    none_of = f"{folder}: no query of the split 'test' in the groups"
    assert f"{none_of} medium, low, new can be measured by nDCG@10\n" in said
    both = "traffic nDCG@10, traffic log-likelihood"
    assert f"{none_of} medium can be measured by {both}\n" in said
    assert "traffic nDCG@10 by query frequency" in said


def test_without_human_judgments_held_out_traffic_measures_alone(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, clicks, run = with_traffic(tiny_collection, tmp_path, judged=False)
    output, runs = tmp_path / "out", {"clicked": run}
    with pytest.raises(InputError, match="or give --click_labels to measure by held-out clicks"):
        evaluate(folder, output, runs=runs)
    with pytest.raises(InputError, match=r"no/propensities.parquet: there is no such table"):
        evaluate(folder, output, runs=runs, click_labels=tmp_path / "no")
    with pytest.raises(InputError, match="max_weight must be at least 1, not 0"):
        evaluate(folder, output, runs=runs, click_labels=clicks, max_weight=0.5)
    assert not output.exists()
    evaluate(folder, output, runs=runs, click_labels=clicks)
    said = capsys.readouterr().out
    assert "held-out traffic measures nothing: give --click_labels" in said
    assert (
        f"{folder}: no query of the split 'test' has human judgments and candidates; measured by "
        "the held-out traffic of 4 queries alone" in said
    )
    measures = pd.read_parquet(output / "measures.parquet")
    assert set(measures["measure"]) == {"traffic nDCG@10", "traffic log-likelihood"}
    assert (output / "qrels.trec").read_text() == ""


def test_click_labels_without_held_out_traffic_are_said_to_be_of_no_use(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_collection(tiny_collection, tmp_path / "collection")
    run = tmp_path / "a.run"
    run.write_text("q1 Q0 d1 1 3 a\n")
    evaluate(
        tmp_path / "collection",
        tmp_path / "out",
        runs={"a": run},
        split="train",
        click_labels=tmp_path,
    )
    assert "there is no held-out traffic to measure by; prepare holds it out" in (
        capsys.readouterr().out
    )
