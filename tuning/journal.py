"""The journal of a study, in a local folder or in a store, and who alone may write it."""

import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from corpus.errors import InputError
from corpus.places import Place, is_local, read_whole, remove, upload, write_whole

JOURNAL = "study.journal"
LOCK = ".search.lock"
RENEWED = 20.0  # seconds between two signs of life in a store
LOST = 3 * RENEWED  # after which a search there is taken to be dead


class StoredJournal(JournalFileBackend):  # type: ignore[misc]
    """A journal in a store: a local copy, which is brought there whenever something is added.

    One process at a time may write it, see `only_search`.

    Args:
        place: of the journal.
    """

    def __init__(self, place: Place) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-")
        self._copy, self._place = Path(self._folder.name) / JOURNAL, place
        if place.exists():
            self._copy.write_bytes(read_whole(place))
        super().__init__(str(self._copy))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs(logs)
        upload(self._copy, self._place)


def open_journal(output: Place) -> JournalFileBackend:
    """The journal of a search, which is begun where it is missing.

    Args:
        output: the search's folder.
    """
    place = output / JOURNAL
    return JournalFileBackend(str(place)) if is_local(place) else StoredJournal(place)


def mend_journal(output: Place) -> None:
    """Takes away what a search left that was killed while it wrote; nobody else has the folder."""
    path = output / JOURNAL
    if not is_local(path):  # where a file is whole or not at all
        return
    with suppress(FileNotFoundError):
        path.with_name(f"{JOURNAL}.lock").unlink()
    if path.exists():
        with path.open("r+b") as file:
            content = file.read()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def only_search(output: Place) -> Iterator[None]:
    """Keeps other searches out of an output folder; a kill lets go of it.

    In a store another search can begin a minute after a kill.

    Raises:
        InputError: another search is at work there.
    """
    if not is_local(output):
        with _leased(output / LOCK):
            yield
        return
    with (output / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{output}: another search is at work there; wait for it, or give another --output"
            ) from error
        yield


@contextmanager
def _leased(lock: Place) -> Iterator[None]:
    """Holds a lock in a store, which has none, by a sign of life that is renewed.

    Two that begin in the same second can both get it; a person who resumes a search does not.
    """
    mine = {"host": socket.gethostname(), "process": os.getpid()}
    held = json.loads(read_whole(lock)) if lock.exists() else None
    if held is not None and (age := time.time() - held["renewed"]) < LOST and not _is(held, mine):
        raise InputError(
            f"{lock.parent}: another search, process {held['process']} of {held['host']}, was at "
            f"work there {age:.0f} seconds ago; wait for it or, if it was killed, a minute"
        )
    ended = threading.Event()

    def renew() -> None:
        write_whole(lock, json.dumps(mine | {"renewed": time.time()}))

    def keep_renewing() -> None:
        while not ended.wait(RENEWED):
            with suppress(Exception):  # whatever a client raises while the store is away
                renew()

    renew()
    thread = threading.Thread(target=keep_renewing, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(Exception):  # else it would hide why the search ended; the lock grows old
            remove(lock)


def _is(held: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    return all(held.get(name) == value for name, value in mine.items())
