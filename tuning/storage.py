"""Storage that takes no more, or is away: told apart from other faults, said in one line."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError

from corpus.errors import InputError
from corpus.places import Place
from corpus.store_faults import store_fault

# A full disk, a quota, a limit on files, a file system that is read-only now, broken or gone.
CODES = (*(errno.ENOSPC, errno.EDQUOT, errno.EFBIG), *(errno.EROFS, errno.EIO, errno.ESTALE))
# What libraries say that are not written in Python: the system's words, but for PyTorch, which says
# where in its file it is.
SAID = (
    *(os.strerror(code) for code in CODES),
    *("PytorchStreamWriter failed writing file", ". unexpected pos "),
)


def full_storage(error: BaseException | None) -> str | None:
    """What an error, or what it came of, says of storage that takes no more or is away.

    >>> full_storage(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/file"))
    "[Errno 28] No space left on device: '/disk/file'"
    >>> full_storage(RuntimeError("of another kind")) is None
    True
    """
    found = store_fault(error)
    while error is not None:  # the first cause says it best
        said = " ".join(str(error).split())
        if isinstance(error, StorageInternalError) or any(words in said for words in SAID):
            found = f"{said:.300}"
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return found


@contextmanager
def storage_errors(output: Place) -> Iterator[None]:
    """Says in one line that storage takes no more, or that the study's database is gone.

    Args:
        output: the search's folder.

    Raises:
        InputError: naming the folder and what to do.
    """
    try:
        yield
    except Exception as error:
        if (reason := full_storage(error)) is None:
            raise
        raise InputError(
            f"{output}: the search cannot write any more: {reason}; make room there and for "
            "temporary files, or mend the storage, and go on with --resume"
        ) from error
