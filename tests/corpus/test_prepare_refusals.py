"""What is wrong with a source is refused before a folder is claimed, or leaves nothing in it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.output_folder import begin_output
from corpus.prepare import prepare
from corpus.protocol import Parting
from corpus.schemas import empty_table
from corpus.sources import BaiduUltr, BeirFolder, OwnLogFiles, Source, TablesFolder, TianGong
from corpus.tables import Collection, read_collection, write_collection, write_table
from tests.corpus.prepared import WORLD, contents


@pytest.mark.parametrize("name", ["queries", "documents"])
def test_an_empty_collection_is_refused(
    name: str, tiny_collection: Collection, tmp_path: Path
) -> None:
    write_collection(tiny_collection, tmp_path / "mine")
    path = write_table(empty_table(name), tmp_path / "mine", name)
    with pytest.raises(InputError, match="has no rows; the collection is empty") as caught:
        prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert str(path) in str(caught.value)
    assert not list((tmp_path / "out").glob("*.parquet"))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda sessions: sessions.drop_columns("clicks"), "column 'clicks' is missing"),
        (
            lambda sessions: sessions.set_column(3, "clicks", pa.array([[1, 7], [0, 1], [0, 0]])),
            "column 'clicks' ",
        ),
        (
            lambda sessions: sessions.set_column(3, "clicks", pa.array([[True], [True], [True]])),
            "column 'clicks' has another length than doc_ids in 3 of 3 rows",
        ),
        (
            lambda sessions: sessions.set_column(2, "doc_ids", pa.array([["d1", "d9"]] * 3)),
            "column 'doc_ids' names a document that documents.parquet lacks in 3 of 3 rows",
        ),
    ],
)
def test_a_bad_log_is_refused_by_file_column_and_row(
    spoil: Callable[[pa.Table], pa.Table],
    named: str,
    tiny_collection: Collection,
    tmp_path: Path,
) -> None:
    write_collection(tiny_collection, tmp_path / "mine")
    path = tmp_path / "mine" / "sessions.parquet"
    pa.parquet.write_table(spoil(tiny_collection.sessions), path)
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert str(caught.value).startswith(f"{path}: {named}")
    assert "row 0: {'session_id': 's1'" in str(caught.value) or "is missing" in named


def existing(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("x")
    return path


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (lambda ok, no: TianGong(no), "no"),
        (lambda ok, no: TianGong(ok, human_labels=no), "no"),
        (lambda ok, no: TianGong(ok, human_labels=ok, bodies=no), "no"),
        (lambda ok, no: BaiduUltr(no), "no"),
        (lambda ok, no: BaiduUltr(ok, annotations=no), "no"),
        (lambda ok, no: OwnLogFiles(no, ok), "no"),
        (lambda ok, no: OwnLogFiles(ok, no), "no"),
        (lambda ok, no: BeirFolder(no), "no/corpus.jsonl"),
        (lambda ok, no: TablesFolder(no), "no"),
    ],
)
def test_every_path_is_looked_at_before_anything_is_read_or_claimed(
    source: Callable[[Path, Path], Source], missing: str, tmp_path: Path
) -> None:
    given = source(existing(tmp_path, "ok"), tmp_path / "no")
    with pytest.raises(InputError, match=f"{tmp_path / missing}: there is no such f"):
        given.check()
    with pytest.raises(InputError, match=f"{tmp_path / missing}: there is no such f"):
        prepare(tmp_path / "out", given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("numbers", [{"candidates_per_query": 0}, {"sessions": -1}])
def test_numbers_that_cannot_be_are_refused_before_anything_is_read(
    numbers: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="candidates_per_query must be at least 1"):
        prepare(tmp_path / "out", BeirFolder(existing(tmp_path, "beir"), **numbers))
    assert not (tmp_path / "out").exists()


def test_columns_are_looked_at_before_anything_is_read_or_claimed(tmp_path: Path) -> None:
    log, documents = tmp_path / "log.jsonl", tmp_path / "documents.jsonl"
    log.write_text('{"query": "fox", "doc_ids": ["d1"], "clicks": [1], "page": 1}\n')
    documents.write_text('{"id": "d1", "body": "fox"}\n')
    for columns, said in (
        ({}, "documents.jsonl: there is no column 'doc_id', only id, body; give columns.doc_id"),
        ({"doc_id": "id", "query_id": "qid"}, "log.jsonl: there is no column 'qid', only query"),
        ({"doc_id": "id", "title": "name"}, "documents.jsonl: there is no column 'name'"),
    ):
        with pytest.raises(InputError, match=said):
            prepare(tmp_path / "out", OwnLogFiles(log, documents, columns))
        assert not (tmp_path / "out").exists()
    prepare(tmp_path / "out", OwnLogFiles(log, documents, {"doc_id": "id"}))
    log.unlink()
    prepare(tmp_path / "out", OwnLogFiles(log, documents, {"doc_id": "id"}), resume=True)


def test_a_source_that_fails_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    log, documents = tmp_path / "log.jsonl", tmp_path / "documents.jsonl"
    good = b'{"query": "fox", "doc_ids": ["d1"], "clicks": [1]}\n'
    documents.write_text('{"doc_id": "d1", "body": "fox"}\n')
    log.write_bytes(good * 200 + b"caf\xe9\n")
    (tmp_path / "made").mkdir()
    for output in ("new", "made"):
        with pytest.raises(InputError, match="line 201 is not JSON in UTF-8"):
            prepare(tmp_path / output, OwnLogFiles(log, documents))
        assert not list((tmp_path / output).iterdir())
    with pytest.raises(InputError, match="ask for more"):
        prepare(tmp_path / "new", replace(WORLD, sessions=1))
    log.write_bytes(good * 3)
    prepare(tmp_path / "new", OwnLogFiles(log, documents))
    assert read_collection(tmp_path / "new").sessions.num_rows == 3


def test_what_was_begun_before_is_kept_when_the_source_fails(tmp_path: Path) -> None:
    failing = replace(WORLD, sessions=1)
    settings = {"source": "SimulatedWorld", **vars(failing), **vars(Parting()), "seed": 0}
    begin_output(tmp_path / "out", "prepare", settings, resume=False)
    (tmp_path / "out" / "queries.parquet").touch()
    with pytest.raises(InputError, match="ask for more"):
        prepare(tmp_path / "out", failing, resume=True)
    assert sorted(contents(tmp_path / "out")) == ["job.json", "queries.parquet"]
