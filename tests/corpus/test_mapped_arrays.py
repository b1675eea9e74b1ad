"""Arrays and ids in mapped files are what they would be in memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import mapped_arrays
from corpus.mapped_arrays import IdRows, hash_ids, mapped_array, repeated_rows

IDS = st.lists(st.text(max_size=3), min_size=1, max_size=20, unique=True)


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_arrays, "ROWS_AT_ONCE", 3)


def chunked(values: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([values[start : start + 2] for start in range(0, len(values), 2)])


@settings(max_examples=30)
@given(IDS, st.lists(st.text(max_size=3), min_size=1, max_size=20))
def test_ids_are_found_where_they_stand(ids: list[str], wanted: list[str]) -> None:
    expected = [ids.index(name) if name in ids else -1 for name in wanted]
    assert IdRows(chunked(ids)).find(chunked(wanted)).tolist() == expected


def test_ids_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def colliding(*columns: pa.ChunkedArray, salt: str) -> Any:
        hashes = hash_ids(*columns, salt=salt)
        return hashes if int(salt) else hashes % np.uint64(2)

    monkeypatch.setattr(mapped_arrays, "hash_ids", colliding)
    assert IdRows(chunked(list("abcdef"))).find(chunked(["f", "x", "a"])).tolist() == [5, -1, 0]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), max_size=9))
def test_keys_that_repeat_are_found(keys: list[tuple[str, str]]) -> None:
    first, second = ([key[at] for key in keys] for at in range(2))
    table = pa.table({"one": pa.array(first, pa.string()), "two": pa.array(second, pa.string())})
    expected = [row for row, key in enumerate(keys) if keys.count(key) > 1]
    assert repeated_rows(table, ["one", "two"]).tolist() == expected


def test_an_array_lies_in_no_folder_and_in_memory_only_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mapped = mapped_array(5, np.int64)
    mapped[:] = 7
    assert list(tmp_path.iterdir()) == []

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    for array in (mapped, mapped_array(5, np.int64), mapped_array(0, np.int64)):
        array[:] += 1
    assert mapped.tolist() == [8] * 5
