"""Places that users name: folders and files on a local disk, or by a URL in a store.

A place is a path of universal-pathlib, on fsspec's file systems: `/`, `name`, `exists`, `iterdir`,
`glob` and `open("rb")` are those of pathlib, and a local place is a `pathlib.Path`. What is written
goes through this module, since a store knows neither rename nor half a file. Keys and endpoints
come from the environment, as a store's own tools have them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL).
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, urlsplit

from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem
from upath import UPath

from corpus.errors import InputError

if TYPE_CHECKING:
    # To a type checker a place is a Path: a local one is, and others have what a Path has.
    Place = Path
else:
    Place = UPath

# Stores that Arrow has clients of its own for, which read column by column beside each other.
ARROW_STORES = {"s3", "gs", "gcs", "abfs", "abfss"}
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def place_of(name: str | Place) -> Place:
    """The place that a path or a URL names.

    Args:
        name: a local path, or the URL of a store that fsspec knows, such as `s3://bucket/run`.

    Raises:
        InputError: nothing serves the scheme, or the URL holds a password.

    >>> place_of("s3://bucket/run") / "annotations.parquet"
    S3Path('bucket/run/annotations.parquet', protocol='s3')
    """
    if isinstance(name, UPath):
        return cast(Place, name)
    text = os.fspath(name)
    if not SCHEME.match(text):
        return cast(Place, UPath(text))
    parts = url_parts(text)
    if parts.scheme == "file":
        return cast(Place, UPath(parts.path))
    if not text.startswith(f"{parts.scheme}://"):
        raise InputError(f"{text}: is no URL; write {parts.scheme}://…, or ./{text} for a folder")
    try:
        # Others write beside us: a listing that was kept would hide what they wrote.
        place = UPath(text, use_listings_cache=False)
        place.fs  # noqa: B018 - the package of a store is imported here
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{text}: {parts.scheme}:// cannot be used: {reason}") from error
    except ValueError as error:
        raise InputError(
            f"{text}: nothing serves {parts.scheme}://; give a local folder, or a URL such as "
            "s3://bucket/folder"
        ) from error
    return cast(Place, place)


def url_parts(text: str) -> SplitResult:
    """The parts of a URL, or of a local path, which has no scheme.

    Raises:
        InputError: it is no URL, or holds a password.
    """
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InputError(f"{text}: is no URL: {error}") from error
    if parts.password is not None:
        raise InputError(
            f"{parts.scheme}://…@{parts.hostname}{parts.path}: the URL holds a password, which "
            "would be written into job.json; give keys by the environment, as the store's own "
            "tools have them"
        )
    return parts


def is_local(place: Place) -> bool:
    """Whether a place is on a disk of this machine (or one that is mounted)."""
    return isinstance(place, Path)


def arrow_files(place: Place) -> tuple[FileSystem, str]:
    """The file system, which can be sent to workers, and the path in it, for Arrow and Ray Data.

    Raises:
        InputError: the store cannot be reached.
    """
    if is_local(place):
        return LocalFileSystem(), str(place)
    with reaching(place):
        store = in_store(place)
        if store.protocol in ARROW_STORES:
            return FileSystem.from_uri(str(place))
        return PyFileSystem(FSSpecHandler(store.fs)), store.path


@contextmanager
def reaching(place: Place, what: str = "be used", remedy: str = "") -> Iterator[None]:
    """Turns what a file system or a store raises into a line that names the place.

    Args:
        place: what the body reads or writes.
        what: what the place cannot do, for the message.
        remedy: what the user can do instead.

    Raises:
        InputError: the body raised an error of the system, or of the store's client.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # The clients of stores share no class of errors.
        if is_local(place) and not isinstance(error, OSError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        said = "; ".join(filter(None, (reason or type(error).__name__, remedy)))
        raise InputError(f"{place}: cannot {what}: {said}") from error


def is_there(place: Place) -> bool:
    """Whether there is a file or a folder.

    Raises:
        InputError: the store cannot be reached.
    """
    with reaching(place, "be read"):
        return place.exists()


def make_folder(place: Place) -> None:
    """Makes a local folder and those above it; in a store there are no folders to make."""
    if is_local(place):
        place.mkdir(parents=True, exist_ok=True)


def write_whole(place: Place, content: str | bytes) -> None:
    """Writes a file so that a kill leaves either the old file or the new one.

    Args:
        place: of the file.
        content: bytes, or a text that is written as UTF-8.
    """
    data = content.encode() if isinstance(content, str) else content
    if is_local(place):
        with whole_file(place) as file, file.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())  # else a crash of the machine can leave an empty file
    else:
        in_store(place).fs.pipe_file(in_store(place).path, data)


def read_whole(place: Place) -> bytes:
    """The bytes of a file, of one state of it also where it is replaced meanwhile."""
    if is_local(place):
        return place.read_bytes()
    content: bytes = in_store(place).fs.cat_file(in_store(place).path)
    return content


@contextmanager
def whole_file(place: Place) -> Iterator[Path]:
    """A local path to write to; the file appears, whole, when the body ends without an error."""
    if is_local(place):
        make_folder(place.parent)
        partial = Path(place.with_name(f".{place.name}.partial"))
        yield partial
        os.replace(partial, place)
    else:
        with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
            partial = Path(folder) / place.name
            yield partial
            in_store(place).fs.put_file(str(partial), in_store(place).path)


@contextmanager
def whole_folder(place: Place, last: str | None = None) -> Iterator[Path]:
    """A local folder to fill, which appears when the body ends without an error.

    On a local disk it appears at once, by a rename, and must not be there before. In a store its
    files appear one by one.

    Args:
        place: of the folder.
        last: the file that is copied to a store last, so that what has it is whole.
    """
    if is_local(place):
        make_folder(place.parent)
        begun = Path(place.with_name(f".{place.name}.begun"))
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir()
        yield begun
        begun.rename(place)
    else:
        with tempfile.TemporaryDirectory(prefix="tandem-") as name:
            folder = Path(name)
            yield folder
            for inside in sorted(stamps(folder), key=lambda inside: (inside == last, inside)):
                upload(folder / inside, place / inside)


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file of a folder was last written, and how long it is, by its path within."""
    files = {file: file.stat() for file in folder.rglob("*") if file.is_file()}
    return {
        file.relative_to(folder).as_posix(): (state.st_mtime_ns, state.st_size)
        for file, state in files.items()
    }


def upload(file: Path, place: Place) -> None:
    """Copies a local file to a place, where it appears whole."""
    with whole_file(place) as copy:
        shutil.copyfile(file, copy)


def files_in(place: Place) -> dict[str, dict[str, Any]]:
    """What a store tells of each file in a folder, or of a file, by its path in the store.

    Some clients, Arrow's among them, leave empty files that stand for folders; they are left out.
    """
    store = in_store(place)
    found: dict[str, dict[str, Any]] = store.fs.find(store.path, detail=True)
    folders = {str(folder) for path in found for folder in PurePosixPath(path).parents}
    return {
        path: info
        for path, info in found.items()
        if not path.endswith("/") and path not in folders and info["type"] == "file"
    }


def download(place: Place, folder: Path) -> None:
    """Copies what is in a folder of a store into a local one; nothing, where there is none."""
    store = in_store(place)
    for path in files_in(place):
        file = folder / path[len(store.path) :].strip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        store.fs.get_file(path, str(file))


def remove(place: Place) -> None:
    """Removes a file or a folder with all in it; nothing happens where there is none."""
    if not is_local(place):
        if place.exists():
            in_store(place).fs.rm(in_store(place).path, recursive=True)
    elif place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def in_store(place: Place) -> UPath:
    """A place that is not local, with its file system `fs` and its `path` there."""
    return cast(UPath, place)
