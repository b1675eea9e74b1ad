"""The same scores whoever asks: one process, a pool, the job; of parquet or a TREC run."""

import json
import shutil
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from corpus import by_query
from corpus.errors import InputError
from corpus.output_folder import RECORD
from corpus.places import Place, place_of, remove, write_whole
from corpus.tables import Collection, write_collection, write_parquet
from evaluation.trec_reading import read_trec_run
from rankers.data.lists import candidate_ids
from rankers.rerank import rerank
from rankers.scoring import lists
from rankers.scoring.pieces import read_piece
from rankers.scoring.pool import Pool, score_candidates
from tests.conftest import make_table
from tests.rankers.conftest import upload_folder
from tests.scraping import scrape


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_pool_scores_as_one_process_does(
    collection: Collection, ranker: Path, scores: NDArray[np.float32]
) -> None:
    lists = candidate_ids(collection, None)
    rankers = {"r": ranker, "again": ranker}
    runs = score_candidates(lists, collection.documents, rankers, Pool(scorers=2))
    assert list(runs) == ["r", "again"]
    for run in runs.values():
        assert run["query_id"].unique().tolist() == lists["query_id"].to_pylist()
        assert run["doc_id"].tolist() == lists["doc_ids"].combine_chunks().flatten().to_pylist()
        np.testing.assert_allclose(run["score"], scores, rtol=1e-5)
    pool = Pool(precision="bf16")
    [bf16] = score_candidates(lists, collection.documents, {"r": ranker}, pool).values()
    assert np.abs(bf16["score"] - scores).max() > 1e-5
    np.testing.assert_allclose(bf16["score"], scores, atol=0.02 * np.abs(scores).max())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_scorers_with_gpus_begin_and_say_what_is_missing(
    collection: Collection, ranker: Path, scores: NDArray[np.float32]
) -> None:
    """Where PyTorch has no GPU that Ray has; where it has one, that it scores."""
    lists = candidate_ids(collection, None)
    rankers = {"r": ranker, "again": ranker}

    def score() -> dict[str, pd.DataFrame]:
        return score_candidates(lists, collection.documents, rankers, Pool(use_gpu=True))

    if torch.cuda.is_available():
        np.testing.assert_allclose(score()["again"]["score"], scores, rtol=1e-4, atol=1e-5)
        return
    with pytest.raises(InputError, match=r"use_gpu: PyTorch .* finds no GPU where Ray has one"):
        score()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_trec_run_is_reranked_as_the_same_candidates_are(
    folder: Path,
    collection: Collection,
    ranker: Path,
    scores: NDArray[np.float32],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    candidates = collection.candidates.to_pandas().sample(frac=1, random_state=0)
    lines = [
        f"{row.query_id} Q0 {row.doc_id} 0 {row.score} bm25" for row in candidates.itertuples()
    ]
    first = tmp_path / "first.run"
    first.write_text("\n".join([*lines, "q1 Q0 unknown 0 9 bm25"]))
    rerank(folder, ranker, tmp_path / "out", run=first, scorers=2)
    assert f"{first}: set aside 1 lines of unknown documents" in capsys.readouterr().out
    run = pd.read_parquet(tmp_path / "out" / "run.parquet")
    lists = candidate_ids(collection, None)
    assert run["doc_id"].tolist() == lists["doc_ids"].combine_chunks().flatten().to_pylist()
    np.testing.assert_allclose(run["score"], scores, rtol=1e-5)
    written = list(ir_measures.read_trec_run(str(tmp_path / "out" / "run.trec")))
    assert {(row.query_id, row.doc_id): row.score for row in written} == pytest.approx(
        dict(zip(zip(run["query_id"], run["doc_id"], strict=True), run["score"], strict=True))
    )
    rerank(folder, ranker, tmp_path / "out", run=first, resume=True)
    assert "already reranked" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"was begun with run = .*first\.run"):
        rerank(folder, ranker, tmp_path / "out", resume=True)


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets sixty queries count as many."""
    monkeypatch.setattr(lists, "ROWS_AT_ONCE", 50)
    monkeypatch.setattr(by_query, "ROWS_AT_ONCE", 50)
    monkeypatch.setattr(by_query, "ROWS_OF_PART", 150)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_many_lists_are_scored_part_by_part_where_they_lie(
    collection: Collection,
    ranker: Path,
    scores: NDArray[np.float32],
    store: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From a store into it; what a kill has left is not scored again."""
    small_parts(monkeypatch)
    write_collection(collection, store / "collection")
    upload_folder(ranker, store / "ranker")
    arguments = store / "collection", store / "ranker", store / "out"
    rerank(*arguments)
    of_pairs = collection.candidates.select(["query_id", "doc_id"]).to_pandas()
    ids = candidate_ids(collection, None)
    expected = pd.DataFrame(
        {
            "query_id": np.repeat(ids["query_id"], ids["doc_ids"].combine_chunks().value_lengths()),
            "doc_id": ids["doc_ids"].combine_chunks().flatten(),
            "expected": scores,
        }
    )
    folder = store / "out" / "run.parquet"
    parts = {path.name: read_piece(path) for path in folder.iterdir()}
    assert len(parts) > 2

    def check() -> None:
        run = pa.concat_tables(read_piece(path) for path in folder.iterdir()).to_pandas()
        assert list(run) == ["query_id", "doc_id", "score"]
        both = run.merge(expected, on=["query_id", "doc_id"])
        assert len(both) == len(run) == len(of_pairs)
        np.testing.assert_allclose(both["score"], both["expected"], rtol=1e-5)

    check()
    told = f"{len(of_pairs):,} pairs of 60 queries scored"
    assert told in capsys.readouterr().out
    pairs = ("ray_tandem_pairs_total", "")
    seen = scrape("rerank", "ranker", lambda seen: seen.get(pairs) == len(of_pairs))
    assert seen == {pairs: len(of_pairs)}
    written, _ = read_trec_run(store / "out" / "run.trec", collection)
    assert written.num_rows == len(of_pairs)
    assert sorted(path.name for path in (store / "out").iterdir()) == [
        "job.json",
        "run.parquet",
        "run.trec",
    ]
    # As a kill leaves it: a part is missing, and another is told by its score.
    first, second, *_ = sorted(parts)
    remove(folder / first)
    marked = parts[second].set_column(2, "score", pa.repeat(7.0, parts[second].num_rows))
    write_parquet(marked, folder / second)
    unfinish(store / "out")
    rerank(*arguments, resume=True)
    assert set(read_piece(folder / second)["score"].to_pylist()) == {7.0}
    write_parquet(parts[second], folder / second)
    check()


def test_what_many_lists_break_is_said_and_leaves_nothing_behind(
    folder: Path,
    collection: Collection,
    ranker: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As one part, which is read in this process."""
    monkeypatch.setattr(lists, "ROWS_AT_ONCE", 50)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    broken, candidates = tmp_path / "broken", collection.candidates
    shutil.copytree(folder, broken)
    more = make_table("candidates", [("q1", "nobody", 99, 0.0)])
    pq.write_table(pa.concat_tables([candidates, more]), broken / "candidates.parquet")
    lacking = f"names a document that documents.parquet lacks in 1 rows; row {candidates.num_rows}"
    ids = zip(candidates["query_id"].to_pylist(), candidates["doc_id"].to_pylist(), strict=True)
    lines = [f"{query} Q0 {document} 0 1 a\n" for query, document in ids]
    run, other = tmp_path / "run.trec", tmp_path / "other.trec"
    run.write_text("".join([*lines, "q1 Q0 no 0 9 a\n", lines[3], "no Q0 d1 0 9 a\n"]))
    other.write_text("".join([*lines, lines[5].replace(" 1 a", " 2 a")]))
    with pytest.raises(InputError, match=lacking):
        rerank(broken, ranker, tmp_path / "out")
    with pytest.raises(InputError, match="no query of the split 'test' has candidates"):
        rerank(folder, ranker, tmp_path / "out", split="test")
    with pytest.raises(InputError, match=f"line {len(lines) + 1} has query .*, as line 6 has"):
        rerank(folder, ranker, tmp_path / "out", run=other)
    assert not (tmp_path / "out").exists()
    found = lists.open_lists(place_of(folder), place_of(run), None).prepare(tmp_path / "parts")
    assert found == (60, candidates.num_rows)
    said = capsys.readouterr().out
    assert "set aside 1 lines of unknown queries, 1 lines of unknown documents" in said
    assert f"{run}: set aside 1 lines that repeat an earlier one" in said


def unfinish(output: Place) -> None:
    """Makes an output that of a job which was killed before it could record its end."""
    record = json.loads((output / RECORD).read_text())
    write_whole(output / RECORD, json.dumps(record | {"complete": False}))
