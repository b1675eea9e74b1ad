"""Candidate lists: the best by BM25, worked out by hand, with the judged ones in them."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.candidates import bm25_candidates, bm25_scores, shown_candidates
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection
from corpus.texts import document_text

# Without stop words: 2, 3 and 4 words; 3 on average.
TEXTS = {"short": ("fox", "bread"), "twice": ("fox fox", "den"), "long": ("owl", "nest tree bread")}


def make_collection(queries: dict[str, str], documents: dict[str, tuple[str, str]]) -> Collection:
    titles, bodies = zip(*documents.values(), strict=True)
    return Collection(
        queries=pa.table(
            {"query_id": [*queries], "text": [*queries.values()], "frequency": [0] * len(queries)}
        ),
        documents=pa.table({"doc_id": [*documents], "title": titles, "body": bodies}),
        candidates=empty_table("candidates"),
        sessions=empty_table("sessions"),
        judgments=empty_table("judgments"),
        splits=empty_table("splits"),
    )


def judge(collection: Collection, *judgments: tuple[str, str, int]) -> Collection:
    columns = zip(*judgments, strict=True)
    return replace(
        collection,
        judgments=pa.table(dict(zip(SCHEMAS["judgments"].names, columns, strict=True))),
    )


def bm25(in_documents: int, times: int, words: int) -> float:
    """The score of one query word, of three documents: Lucene's BM25, k1 = 1.5 and b = 0.75."""
    rarity = math.log(1 + (3 - in_documents + 0.5) / (in_documents + 0.5))
    return rarity * times / (times + 1.5 * (1 - 0.75 + 0.75 * words / 3))


def test_scores_are_those_of_bm25_by_hand() -> None:
    collection = make_collection({"q1": "fox", "q2": "bread nest", "q3": "zebra"}, TEXTS)
    scores = bm25_scores(collection.queries["text"], collection.documents)
    bread, nest = bm25(2, 1, 4), bm25(1, 1, 4)
    by_hand = np.array(
        [[bm25(2, 1, 2), bm25(2, 2, 3), 0], [bm25(2, 1, 2), 0, bread + nest], [0, 0, 0]]
    )
    np.testing.assert_allclose(scores, by_hand, rtol=1e-5)


def test_candidates_are_the_best_documents_in_order() -> None:
    collection = make_collection({"q1": "fox", "q2": "bread nest"}, TEXTS)
    candidates = bm25_candidates(collection, depth=2)
    assert candidates.schema == SCHEMAS["candidates"]
    assert candidates.select(["query_id", "doc_id", "rank"]).to_pylist() == [
        {"query_id": "q1", "doc_id": "twice", "rank": 1},
        {"query_id": "q1", "doc_id": "short", "rank": 2},
        {"query_id": "q2", "doc_id": "long", "rank": 1},
        {"query_id": "q2", "doc_id": "short", "rank": 2},
    ]
    assert candidates["score"].to_pylist() == pytest.approx(
        [bm25(2, 2, 3), bm25(2, 1, 2), bm25(2, 1, 4) + bm25(1, 1, 4), bm25(2, 1, 2)], rel=1e-5
    )
    assert bm25_candidates(collection, depth=1)["doc_id"].to_pylist() == ["twice", "long"]


def test_judged_documents_are_in_the_list_only_where_bm25_finds_them() -> None:
    collection = make_collection({"q1": "fox"}, TEXTS)
    found = bm25_candidates(collection, depth=10)
    assert found["doc_id"].to_pylist() == ["twice", "short"]
    # "long" has no word of the query: a search engine would not show it, whatever its grade.
    judged = judge(collection, ("q1", "long", 2), ("q1", "short", 1))
    assert bm25_candidates(judged, depth=10) == found
    assert bm25_candidates(judged, depth=1)["doc_id"].to_pylist() == ["twice"]


def test_equal_scores_are_in_the_order_of_the_table_at_any_depth() -> None:
    rng = np.random.default_rng(0)
    texts = {f"d{row}": ("fox " * rng.integers(0, 4), "den") for row in range(60)}
    collection = make_collection({"q1": "fox"}, texts)
    scores = bm25_scores(collection.queries["text"], collection.documents)[0]
    in_order = [f"d{row}" for row in np.argsort(-scores, kind="stable") if scores[row] > 0]
    for depth in (1, 5, 20, 100):
        found = bm25_candidates(collection, depth)
        assert found["doc_id"].to_pylist() == in_order[:depth]
        assert found["rank"].to_pylist() == [*range(1, len(in_order[:depth]) + 1)]


@pytest.mark.parametrize("text", ["zebra", "", "🦊", "the of and", "?!"])
def test_a_query_that_finds_nothing_gets_no_row(text: str) -> None:
    collection = make_collection({"q1": text, "q2": "fox"}, TEXTS)
    assert set(bm25_candidates(collection, depth=3)["query_id"].to_pylist()) == {"q2"}
    alone = make_collection({"q1": text}, TEXTS)
    assert bm25_candidates(alone, depth=3) == empty_table("candidates")


def test_documents_without_words_are_not_found() -> None:
    wordless = {"d1": ("🦊", ""), "d2": ("", "")}
    collection = make_collection({"q1": "fox"}, wordless)
    assert bm25_candidates(collection, depth=3) == empty_table("candidates")
    assert bm25_scores(collection.queries["text"], collection.documents).tolist() == [[0, 0]]


def test_words_of_other_scripts_are_found() -> None:
    documents = {"zh": ("红色 狐狸", ""), "ar": ("ثعلب أحمر", ""), "en": ("red fox", "🦊")}
    queries = {"q1": "狐狸", "q2": "ثعلب", "q3": "fox 🦊"}
    candidates = bm25_candidates(make_collection(queries, documents), depth=3)
    assert candidates["doc_id"].to_pylist() == ["zh", "ar", "en"]


def test_shown_documents_are_ordered_by_mean_position(tiny_collection: Collection) -> None:
    sessions = pa.table(
        {
            "session_id": ["s1", "s2", "s3", "s4"],
            "query_id": ["q2", "q1", "q1", "q3"],
            "doc_ids": [["d4"], ["d1", "d2", "d3"], ["d3", "d2"], []],
            "clicks": [[False], [True, False, False], [False, False], []],
        },
        SCHEMAS["sessions"],
    )
    # q1: d1 at 1; d2 at 2 and 2; d3 at 3 and 1. Equal means are in the order of their ids.
    assert shown_candidates(sessions).to_pylist() == [
        {"query_id": "q1", "doc_id": "d1", "rank": 1, "score": -1.0},
        {"query_id": "q1", "doc_id": "d2", "rank": 2, "score": -2.0},
        {"query_id": "q1", "doc_id": "d3", "rank": 3, "score": -2.0},
        {"query_id": "q2", "doc_id": "d4", "rank": 1, "score": -1.0},
    ]
    empty_pages = sessions.slice(3)
    assert shown_candidates(empty_pages) == empty_table("candidates")


def test_rows_that_stand_for_many_sessions_count_as_many() -> None:
    sessions = pa.table(
        {
            "session_id": ["s1", "s2"],
            "query_id": ["q1", "q1"],
            "doc_ids": [["d1", "d2"], ["d2", "d1"]],
            "clicks": [[False, False], [False, False]],
            "sessions": [1, 3],
        }
    )
    # d2 at 2 once and at 1 three times.
    candidates = shown_candidates(sessions)
    assert candidates["doc_id"].to_pylist() == ["d2", "d1"]
    assert candidates["score"].to_pylist() == [-1.25, -1.75]


def test_a_document_is_searched_by_title_and_body(tiny_collection: Collection) -> None:
    assert document_text(tiny_collection.documents)[1] == "Red wine How wine is made."


def test_bm25_leaves_jax_and_so_the_memory_of_a_gpu_alone(tmp_path: Path) -> None:
    """In a process of its own, before and after somebody else has imported JAX."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").touch()
    (tmp_path / "jax" / "lax.py").write_text("def top_k(*_): raise SystemExit('computes')")
    for script in (
        "import corpus.candidates, jax.lax",
        "import jax.lax as before, corpus.candidates, jax.lax; assert before is jax.lax",
    ):
        path = os.pathsep.join([str(tmp_path), *sys.path])
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}, check=True
        )
