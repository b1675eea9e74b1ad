"""Documents of a node are found by their ids, and what is wrong with them is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus import documents as module
from corpus.documents import open_documents
from corpus.places import Place
from corpus.refused_rows import TableError
from corpus.tables import write_table
from tests.conftest import make_table

ROWS = [(f"d{number}", f"title {number}", f"body {number}") for number in range(50)]


def two_files(folder: Path, rows: list[tuple[object, ...]]) -> Path:
    (folder / "documents.parquet").mkdir(parents=True)
    for number in (0, 1):
        table = make_table("documents", rows[number::2])
        pq.write_table(table, folder / "documents.parquet" / f"{number}.parquet", row_group_size=7)
    return folder


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("bits", [64, 2])
def test_rows_are_found_also_where_hashes_agree(
    bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = module._hashes
    monkeypatch.setattr(module, "_hashes", lambda ids: hashes(ids) >> np.uint64(64 - bits))
    documents = open_documents(two_files(tmp_path / "collection", ROWS))
    asked = ["d7", "unknown", "d0", "d7", "d49", ""]
    rows = documents.rows(pa.array(asked))
    assert rows.tolist() == [25 + 3, -1, 0, 25 + 3, 49, -1]
    assert documents.take(rows[[0, 4]])["body"].to_pylist() == ["body 7", "body 49"]
    assert documents.rows(pa.array([], pa.string())).tolist() == []


def test_an_id_that_is_there_twice_is_named(tmp_path: Path) -> None:
    folder = two_files(tmp_path / "collection", [*ROWS, ROWS[4]])
    with pytest.raises(TableError, match=r"'doc_id' is a key that.*in 1 of 51 rows; row 25"):
        open_documents(folder)


def test_a_store_is_copied_once_for_as_long_as_it_does_not_change(store: Place) -> None:
    write_table(make_table("documents", ROWS[:2]), store, "documents")
    first = open_documents(store)
    write_table(make_table("documents", ROWS[2:4]), store, "documents")
    again = open_documents(store)
    assert first.rows(pa.array(["d0", "d3"])).tolist() == [0, -1]
    assert again.rows(pa.array(["d0", "d3"])).tolist() == [-1, 1]
