"""The same scores whoever asks: a pair by itself, one process, a pool; parquet or a TREC run."""

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
from transformers import (
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from corpus import by_query
from corpus.errors import InputError
from corpus.output_folder import RECORD
from corpus.places import Place, place_of, remove, write_whole
from corpus.schemas import empty_table
from corpus.tables import Collection, read_collection, write_collection, write_parquet
from evaluation.trec_reading import read_trec_run
from rankers.data.lists import candidate_ids, candidate_lists
from rankers.data.padding import list_traffic
from rankers.mixes import FrequencySigmoid
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import save_ranker
from rankers.models.small_bert import build_small_bert
from rankers.rerank import rerank
from rankers.scoring import lists, pieces
from rankers.scoring.actors import PieceScorer
from rankers.scoring.blocks import refuse_unsound, scoring_blocks
from rankers.scoring.pair_scorer import PairScorer, encode_in_bf16
from rankers.scoring.pieces import (
    SCORES,
    CutPieces,
    cut_lists,
    pieces_left,
    pieces_of,
    read_piece,
    scored_piece,
)
from rankers.scoring.pool import Pool, score_candidates
from tests.conftest import make_table
from tests.rankers.conftest import random_model, score_in_one_process, upload_folder

WORDS = ["tide", "moon", "bread", "rye", "fox", "train", "night", "Paris"]
MIX = FrequencySigmoid(midpoint=15.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of sixty queries, with one to twenty documents of one to eighty words."""
    rng = np.random.default_rng(0)
    queries: list[tuple[object, ...]] = [
        (f"q{number}", WORDS[number % 8], number // 2) for number in range(60)
    ]
    documents: list[tuple[object, ...]] = [
        (f"d{number}", "", " ".join(rng.choice(WORDS, rng.integers(1, 80))))
        for number in range(100)
    ]
    candidates: list[tuple[object, ...]] = [
        (query_id, f"d{number}", rank, 1 / rank)
        for query_id, _, _ in queries
        for rank, number in enumerate(rng.permutation(100)[: rng.integers(1, 20)], 1)
    ]
    filled = {
        "queries": make_table("queries", queries),
        "documents": make_table("documents", documents),
        "candidates": make_table("candidates", candidates),
    }
    empty = {name: empty_table(name) for name in ("sessions", "judgments", "splits")}
    folder = tmp_path_factory.mktemp("collection")
    write_collection(Collection(**filled, **empty), folder)
    return folder


@pytest.fixture(scope="module")
def collection(folder: Path) -> Collection:
    return read_collection(folder)


@pytest.fixture(scope="module")
def ranker(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with two heads, which cuts pairs at 48 tokens."""
    folder = tmp_path_factory.mktemp("ranker")
    build_small_bert(collection, folder, seed=0)
    torch.manual_seed(0)
    model, tokenizer = load_cross_encoder(str(folder), 48, heads=2, new_head=True)
    torch.nn.init.normal_(model.classifier.weight)
    save_ranker(model, tokenizer, MIX, folder)
    return folder


@pytest.fixture(scope="module")
def scores(collection: Collection, ranker: Path) -> NDArray[np.float32]:
    """Of all pairs, by one process."""
    return score_in_one_process(ranker, collection)


def test_blocks_hold_every_pair_once_and_end_with_the_shortest() -> None:
    rows = pa.array([[2, 0], [1], [0, 3, 2]])
    texts = pa.array(["four", "ab", "längste", ""])
    # Six pairs in blocks for sixteen: one each.
    blocks = list(scoring_blocks(rows, texts, ["r", "s"], 2))
    assert [block["ranker"].to_pylist() for block in blocks] == [["r"]] * 6 + [["s"]] * 6
    first, second = (pa.concat_tables(blocks[i : i + 6]).drop_columns(["ranker"]) for i in (0, 6))
    assert first.to_pydict() == {
        "pair": [0, 5, 1, 3, 2, 4],
        "list": [0, 2, 0, 2, 1, 2],
        "document": [2, 2, 0, 0, 1, 3],
    }
    assert first.equals(second)


def test_a_pair_has_the_score_that_it_has_by_itself(
    collection: Collection, ranker: Path, scores: NDArray[np.float32]
) -> None:
    lists = candidate_lists(collection, None)
    model, tokenizer = load_cross_encoder(str(ranker), heads=2)
    alone = []
    weights = MIX(1.0, list_traffic(lists)).tolist()
    for row, weight in zip(lists.to_pylist(), weights, strict=True):
        for document in row["documents"]:
            pair = tokenizer(row["text"], document, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                clicks, relevance = model.eval()(**pair).logits[0].tolist()
            alone.append(weight * clicks + (1 - weight) * relevance)
    assert np.std(scores) > 0.1
    np.testing.assert_allclose(scores, alone, rtol=1e-5)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_cannot_be_sorted_are_refused(score: float) -> None:
    ids = {"query_id": ["q1", "q2", "q2"], "doc_id": ["a", "b", "c"]}
    refuse_unsound(pa.table({**ids, "score": [1.0, 2.0, 3.0]}), "r")
    with pytest.raises(InputError, match="ranker r gives query 'q2' and document 'b' the score"):
        refuse_unsound(pa.table({**ids, "score": [1.0, score, score]}), "r")


@pytest.mark.parametrize("config", [BertConfig, ElectraConfig, RobertaConfig, DistilBertConfig])
def test_scores_of_a_bf16_encoder_are_finer_than_bf16(config: type[PreTrainedConfig]) -> None:
    model = random_model(config)
    ids = torch.randint(3, 99, (50, 20))
    with torch.inference_mode():
        whole = model(input_ids=ids).logits
        encode_in_bf16(model)
        scores = model(input_ids=ids).logits
    assert model.base_model.dtype == torch.bfloat16
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.to(torch.bfloat16).float())
    torch.testing.assert_close(scores, whole, atol=0.02 * float(whole.abs().max()), rtol=0)


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
        return score_candidates(lists, collection.documents, rankers, Pool(2, use_gpu=True))

    if torch.cuda.is_available():
        np.testing.assert_allclose(score()["again"]["score"], scores, rtol=1e-4, atol=1e-5)
        return
    with pytest.raises(InputError, match=r"use_gpu: PyTorch .* finds no GPU where Ray has one"):
        score()


@pytest.mark.parametrize("there", [True, False])
def test_a_scorer_computes_where_it_is_told(
    there: bool, collection: Collection, ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray hides no GPU from actors that asked for none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    lists, texts = candidate_ids(collection, None), pa.array(["tide"])
    for use_gpu, device in ((False, "cpu"), (True, "cuda")):
        assert PairScorer({"r": str(ranker)}, lists, texts, use_gpu=use_gpu).device.type == device


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


def test_lists_are_cut_into_pieces_of_whole_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_PAIRS_PER_PIECE", 3)
    lengths = [1, 2, 1, 4, 3, 1, 1]
    lists = pa.table({"query": range(7), "doc_ids": [["d"] * length for length in lengths]})
    cut = [piece["query"].to_pylist() for piece in cut_lists(lists)]
    assert cut == [[0, 1], [2], [3], [4], [5, 6]]
    scored = scored_piece(
        pa.table({"query_id": ["a", "b"], "doc_ids": [["x", "y"], ["x"]]}),
        pa.array([3.0, 1.0, 2.0]),
    )
    assert scored.to_pydict() == {
        "query_id": ["a", "a", "b"],
        "doc_id": ["x", "y", "x"],
        "rank": [1, 2, 1],
        "score": [3.0, 1.0, 2.0],
    }


def test_a_scorer_goes_from_file_to_file(
    folder: Path,
    ranker: Path,
    scores: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "MOST_PAIRS_PER_PIECE", 200)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = place_of(folder)
    cut = CutPieces(place, tmp_path / "lists", None, None)
    sources = dict.fromkeys(("queries", "splits", "candidates"), place)
    assert cut(by_query.read_whole(sources, {})).to_pydict() == {
        "queries": [60],
        "pairs": [len(scores)],
        "repeated": [0],
    }
    names = pieces_of(tmp_path / "lists")
    assert len(names) > 1
    out = {"r": tmp_path / "r"}
    scorer = PieceScorer(
        {"r": str(ranker), "broken": str(tmp_path)}, place, tmp_path / "lists", out, SCORES
    )
    for name in names:
        scorer(pa.table({"ranker": ["r"], "piece": [name]}))
    found = pa.concat_tables(read_piece(out["r"] / name) for name in names)
    assert found.column_names == SCORES
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5)
    assert list(pieces_left(names, out)) == []
    refused = scorer(pa.table({"ranker": ["broken"], "piece": [names[0]]}))
    assert refused.column_names == ["refusal"]


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
    rerank(*arguments, scorers=2)
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
