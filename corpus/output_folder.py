"""The rule for every job's output folder: new, or resumed with the same settings, or refused."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from corpus.errors import InputError
from corpus.places import (
    Place,
    is_local,
    make_folder,
    place_of,
    reaching,
    remove,
    write_whole,
)
from corpus.shown_text import without_secrets

RECORD = "job.json"
# Left by a kill while the record was written.
PARTIAL_RECORD = f".{RECORD}.partial"


def begin_output(folder: str | Place, job: str, settings: dict[str, Any], resume: bool) -> bool:
    """Claims `folder` for `job` and records the settings there, in `job.json`.

    Args:
        folder: the output folder, local or in a store; it is made if it is missing.
        job: the name of the job.
        settings: the settings that decide the result, as values of JSON. Passwords and keys in them
            are not kept, nor compared when the job is resumed.
        resume: go on in a folder that the same job, with the same settings, has begun.

    Returns:
        Whether there is work left: False if the job has already finished here.

    Raises:
        InputError: the folder holds something and `resume` is off; it was begun by another job or
            with other settings; or it cannot be written.
    """
    place = place_of(folder)
    wanted = without_secrets(json.loads(json.dumps(settings, default=str)))
    with reaching(place, "be the output", "give another"):
        return _claim(place, job, wanted, resume)


def check_output(folder: str | Place, job: str, resume: bool) -> None:
    """Refuses, before any work, a folder that `begin_output` would refuse whatever the settings.

    Raises:
        InputError: the folder holds something and `resume` is off, it was begun by another job, or
            it cannot be written.
    """
    place = place_of(folder)
    with reaching(place, "be the output", "give another"):
        _refuse_taken(place, job, resume)
        if is_local(place):
            above = next(one for one in (place, *place.absolute().parents) if one.exists())
            if not os.access(above, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))


def _claim(folder: Place, job: str, wanted: dict[str, Any], resume: bool) -> bool:
    record = _refuse_taken(folder, job, resume)
    if record is not None:
        _refuse_other_settings(folder, wanted, record)
        return not record["complete"]
    make_folder(folder)
    _write_record(folder / RECORD, {"job": job, "settings": wanted, "complete": False})
    return True


def _refuse_taken(folder: Place, job: str, resume: bool) -> dict[str, Any] | None:
    """The record of a folder that may be resumed; None where it is new."""
    record_path = folder / RECORD
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; the output of {job} is a folder")
    if record_path.exists():
        record = _read_record(record_path)
        if not resume:
            state = "finished" if record["complete"] else "unfinished"
            raise InputError(
                f"{folder}: holds the {state} output of {record['job']}; "
                "give --resume to go on with it, or another --output"
            )
        if record["job"] != job:
            raise InputError(f"{folder}: was begun by {record['job']}, not {job}")
        return record
    if folder.exists() and any(path.name != PARTIAL_RECORD for path in folder.iterdir()):
        raise InputError(f"{folder}: is not empty and no job's output; give another --output")
    return None


@contextmanager
def withdrawn_if_refused(folder: str | Place, begun: bool) -> Iterator[None]:
    """Removes what a job has claimed where its body finds that the input cannot be used.

    For what only is known once much was read, part by part, and written.

    Args:
        folder: that `begin_output` has claimed.
        begun: whether an earlier run had begun it, whose work is left.
    """
    try:
        yield
    except InputError:
        if not begun:
            _withdraw(place_of(folder))
        raise


def _withdraw(folder: Place) -> None:
    """Removes a folder, or what is in one that cannot go, as one that is mounted or linked to."""
    if not is_local(folder):
        remove(folder)
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name == RECORD):
        with suppress(OSError):
            remove(path)
    with suppress(OSError):
        folder.rmdir()


def finish_output(folder: str | Place) -> None:
    """Records that the job of `folder` has finished."""
    record_path = place_of(folder) / RECORD
    _write_record(
        record_path, json.loads(record_path.read_text(encoding="utf-8")) | {"complete": True}
    )


def record_moved(folder: str | Place, **places: object) -> None:
    """Records where inputs of the job of `folder`, if it was begun, lie now.

    Args:
        folder: the output folder.
        places: by the names of settings; the caller knows that what lies there is the same.
    """
    record_path = place_of(folder) / RECORD
    if record_path.exists():
        record = _read_record(record_path)
        moved = {name: str(place) for name, place in places.items()}
        _write_record(record_path, record | {"settings": record["settings"] | moved})


def warn_unfinished(*folders: str | Place) -> None:
    """Warns on standard error of folders whose job has not finished; they are used as they are."""
    for folder in folders:
        record_path = place_of(folder) / RECORD
        if record_path.exists() and not _read_record(record_path)["complete"]:
            print(
                f"{folder}: is unfinished; what is there is used. Finish it with --resume of the "
                "job that began it",
                file=sys.stderr,
            )


def _refuse_other_settings(folder: Place, wanted: dict[str, Any], record: dict[str, Any]) -> None:
    begun = without_secrets(record["settings"])
    names = wanted.keys() | begun.keys()
    # Hashes and ids of other settings are named last, as they say little.
    for name in sorted(names, key=lambda name: (name.endswith(("_id", "_hash")), name)):
        before, now = begun.get(name), wanted.get(name)
        if before != now:
            raise InputError(
                f"{folder}: was begun with {name} = {before!r}, and is now asked for {now!r}; "
                "resume with the same settings, or give another --output"
            )


def _read_record(path: Place) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"job", "settings", "complete"} <= record.keys():
        raise InputError(f"{path}: was not written by Tandem; give another --output")
    return record


def _write_record(path: Place, record: dict[str, Any]) -> None:
    write_whole(path, json.dumps(record, indent=2) + "\n")
