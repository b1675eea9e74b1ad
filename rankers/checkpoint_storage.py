"""Where checkpoints go: a folder, or a store that Arrow or fsspec knows.

Ray Train's controller reads this module before any worker starts, so it imports little.
"""

from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

from corpus.errors import InputError

# Stores that Arrow has clients for, which need no further package.
ARROW_STORES = {"s3", "gs", "gcs", "abfs", "abfss"}


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
        InputError: the store cannot be reached, or neither Arrow nor fsspec knows it.
    """
    try:
        if urlsplit(place).scheme in ARROW_STORES:
            files, path = FileSystem.from_uri(place)
            files.get_file_info(path)  # asks the store
            return files, path
        files, path = fsspec.url_to_fs(place)
    except (ImportError, OSError, ValueError) as error:
        raise InputError(f"checkpoints: {place} cannot be reached: {error}") from error
    if isinstance(files, LocalFileSystem):
        files = WholeFileSystem()
    return PyFileSystem(FSSpecHandler(files)), path
