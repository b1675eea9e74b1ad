"""Where checkpoints go: a folder, or a store that Arrow or fsspec knows, claimed by one training.

A checkpoint's place is a string, and no `corpus.places.Place`: Ray Train writes by a file system of
Arrow's, whose options (`?region=...`) the URI may hold. Ray Train's controller reads this module
before any worker starts, so it imports little.
"""

import json
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import fsspec
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, PyFileSystem

from corpus.errors import InputError
from corpus.output_folder import RECORD
from corpus.places import ARROW_STORES, url_parts


class _WholeFile(LocalFileOpener):  # type: ignore[misc]
    def close(self) -> None:
        if not self.closed:
            super().close()
            self.commit()


class WholeFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A local file system on which a written file appears only when it is whole.

    As on an object store: a process that is killed while it writes leaves the file before.
    """

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" not in mode:
            return super()._open(path, mode, **options)
        return _WholeFile(path, mode, fs=self, **(options | {"autocommit": False}))


def checkpoint_storage(place: str) -> tuple[FileSystem, str]:
    """The file system and path of a folder or of a URI, such as s3://bucket/run.

    Raises:
        InputError: the store cannot be reached, neither Arrow nor fsspec knows it, or the URI
            holds a password.
    """
    try:
        parts = url_parts(place)
    except InputError as error:
        raise InputError(f"checkpoints: {error}") from error
    try:
        if parts.scheme in ARROW_STORES:
            files, path = FileSystem.from_uri(place)
            files.get_file_info(path)  # asks the store
            return files, path
        files, path = fsspec.url_to_fs(place)
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"checkpoints: {place} cannot be reached: {error}") from error
    if isinstance(files, LocalFileSystem):
        files = WholeFileSystem()
    return PyFileSystem(FSSpecHandler(files)), path


def place_within(place: str, name: str) -> str:
    """A place of its own below a folder or URI.

    >>> place_within("s3://bucket/run?region=x", "click only")
    's3://bucket/run/click%20only?region=x'
    >>> place_within("runs/checkpoints/", "click")
    'runs/checkpoints/click'
    """
    parts = urlsplit(place)
    if parts.scheme in ARROW_STORES:
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name, safe='')}"))
    return f"{place.rstrip('/')}/{name}"


def check_store(place: str, job: str, settings: dict[str, Any], resume: bool) -> None:
    """Refuses a place that holds checkpoints of another job, or of one with other settings.

    The rule is that of output folders: new, or resumed with the same settings, or refused.

    Args:
        place: folder or URI.
        job: the name of the job.
        settings: what decides its result, as JSON can hold it.
        resume: go on with what the same job has left there.

    Raises:
        InputError: naming the place and what stands against it; or it cannot be reached.
    """
    files, path = checkpoint_storage(place)
    try:
        found = files.get_file_info(FileSelector(path, allow_not_found=True))
        record = _read_record(files, path) if found else None
    except OSError as error:
        raise InputError(f"checkpoints: {place} cannot be read: {error}") from error
    if not found:
        return
    if record is None:
        raise InputError(
            f"{place}: is not empty, and no {RECORD} of Tandem's says whose checkpoints it holds; "
            "give other --checkpoints"
        )
    if not resume:
        raise InputError(
            f"{place}: holds the checkpoints of {record['job']}; give --resume to go on with them, "
            "or other --checkpoints"
        )
    if record["job"] != job:
        raise InputError(f"{place}: was begun by {record['job']}, not {job}")
    wanted = json.loads(json.dumps(settings, default=str))
    for name in sorted(wanted.keys() | record["settings"].keys()):
        before, now = record["settings"].get(name), wanted.get(name)
        if before != now:
            raise InputError(
                f"{place}: its checkpoints were made with {name} = {before!r}, and now {now!r} is "
                "asked for; resume with the same settings, or give other --checkpoints"
            )


def claim_store(place: str, job: str, settings: dict[str, Any]) -> None:
    """Records, in `job.json`, whose checkpoints a place holds; see `check_store`."""
    files, path = checkpoint_storage(place)
    files.create_dir(path, recursive=True)
    record = {"job": job, "settings": settings, "complete": False}
    with files.open_output_stream(f"{path}/{RECORD}") as file:
        file.write(json.dumps(record, indent=2, default=str).encode())


def _read_record(files: FileSystem, path: str) -> dict[str, Any] | None:
    if files.get_file_info(f"{path}/{RECORD}").type == FileType.NotFound:
        return None
    with files.open_input_stream(f"{path}/{RECORD}") as file:
        content = file.read()
    try:
        record = json.loads(content)
    except ValueError:
        return None
    if not isinstance(record, dict) or "job" not in record:
        return None
    return record if isinstance(record.get("settings"), dict) else None
