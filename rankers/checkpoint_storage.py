"""Where checkpoints go: a folder or a store that fsspec knows.

Ray Train's controller reads this module before any worker starts, so it imports little.
"""

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem
from pyarrow.fs import FSSpecHandler, PyFileSystem

from corpus.errors import InputError


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


def checkpoint_storage(place: str) -> tuple[PyFileSystem, str]:
    """The file system and path of a folder or of a URI that fsspec knows, such as s3://bucket/run.

    Raises:
        InputError: fsspec does not know it, or a package for it is not installed.
    """
    try:
        files, path = fsspec.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise InputError(f"checkpoints: {place} cannot be reached: {error}") from error
    if isinstance(files, LocalFileSystem):
        files = WholeFileSystem()
    return PyFileSystem(FSSpecHandler(files)), path
