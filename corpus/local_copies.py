"""Copies on this node of what lies in a store, for what reads and writes files alone.

Such are models, memory maps, databases and trainings. A local place is its own copy.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from upath import UPath

from corpus.errors import InputError
from corpus.places import (
    Place,
    download,
    files_in,
    in_store,
    is_local,
    make_folder,
    reaching,
    remove,
    stamps,
    upload,
)

CACHE_BYTES = 50 * 2**30


@contextmanager
def working_copy(place: Place) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A local folder for work that needs one, as a training or a database does, and its saving.

    Yields:
        The folder, with what is at the place: itself, where it is local. And a function that
        brings what has changed since to the place; it is also called at the end, whatever ends
        the body.
    """
    if is_local(place):
        make_folder(place)
        yield place, lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="tandem-") as name:
        folder = Path(name) / place.name
        folder.mkdir()
        download(place, folder)
        saved = stamps(folder)

        def save() -> None:
            found = stamps(folder)
            for inside in sorted(saved.keys() - found.keys()):
                remove(place / inside)
            for inside in sorted(name for name in found if found[name] != saved.get(name)):
                upload(folder / inside, place / inside)
            saved.clear()
            saved.update(found)

        try:
            yield folder, save
        finally:
            save()


def local_copy(place: Place) -> Path:
    """A local file or folder with what is at a place: itself, or a copy in this node's cache.

    Copies are told apart by what the store says of their files, so that one that was replaced is
    copied anew; see `kept_on_node`.

    Raises:
        InputError: there is nothing, or the store cannot be reached.
    """
    if is_local(place):
        return Path(place)
    name = place.name or "root"
    with reaching(place):
        kept = kept_on_node(content_key(place), lambda folder: download(place, folder / name))
    return kept / name


def content_key(place: Place) -> str:
    """What tells the content of a file or folder from any other, without reading it.

    Raises:
        InputError: there is nothing, or the store cannot be reached.
    """
    with reaching(place):
        store = UPath(place.absolute()) if is_local(place) else in_store(place)
        found = files_in(cast(Place, store))
        if not found:
            raise InputError(f"{place}: there is nothing there")
    state = [str(store), *(f"{path} {_state(info)}" for path, info in sorted(found.items()))]
    return hashlib.sha256("\n".join(state).encode()).hexdigest()[:24]


def kept_on_node(key: str, fill: Callable[[Path], None]) -> Path:
    """A folder of this node's cache, filled by the first process of the node that asks for it.

    The cache is in `tandem` of XDG_CACHE_HOME (`~/.cache`). The oldest folders go where together
    they exceed 50 GiB; files of them that are open, or mapped into memory, stay readable.

    Args:
        key: of the folder's content.
        fill: fills a new folder.
    """
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = cache / key
    with (cache / f".{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it where a process dies
        if not kept.exists():
            begun = Path(tempfile.mkdtemp(prefix=".begun-", dir=cache))
            try:
                fill(begun)
                begun.rename(kept)
            finally:
                shutil.rmtree(begun, ignore_errors=True)
            _forget_oldest(kept)
        os.utime(kept)  # the oldest are those that were not used
    return kept


def _state(info: dict[str, object]) -> str:
    return f"{info.get('size')} {info.get('ETag') or info.get('LastModified') or info.get('mtime')}"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem" / "places"


def _forget_oldest(newest: Path) -> None:
    copies = sorted(_cache().glob("[!.]*"), key=lambda copy: copy.stat().st_mtime, reverse=True)
    room = CACHE_BYTES
    for copy in copies:
        room -= sum(file.stat().st_size for file in copy.rglob("*") if file.is_file())
        if room < 0 and copy != newest:
            shutil.rmtree(copy, ignore_errors=True)
