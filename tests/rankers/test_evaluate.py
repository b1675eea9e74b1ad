from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from corpus import by_query
from corpus.errors import InputError
from corpus.places import Place
from corpus.tables import Collection, write_collection
from rankers.evaluate import evaluate
from rankers.scoring import lists
from rankers.scoring.pieces import read_piece
from tests.conftest import make_table
from tests.rankers.conftest import save_model, tiny_bert, upload_folder
from tests.rankers.traffic import with_traffic


def test_what_cannot_be_compared_is_refused_before_anything_is_made(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    folder, output = tmp_path / "collection", tmp_path / "out"
    write_collection(tiny_collection, folder)
    ranker, backbone = (save_model(tiny_bert(), tmp_path / name) for name in ("one", "two"))
    (backbone / "model.safetensors").unlink()
    for rankers, reason in [
        ({"../../escaped": ranker}, "the ranker name '../../escaped' has '/'"),
        ({"a/b": ranker}, "the ranker name 'a/b' has '/'"),
        ({"first_stage": ranker}, "'first stage' is the job's own"),
        ({"a b": ranker, "a_b": ranker}, "become one file name"),
        ({}, r"give at least one: --rankers.NAME FOLDER or --runs.NAME FILE"),
        ({"good": ranker, "bad": backbone}, "two: cannot be loaded"),
    ]:
        with pytest.raises(InputError, match=reason):
            evaluate(folder, output, rankers, split="train")
    with pytest.raises(InputError, match="split 'test' has candidates"):
        evaluate(folder, output, {"one": ranker}, split="test")
    with pytest.raises(InputError, match="scorers must be at least 1"):
        evaluate(folder, output, {"one": ranker}, split="train", scorers=0)
    with pytest.raises(InputError, match="cpus_per_scorer must be at least 0"):
        evaluate(folder, output, {"one": ranker}, split="train", cpus_per_scorer=-0.5)
    for grades, reason in [
        ([("q1", "d1", 0), ("q1", "d2", 0)], "apart: none of 2 grades is above 0"),
        ([("q1", "d1", -1), ("q1", "d2", 0)], "apart: none of 2 grades is above 0"),
        ([("q1", "d1", 2), ("q1", "d2", 2)], "no two of its candidates differ in grade"),
        ([("q2", "d3", 2)], "has human judgments and candidates"),
    ]:
        judged = {name: getattr(tiny_collection, name) for name in vars(tiny_collection)}
        judged["judgments"] = make_table("judgments", list(grades))
        other = tmp_path / str(len(list(tmp_path.iterdir())))
        write_collection(Collection(**judged), other)
        with pytest.raises(InputError, match=reason):
            evaluate(other, output, {"one": ranker}, split="train")
    assert not output.exists()


def test_runs_of_other_systems_are_compared_without_a_ranker(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "collection", tmp_path / "out"
    tables = {name: getattr(tiny_collection, name) for name in vars(tiny_collection)}
    tables["splits"] = pa.table({"query_id": ["q1", "q2", "q3"], "split": ["test"] * 3})
    tables["judgments"] = make_table(
        "judgments",
        [("q1", "d1", 3), ("q1", "d2", 1), ("q2", "d3", 0), ("q2", "d4", 2), ("q3", "d1", 1)],
    )
    write_collection(Collection(**tables), folder)
    run = tmp_path / "bm25.run"
    run.write_text("q1 Q0 d2 1 3 a\nq1 Q0 d1 2 1 a\nq2 Q0 d4 1 9 a\nq9 Q0 d1 1 1 a\n")
    evaluate(folder, output, runs={"bm25": run})
    printed = capsys.readouterr().out
    assert "bm25.run: set aside 1 lines of unknown queries" in printed
    assert "first stage: 1 judged queries have no candidates and count 0" in printed
    values = pd.read_parquet(output / "values.parquet")
    shown = values[values["measure"] == "nDCG@10"].pivot_table("value", "ranker", "query_id")
    ideal = 3 + 1 / np.log2(3)
    assert shown.loc["bm25"].to_dict() == pytest.approx(
        {"q1": (1 + 3 / np.log2(3)) / ideal, "q2": 1.0, "q3": 0.0}
    )
    assert shown.loc["first stage"].to_dict() == pytest.approx(
        {"q1": 1.0, "q2": 1 / np.log2(3), "q3": 0.0}
    )
    compared = pd.read_parquet(output / "comparison.parquet").set_index("group")
    assert list(compared["ranker"].unique()) == ["bm25"]
    in_order = ("high", "medium", "low", "all", "in the log", "new")
    assert list(compared.index) == [group for group in in_order if group in compared.index]
    counts = compared[["queries", "wins", "ties", "losses"]].to_dict("index")["all"]
    assert list(counts.values()) == [3, 1, 1, 1]
    assert compared.loc["in the log", "queries"] == 2
    assert "nDCG@10 is not tested on" in (output / "comparison.md").read_text()
    measures = pd.read_parquet(output / "measures.parquet")
    assert {"low", "high", "queries", "bucket"} <= set(measures)
    assert "Who wins on which queries" in (output / "report.html").read_text()
    assert (output / "tables" / "comparison.tex").exists()
    # Again, from what is there.
    evaluate(folder, output, runs={"bm25": run}, resume=True)
    assert capsys.readouterr().out.splitlines()[-4:] == printed.splitlines()[-4:]


def test_what_cannot_be_a_comparison_is_refused(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    folder, output = tmp_path / "collection", tmp_path / "out"
    write_collection(tiny_collection, folder)
    run, other = tmp_path / "a.run", tmp_path / "b.run"
    run.write_text("q1 Q0 d1 1 3 a\n")
    other.write_text("q2 Q0 d3 1 3 a\n")
    for rankers, runs, baseline, reason in [
        ({"bm25": run}, {"bm25": run}, None, "'bm25' names a ranker and a run; give one"),
        ({}, {"bm25": run}, "click", "the baseline 'click' is none of first stage, bm25"),
        ({}, {"BM25": run, "bm25": run}, None, "become one file name"),
        ({}, {"bm25": other}, None, "b.run: ranks nothing for the 1 queries to be measured on"),
        ({}, {"bm25": tmp_path / "missing"}, None, "missing: there is no such file"),
    ]:
        with pytest.raises(InputError, match=reason):
            evaluate(folder, output, rankers, runs, baseline, split="train")
    assert not output.exists()


def test_a_run_in_the_order_of_the_first_stage_measures_as_it_does(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    """Also by the clicks of queries whose documents were clicked alike."""
    folder, clicks, _ = with_traffic(tiny_collection, tmp_path, judged=True)
    same = tmp_path / "same.run"
    same.write_text("".join(f"q{n} Q0 d{doc} 1 {-doc} a\n" for n in range(6) for doc in (1, 2)))
    evaluate(folder, tmp_path / "out", runs={"same": same}, click_labels=clicks)
    values = pd.read_parquet(tmp_path / "out" / "values.parquet")
    shown = values.pivot_table("value", ["measure", "query_id"], "ranker")
    assert shown["same"].tolist() == pytest.approx(shown["first stage"].tolist())


def assert_same(small: Path, large: Path) -> None:
    """Whether two evaluations have the same results, in whatever order."""
    assert {path.name for path in large.iterdir()} == {path.name for path in small.iterdir()}
    for name in ("values", "measures", "comparison"):
        frames = []
        for folder in (small, large):
            frame = read_piece(folder / f"{name}.parquet").to_pandas()
            keys = ("ranker", "measure", "query_id", "bucket", "group")
            by = [key for key in keys if key in frame]
            frames.append(frame.sort_values(by).reset_index(drop=True))
        pd.testing.assert_frame_equal(*frames)
    for name in (*(f"runs/{path.name}" for path in (small / "runs").iterdir()), "qrels.trec"):
        written = [sorted((folder / name).read_text().splitlines()) for folder in (small, large)]
        assert written[0] == written[1]
    names = [
        sorted(path.name for path in (folder / "tables").iterdir()) for folder in (small, large)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if not name.startswith("settings"):
            assert (large / "tables" / name).read_text() == (small / "tables" / name).read_text()


def test_what_fills_the_memory_measures_as_what_does_not(
    tiny_collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As one part, which is read in this process; what is refused leaves nothing behind."""
    folder, clicks, run = with_traffic(tiny_collection, tmp_path, judged=True)
    arguments: dict[str, Any] = {"runs": {"clicked": run}, "click_labels": clicks}
    evaluate(folder, tmp_path / "small", **arguments)
    monkeypatch.setattr(lists, "ROWS_AT_ONCE", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    evaluate(folder, tmp_path / "large", **arguments)
    assert_same(tmp_path / "small", tmp_path / "large")
    first = capsys.readouterr().out
    assert "set aside" not in first
    evaluate(folder, tmp_path / "large", **arguments, resume=True)
    assert capsys.readouterr().out.splitlines()[-4:] == first.splitlines()[-4:]
    with pytest.raises(InputError, match="no query of the split 'train' has human judgments"):
        evaluate(folder, tmp_path / "none", **arguments, split="train")
    run.write_text("q1 Q0 nobody 1 1 a\n")
    with pytest.raises(InputError, match=r"clicked.run: holds no pair of the collection \(1 lines"):
        evaluate(folder, tmp_path / "none", **arguments)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_collection_in_a_store_is_measured_part_by_part(
    tiny_collection: Collection,
    tmp_path: Path,
    store: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_traffic(tiny_collection, tmp_path, judged=True)
    save_model(tiny_bert(), tmp_path / "ranker", model_max_length=32)
    upload_folder(tmp_path, store)

    def measure(root: Place) -> Place:
        rankers = {"tiny": root / "ranker"}
        evaluate(root / "collection", root / "out", rankers, click_labels=root / "clicks")
        return root / "out"

    small = measure(tmp_path)
    for module in (by_query, lists):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(by_query, "ROWS_OF_PART", 12)
    large = measure(store)
    assert_same(small, large)
    assert (large / "report.html").read_text() != ""
