"""Places: local folders and a store's, written whole, copied, and refused in a line."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus import places
from corpus.errors import InputError
from corpus.places import (
    Place,
    arrow_files,
    is_local,
    local_copy,
    place_of,
    reaching,
    remove,
    whole_file,
    whole_folder,
    write_whole,
)


@pytest.fixture(params=["local", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        return place_of(tmp_path / "run")
    found: Place = request.getfixturevalue("store")
    return found


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("foo://bucket/x", "nothing serves foo://"),
        ("s3:/bucket/x", "is no URL; write s3://"),
        ("s3://key:secret@bucket/x", "holds a password"),
        ("gs://bucket/x", "gs:// cannot be used: Please install gcsfs"),
        ("s3://[bucket/x", "is no URL"),
    ],
)
def test_what_nothing_serves_is_refused_in_a_line(url: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        place_of(url)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["runs/x", "./s3:/x", "/tmp/a:b", "file:///tmp/x", "C:x"])
def test_a_path_is_a_path(name: str) -> None:
    assert is_local(place_of(name))
    assert isinstance(place_of(name), Path)


def test_what_is_written_is_read_by_pathlib_and_arrow(place: Place) -> None:
    write_whole(place / "note.txt", "größer")
    table = pa.table({"grade": [3]})
    with whole_file(place / "grades.parquet") as file:
        pq.write_table(table, file)
    assert (place / "note.txt").read_text(encoding="utf-8") == "größer"
    files, path = arrow_files(place / "grades.parquet")
    assert pq.read_table(path, filesystem=files).equals(table)
    assert sorted(found.name for found in place.iterdir()) == ["grades.parquet", "note.txt"]
    remove(place)
    assert not place.exists()
    remove(place)


def test_what_fails_while_it_is_written_does_not_appear(place: Place) -> None:
    write_whole(place / "note.txt", "before")

    def fail_in_file() -> None:
        with whole_file(place / "note.txt") as file:
            file.write_text("half")
            raise OSError("the disk is full")

    def fail_in_folder() -> None:
        with whole_folder(place / "ranker") as folder:
            (folder / "config.json").write_text("{}")
            raise OSError("the disk is full")

    for failing in (fail_in_file, fail_in_folder):
        with pytest.raises(OSError, match="full"):
            failing()
    assert (place / "note.txt").read_text() == "before"
    assert not (place / "ranker").exists()


def test_a_folder_appears_with_all_in_it_and_is_copied_once(place: Place) -> None:
    with whole_folder(place / "ranker", last="config.json") as folder:
        (folder / "config.json").write_text("{}")
        (folder / "weights").mkdir()
        (folder / "weights" / "part").write_text("1")
    copy = local_copy(place / "ranker")
    assert copy.name == "ranker"
    assert (copy / "config.json").read_text() == "{}"
    assert (copy / "weights" / "part").read_text() == "1"
    assert local_copy(place / "ranker") == copy


def test_a_file_that_was_replaced_is_copied_anew(store: Place) -> None:
    write_whole(store / "note.txt", "before")
    first = local_copy(store / "note.txt")
    write_whole(store / "note.txt", "after!")
    assert first.read_text() == "before"
    assert local_copy(store / "note.txt").read_text() == "after!"


def test_the_cache_keeps_the_newest(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "CACHE_BYTES", 10)
    for name in ("a", "b"):
        write_whole(store / name, "12345678")
    first, second = local_copy(store / "a"), local_copy(store / "b")
    assert second.exists()
    assert not first.exists()


def test_a_store_that_refuses_is_named(store: Place) -> None:
    missing = place_of("s3://no-such-bucket/run")
    with (
        pytest.raises(InputError, match=r"s3://no-such-bucket/run: cannot be the output.*bucket"),
        reaching(missing, "be the output"),
    ):
        write_whole(missing / "job.json", "{}")
    with pytest.raises(InputError, match="there is nothing there"):
        local_copy(store / "nothing")
