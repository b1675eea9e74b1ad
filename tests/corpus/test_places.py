"""Places: local folders and a store's, written whole, copied, and refused in a line."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import InputError
from corpus.places import (
    Place,
    arrow_files,
    is_local,
    place_of,
    reaching,
    remove,
    whole_file,
    whole_folder,
    write_whole,
)


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


def test_a_folder_appears_with_all_in_it(place: Place) -> None:
    with whole_folder(place / "ranker", last="config.json") as folder:
        (folder / "config.json").write_text("{}")
        (folder / "weights").mkdir()
        (folder / "weights" / "part").write_text("1")
    assert (place / "ranker" / "config.json").read_text() == "{}"
    assert (place / "ranker" / "weights" / "part").read_text() == "1"


@pytest.mark.usefixtures("store")
def test_a_store_that_refuses_is_named() -> None:
    missing = place_of("s3://no-such-bucket/run")
    with (
        pytest.raises(InputError, match=r"s3://no-such-bucket/run: cannot be the output.*bucket"),
        reaching(missing, "be the output"),
    ):
        write_whole(missing / "job.json", "{}")
