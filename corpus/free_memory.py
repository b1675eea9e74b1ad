"""Memory that a job no longer uses, and that allocators keep for what it may use next."""

import ctypes

import pyarrow as pa

# Of glibc; other C libraries have none.
_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back_free_memory() -> None:
    """Gives memory that is free back to the system.

    Where parts of a table are handled one after another, by several threads, what allocators keep
    of each part adds up: a job of ever equal parts then grows with their number.
    """
    pa.default_memory_pool().release_unused()
    if _TRIM is not None:
        _TRIM(0)
