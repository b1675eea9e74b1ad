"""The job without an engine: what is annotated, and what is refused before anything starts."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from annotation.annotate import annotate, refuse_failures
from annotation.engines.vllm import VllmPool
from annotation.plan.selection import pairs_to_annotate
from annotation.summary import Summary
from corpus.errors import InputError
from corpus.places import place_of
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection, write_table


@pytest.fixture
def tables() -> Collection:
    queries = pa.table([["q1", "q2"], ["one", "two"], [3, 1]], schema=SCHEMAS["queries"])
    documents = pa.table([["a", "b", "c"], [""] * 3, ["x"] * 3], schema=SCHEMAS["documents"])
    candidates = pa.table(
        [["q2", "q1", "q2"], ["a", "b", "c"], [2, 1, 1], [0.1, 0.2, 0.3]],
        schema=SCHEMAS["candidates"],
    )
    sessions = pa.table(
        [
            ["s1", "s2", "s3"],
            ["q2", "q1", "q2"],
            [["c", "a"], [], ["a", "b"]],
            [[True, False], [], [False, False]],
        ],
        schema=SCHEMAS["sessions"],
    )
    others = {name: empty_table(name) for name in ("judgments", "splits")}
    return Collection(
        queries=queries, documents=documents, candidates=candidates, sessions=sessions, **others
    )


def test_the_pairs_are_the_candidates_by_query_and_rank(tables: Collection) -> None:
    pairs = pairs_to_annotate(tables, "c")
    assert pairs.to_pydict() == {"query_row": [0, 1, 1], "doc_row": [1, 2, 0]}


def test_without_candidates_the_pairs_are_those_shown_each_once(tables: Collection) -> None:
    pairs = pairs_to_annotate(replace(tables, candidates=empty_table("candidates")), "c")
    assert pairs.to_pydict() == {"query_row": [1, 1, 1], "doc_row": [0, 1, 2]}


def test_a_collection_that_shows_nothing_is_refused(tables: Collection) -> None:
    bare = replace(tables, candidates=empty_table("candidates"), sessions=empty_table("sessions"))
    with pytest.raises(InputError, match="neither candidates nor sessions"):
        pairs_to_annotate(bare, "c")


def test_an_empty_collection_is_refused(tmp_path: Path) -> None:
    for name in ("queries", "documents"):
        write_table(empty_table(name), tmp_path, name)
    with pytest.raises(InputError, match=r"queries.parquet.*empty"):
        annotate(tmp_path, tmp_path / "out", model="any")


def test_a_model_path_that_does_not_exist_is_named(collection_folder: Path, tmp_path: Path) -> None:
    model = str(tmp_path / "no" / "such" / "model")
    with pytest.raises(InputError, match=model):
        annotate(collection_folder, tmp_path / "out", model=model)
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_tokenizer_is_refused(
    collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    shutil.copy(random_model / "config.json", model)
    with pytest.raises(InputError, match=str(model)):
        annotate(collection_folder, tmp_path / "out", model=str(model))


def test_an_output_folder_with_something_in_it_is_refused(
    collection_folder: Path, random_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        annotate(collection_folder, tmp_path, model=str(random_model))


@pytest.mark.parametrize("setting", ["batch_size", "documents_per_prompt"])
def test_a_count_below_one_is_refused(
    setting: str, collection_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=setting):
        annotate(collection_folder, tmp_path / "out", model="any", **{setting: 0})


def test_reasoning_without_room_to_think_is_refused(
    collection_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="reasoning_tokens must be at least 1"):
        annotate(
            collection_folder, tmp_path / "out", model="any", reasoning=True, reasoning_tokens=0
        )


def counted(graded: int, *errors: str) -> Summary:
    return Summary(
        counts=Counter(pairs=graded + len(errors)),
        grades=Counter({2: graded}),
        kinds=Counter(error.partition(":")[0] for error in errors),
        errors=Counter(errors),
    )


def test_a_job_without_a_grade_is_no_result(tmp_path: Path) -> None:
    found = counted(0, *["refused: not this one"] * 2, "empty query")
    with pytest.raises(InputError, match="no pair was answered: refused: not this one; mend that"):
        refuse_failures(found, place_of(tmp_path), max_failed=1, resumable=False)


def test_a_job_that_mostly_failed_is_no_result(tmp_path: Path) -> None:
    spent = ["budget: 9 tokens are spent"] * 5
    found = counted(2, "refused: no", "answer: none of 0, 1, 2, 3", "refused: no", *spent)
    with pytest.raises(InputError, match=r"3 of 5 pairs failed.*0.5 allows.*with refused: no;"):
        refuse_failures(found, place_of(tmp_path), max_failed=0.5, resumable=True)
    refuse_failures(found, place_of(tmp_path), max_failed=0.6, resumable=True)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_failures_that_is_none_is_refused(
    share: float, collection_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="max_failed must be from 0 to 1"):
        annotate(collection_folder, tmp_path / "out", model="any", max_failed=share)


@pytest.mark.parametrize("setting", ["engines", "cpus_per_engine"])
def test_a_pool_needs_at_least_one(setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        VllmPool(**{setting: 0})
