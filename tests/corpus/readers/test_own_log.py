"""A log of one's own, with the junk that it holds, becomes a collection."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.readers import log_tables
from corpus.readers.ids import id_of_text
from corpus.sources import OwnLogFiles
from corpus.tables import read_collection
from tests.corpus.readers.conftest import prepared

ROWS: list[dict[str, Any]] = [
    {"sid": 1, "q": "night train", "shown": ["a", "b"], "clicked": [0, 1]},
    {"sid": 2, "q": "night train", "shown": ["a"], "clicked": [0, 1]},
    {"sid": 3, "q": "ticket", "shown": ["b", "b"], "clicked": [0, 1]},
    {"sid": 4, "q": "ticket", "shown": ["b", "c"], "clicked": [1, 0]},
    {"sid": 5, "q": None, "shown": ["b"], "clicked": [1]},
    {"sid": 6, "q": "ticket", "shown": None, "clicked": [1]},
]


DOCUMENTS: list[dict[str, Any]] = [
    {"doc_id": "a", "title": "Night train", "body": "Vienna"},
    {"doc_id": "b", "body": "B"},
]
COLUMNS = {"session_id": "sid", "text": "q", "doc_ids": "shown", "clicks": "clicked"}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_logs_of_ones_own_by_their_own_names(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in {"log": ROWS, "documents": DOCUMENTS}.items():
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n\n")
    source = OwnLogFiles(tmp_path / f"log.{suffix}", tmp_path / f"documents.{suffix}", COLUMNS)
    collection = prepared(source, tmp_path)
    assert collection.sessions.to_pylist() == [
        {
            "session_id": "1",
            "query_id": id_of_text("night train"),
            "doc_ids": ["a", "b"],
            "clicks": [False, True],
        },
        {
            "session_id": "4",
            "query_id": id_of_text("ticket"),
            "doc_ids": ["b", "c"],
            "clicks": [True, False],
        },
    ]
    assert collection.queries["text"].to_pylist() == ["night train", "ticket"]
    assert {row["doc_id"] for row in collection.documents.to_pylist()} == {"a", "b", "c"}
    printed = " ".join(capsys.readouterr().out.split())
    for line in (
        "1 searches whose clicks are not a 0 or 1 for each document",
        "1 searches that show a document twice",
        "1 searches without a query",
        "1 searches without a list of documents and a list of clicks",
        "1 documents kept without any text",
    ):
        assert f"set aside: {line}" in printed
    assert ("set aside: 2 lines that are no JSON object" in printed) == (suffix == "jsonl")


def test_a_wrong_mapping_is_refused_with_the_right_names(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    (tmp_path / "documents.jsonl").write_text(json.dumps(DOCUMENTS[0]) + "\n")
    paths = tmp_path / "log.jsonl", tmp_path / "documents.jsonl"
    with pytest.raises(InputError, match=r"no column 'doc_ids', only sid, q, shown, clicked"):
        prepare(tmp_path / "one", OwnLogFiles(*paths))
    with pytest.raises(InputError, match=r"'querry' is none of session_id"):
        prepare(tmp_path / "two", OwnLogFiles(*paths, {"querry": "q"}))


def test_a_log_longer_than_a_part_is_written_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 3)
    rows = [
        {"query": f"q{n % 2}", "doc_ids": [f"d{n % 5}", "x"], "clicks": [n % 2, 0]}
        for n in range(10)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps({"doc_id": "x"}) + "\n"))
    source = OwnLogFiles(tmp_path / "log.jsonl", tmp_path / "documents.jsonl")
    collection = prepared(source, tmp_path)
    assert len(list((tmp_path / "collection" / "sessions.parquet").iterdir())) == 4
    assert collection.sessions["session_id"].to_pylist() == [str(n) for n in range(10)]
    assert collection.queries["frequency"].to_pylist() == [5, 5]
    q0 = id_of_text("q0")
    first = [row for row in collection.candidates.to_pylist() if row["query_id"] == q0]
    assert [row["score"] for row in first] == [-1.0] * 5 + [-2.0]


def write_log(folder: Path, rows: list[dict[str, Any]]) -> OwnLogFiles:
    """A log in JSON lines, with documents d1 to d3; each row changes a search of d1 and d2."""
    search = {"session_id": "s", "query_id": "q1", "query": "fox", "doc_ids": ["d1", "d2"]}
    lines = [json.dumps(search | {"clicks": [1, 0]} | row) + "\n" for row in rows]
    (folder / "log.jsonl").write_text("".join(lines))
    documents = [json.dumps({"doc_id": f"d{n}", "title": "t"}) + "\n" for n in (1, 2, 3)]
    (folder / "documents.jsonl").write_text("".join(documents))
    return OwnLogFiles(folder / "log.jsonl", folder / "documents.jsonl")


NO_ID: list[Any] = [None, float("nan"), True, "", ["q1"], {"a": 1}, "\ud800", 1e300]


def test_a_missing_query_id_is_made_of_the_text(tmp_path: Path) -> None:
    rows = [{"query_id": value, "query": f"text {n % 2}"} for n, value in enumerate(NO_ID)]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    assert collection.queries["text"].to_pylist() == ["text 0", "text 1"]
    assert collection.queries["frequency"].to_pylist() == [4, 4]
    ids = collection.queries["query_id"].to_pylist()
    assert ids == [id_of_text("text 0"), id_of_text("text 1")]
    assert not any(char.isspace() for name in ids for char in name)


def test_texts_of_one_query_id_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"query_id": "q", "query": text} for text in ("shoes", "Shoes", "boots", "shoes")]
    queries = prepared(write_log(tmp_path, rows), tmp_path).queries
    assert queries.select(["text", "frequency"]).to_pylist() == [{"text": "shoes", "frequency": 4}]
    told = "2 texts of searches, as their query id had another text before, which is kept"
    assert f"set aside: {told}" in capsys.readouterr().out


def test_searches_of_documents_without_an_id_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"doc_ids": [value, "d2"]} for value in NO_ID] + [{}]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    assert collection.sessions.num_rows == 1
    assert collection.documents["doc_id"].to_pylist() == ["d1", "d2", "d3"]
    printed = capsys.readouterr().out
    assert f"set aside: {len(NO_ID)} searches that show a document without an id" in printed


def test_numbers_are_the_same_ids_in_every_type(tmp_path: Path) -> None:
    rows = [{"query_id": value, "doc_ids": [value, "d2"]} for value in (1, "1", 1.0)]
    rows += [{"doc_ids": [1, 1.0]}]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    assert collection.queries["query_id"].to_pylist() == ["1"]
    assert collection.sessions["doc_ids"].to_pylist() == [["1", "d2"]] * 3


def test_searches_of_one_session_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 2)
    # "u-2" is a session of its own, which the second search of "u" must not be taken for.
    names = ["u", "u", "u-2", "v", "u", None, "5"]
    rows = [{"session_id": name} for name in names]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    ids = collection.sessions["session_id"].to_pylist()
    assert ids == ["u", "u-2*", "u-2", "v", "u-3", "5", "5-2"]
    again = write_log(tmp_path, rows)
    prepare(tmp_path / "again", again, held_out=0.0)
    assert read_collection(tmp_path / "again").sessions == collection.sessions


def test_columns_that_may_be_a_context_go_along_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 2)
    rows: list[dict[str, Any]] = [
        {"nested": [1], "sessions": -5},
        {"device": None},
        {"device": "phone", "version": 2, "new": True},
        {"device": "", "version": 2.0, "new": False},
        {"device": "tv"},
    ]
    sessions = prepared(write_log(tmp_path, rows), tmp_path).sessions
    assert sessions.column_names[4:] == ["device", "version", "new"]
    assert sessions["device"].to_pylist() == [None, None, "phone", None, "tv"]
    assert sessions["version"].to_pylist() == [None, None, "2", "2", None]
    assert sessions["new"].to_pylist() == [None, None, "true", "false", None]
    schemas = {
        str(pq.read_schema(part))
        for part in (tmp_path / "collection" / "sessions.parquet").iterdir()
    }
    assert len(schemas) == 1


def test_columns_of_parquet_that_are_not_used_are_not_converted(tmp_path: Path) -> None:
    source = write_log(tmp_path, [])
    table = pa.table(
        {
            "query": pa.array(["fox"] * 2).dictionary_encode(),
            "query_id": pa.array([b"q1", None]),
            "doc_ids": pa.array([["d1"], ["d2"]], pa.large_list(pa.large_string())),
            "clicks": pa.array([[1], [0]], pa.list_(pa.uint8())),
            "device": pa.array(["phone", None]).dictionary_encode(),
            "session_id": pa.array([2**50, 2**53], pa.timestamp("ms")),
            # Dates that Python has none for.
            "at": pa.array([2**50, 2**53], pa.timestamp("ms", tz="America/New_York")),
            "parts": pa.array([{"at": 2**53}] * 2, pa.struct([("at", pa.timestamp("ms"))])),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    source.sessions = tmp_path / "log.parquet"
    collection = prepared(source, tmp_path)
    assert collection.queries["query_id"].to_pylist() == ["q1", id_of_text("fox")]
    assert collection.sessions["session_id"].to_pylist() == ["0", "1"]
    assert collection.sessions.column_names[4:] == ["device"]
    assert collection.sessions["device"].to_pylist() == ["phone", None]
    assert collection.sessions["clicks"].to_pylist() == [[True], [False]]


def test_half_characters_and_lists_for_texts_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_log(tmp_path, [{"query": "half \ud83e", "\ud83e": "x"}, {"query": ["fox"]}])
    with source.documents.open("a") as file:
        file.write('{"doc_id": "d4", "title": ["t"]}\n{"doc_id": "d1", "title": "other"}\n')
    collection = prepared(source, tmp_path)
    assert collection.queries["text"].to_pylist() == ["half \ufffd"]
    assert collection.sessions.column_names[4:] == ["\ufffd"]
    assert collection.documents["title"].to_pylist() == ["t", "t", "t", ""]
    printed = capsys.readouterr().out
    for line in (
        "2 halves of characters, which became U+FFFD",
        "1 searches without a query",
        "1 titles and bodies of documents that are no text",
        "1 documents whose id an earlier one has, which is kept",
    ):
        assert f"set aside: {line}" in printed


def test_a_folder_of_files_of_several_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_log(tmp_path, [{}, {}])
    content = source.sessions.read_bytes()
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + content)
    (log / "b.jsonl.gz").write_bytes(gzip.compress(content))
    pq.write_table(
        pa.Table.from_pylist([*map(json.loads, content.splitlines())]), log / "c.parquet"
    )
    for name in ("d.csv", "_SUCCESS", ".a.crc"):
        (log / name).touch()
    source.sessions = log
    assert prepared(source, tmp_path).sessions.num_rows == 6
    assert "set aside: 1 files that are no .jsonl, .jsonl.gz, .parquet" in capsys.readouterr().out


def test_broken_parquet_is_named(tmp_path: Path) -> None:
    source = write_log(tmp_path, [])
    source.sessions = tmp_path / "log.parquet"
    source.sessions.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"log.parquet: is no parquet file"):
        prepare(tmp_path / "collection", source)
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
    pq.write_table(pa.table({"query": bad, "doc_ids": [["d1"]], "clicks": [[1]]}), source.sessions)
    with pytest.raises(InputError, match=r"log.parquet: rows 0 to 0 hold text that is not in UTF"):
        prepare(tmp_path / "collection", source)
