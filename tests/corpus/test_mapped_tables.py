"""A table that is read in a stream is, or is refused as, the one that is read whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import mapped_tables
from corpus.mapped_tables import map_table, take_rows
from corpus.refused_rows import TableError
from corpus.schemas import SCHEMAS
from corpus.tables import Collection, read_collection, read_table, table_path, write_collection
from tests.conftest import make_table

SESSIONS = [(f"s{row}", "q1", ["d1", "d2"], [True, False]) for row in range(9)]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_tables, "BATCH_ROWS", 2)


def refusal(action: Callable[[], Any]) -> str:
    """The message of the TableError that `action` must end in."""
    with pytest.raises(TableError) as caught:
        action()
    return str(caught.value)


def write_groups(table: pa.Table, folder: Path, name: str) -> None:
    """Writes parquet with three rows a row group, unchecked."""
    pq.write_table(table, table_path(folder, name), row_group_size=3)


def test_a_mapped_collection_is_the_one_that_was_written(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    write_collection(tiny_collection, tmp_path)
    mapped = read_collection(tmp_path, map_table)
    assert mapped == tiny_collection
    assert mapped.candidates["rank"].num_chunks == 2


def test_other_widths_and_further_columns_come_as_they_do_from_a_table_read_whole(
    tmp_path: Path,
) -> None:
    table = pa.table(
        {
            "market": pa.array(["de", "jp", "de", "at", "jp"]).dictionary_encode(),
            "query_id": pa.array(["a", "b", "c", "d", "e"], pa.large_string()),
            "text": pa.array(["fox", "狐", "", "fox", "x"]).dictionary_encode(),
            "frequency": pa.array([3, 0, 1, 1, 2], pa.uint8()),
        }
    )
    write_groups(table, tmp_path, "queries")
    mapped, whole = map_table(tmp_path, "queries"), read_table(tmp_path, "queries")
    assert mapped.to_pydict() == whole.to_pydict()
    assert mapped.schema == whole.schema
    assert mapped["text"].num_chunks > whole["text"].num_chunks


@pytest.mark.parametrize("second", [pa.int64(), pa.int32()])
def test_a_folder_of_parts_is_mapped_too(second: pa.DataType, tmp_path: Path) -> None:
    parts = table_path(tmp_path, "queries")
    parts.mkdir()
    for number, kind in enumerate([pa.int64(), second]):
        ids = [f"q{number}{row}" for row in range(3)]
        frequency = pa.array([1, 2, 3], kind)
        rows = pa.table({"query_id": ids, "text": ids, "frequency": frequency})
        pq.write_table(rows, parts / f"part-{number}.parquet")
    (parts / "_SUCCESS").touch()
    assert map_table(tmp_path, "queries") == read_table(tmp_path, "queries")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("session_id", "s1", "'session_id' is a key that stands there more than once in 1 of 9"),
        ("session_id", None, "'session_id' is null in 1 of 9 rows"),
        ("doc_ids", ["d1"], "'clicks' has another length than doc_ids in 1 of 9 rows"),
        ("clicks", [True, None], "'clicks' holds a null in 1 of 9 rows"),
    ],
)
def test_a_bad_row_of_a_later_row_group_is_named(
    column: str, value: object, complaint: str, tmp_path: Path
) -> None:
    columns = make_table("sessions", list(SESSIONS)).to_pydict()
    columns[column][7] = value
    write_groups(pa.table(columns, SCHEMAS["sessions"]), tmp_path, "sessions")
    message = refusal(lambda: map_table(tmp_path, "sessions"))
    assert complaint in message
    assert "row 7: {" in message
    assert message == refusal(lambda: read_table(tmp_path, "sessions"))


def test_a_pair_that_two_row_groups_hold_is_named(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(f"q{row}", "d1", row + 1, 0.5) for row in range(8)]
    write_groups(make_table("candidates", [*rows, ("q1", "d1", 1, 0.5)]), tmp_path, "candidates")
    message = refusal(lambda: map_table(tmp_path, "candidates"))
    assert "'query_id, doc_id' is a key that stands there more than once in 1 of 9" in message
    assert "row 8: {'query_id': 'q1', 'doc_id': 'd1'" in message


def test_a_type_that_does_not_do_is_refused_even_without_rows(tmp_path: Path) -> None:
    columns = {"query_id": ["q1"], "text": ["fox"], "frequency": [{"much": 1}]}
    write_groups(pa.table(columns).slice(0, 0), tmp_path, "queries")
    message = refusal(lambda: map_table(tmp_path, "queries"))
    assert "column 'frequency' is struct" in message
    assert message == refusal(lambda: read_table(tmp_path, "queries"))


def test_a_file_that_is_missing_or_no_parquet_is_named(tmp_path: Path) -> None:
    path = table_path(tmp_path, "queries")
    assert f"{path}: there is no such table" in refusal(lambda: map_table(tmp_path, "queries"))
    path.write_text("query_id,text,frequency\n")
    assert f"{path}: cannot be read as parquet" in refusal(lambda: map_table(tmp_path, "queries"))


def test_an_unknown_document_of_a_later_session_is_named(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    write_collection(tiny_collection, tmp_path)
    sessions: list[tuple[object, ...]] = [*SESSIONS, ("s9", "q1", ["d1", "d8"], [True, False])]
    write_groups(make_table("sessions", sessions), tmp_path, "sessions")
    message = refusal(lambda: read_collection(tmp_path, map_table))
    assert "names a document that documents.parquet lacks in 1 of 10 rows; row 9: {" in message


def test_a_mapped_table_is_neither_in_memory_nor_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_tables, "BATCH_ROWS", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    ids = [f"d{row}" for row in range(20_000)]
    rows = pa.table({"doc_id": ids, "title": ids, "body": [name * 20 for name in ids]})
    pq.write_table(rows, table_path(tmp_path, "documents"))
    before = pa.total_allocated_bytes()
    mapped = map_table(tmp_path, "documents")
    assert pa.total_allocated_bytes() - before < rows.nbytes / 100
    assert list((tmp_path / "scratch").iterdir()) == []
    assert mapped == rows


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6).filter(any), st.data())
def test_rows_are_taken_from_any_chunks(lengths: list[int], data: st.DataObject) -> None:
    numbers = iter(range(sum(lengths)))
    chunks = [[f"d{next(numbers)}" for _ in range(length)] for length in lengths]
    table = pa.table({"doc_id": pa.chunked_array(chunks, pa.string())})
    rows = np.array(data.draw(st.lists(st.integers(0, sum(lengths) - 1))), dtype=np.int32)
    assert take_rows(table, rows)["doc_id"].to_pylist() == [f"d{row}" for row in rows]
