"""Copies of what lies in a store: made once, anew where it changed, and saved as work goes on."""

import pytest

from corpus import local_copies
from corpus.errors import InputError
from corpus.local_copies import local_copy, working_copy
from corpus.places import Place, arrow_files, whole_folder, write_whole


def test_a_folder_is_copied_once(place: Place) -> None:
    with whole_folder(place / "ranker", last="config.json") as folder:
        (folder / "config.json").write_text("{}")
        (folder / "weights").mkdir()
        (folder / "weights" / "part").write_text("1")
    copy = local_copy(place / "ranker")
    assert copy.name == "ranker"
    assert (copy / "config.json").read_text() == "{}"
    assert (copy / "weights" / "part").read_text() == "1"
    assert local_copy(place / "ranker") == copy


def test_an_empty_file_that_stands_for_a_folder_is_no_file(store: Place) -> None:
    files, path = arrow_files(store / "ranker")
    files.create_dir(f"{path}/checkpoints", recursive=True)
    write_whole(store / "ranker" / "checkpoints" / "state", "1")
    write_whole(store / "ranker" / "config.json", "{}")
    copy = local_copy(store / "ranker")
    assert (copy / "checkpoints" / "state").read_text() == "1"
    assert (copy / "config.json").read_text() == "{}"


def test_a_file_that_was_replaced_is_copied_anew(store: Place) -> None:
    write_whole(store / "note.txt", "before")
    first = local_copy(store / "note.txt")
    write_whole(store / "note.txt", "after!")
    assert first.read_text() == "before"
    assert local_copy(store / "note.txt").read_text() == "after!"


def test_work_in_a_folder_is_saved_as_it_goes_and_goes_on(place: Place) -> None:
    with working_copy(place) as (folder, save):
        (folder / "epoch").write_text("1")
        (folder / "last").mkdir()
        (folder / "last" / "state").write_text("one")
        save()
        assert (place / "last" / "state").read_text() == "one"

    def work_until_interrupted() -> None:
        with working_copy(place) as (folder, _):
            assert (folder / "epoch").read_text() == "1"
            (folder / "epoch").unlink()
            (folder / "last" / "state").write_text("two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_until_interrupted()
    assert not (place / "epoch").exists()
    assert (place / "last" / "state").read_text() == "two"


def test_the_cache_keeps_the_newest(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_copies, "CACHE_BYTES", 10)
    for name in ("a", "b"):
        write_whole(store / name, "12345678")
    first, second = local_copy(store / "a"), local_copy(store / "b")
    assert second.exists()
    assert not first.exists()


def test_a_copy_of_nothing_is_refused(store: Place) -> None:
    with pytest.raises(InputError, match="there is nothing there"):
        local_copy(store / "nothing")
