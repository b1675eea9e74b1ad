"""Compiled functions that work on one part of a log, run on all parts by threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numba

# Threads of Python rather than numba's own, which take ten times as long to compile.
compiled = partial(numba.njit, cache=True, nogil=True, error_model="numpy")


def for_each_part(kernel: Callable[..., None], parts: int, *arguments: Any) -> None:
    """Calls a compiled function with the number of each part, and the arguments, in parallel.

    Args:
        kernel: by `compiled`; what it writes for one part it writes for no other.
        parts: how many there are.
        arguments: what it takes behind the number of the part.
    """
    count = min(parts, numba.config.NUMBA_NUM_THREADS)

    def of_thread(first: int) -> None:
        for part in range(first, parts, count):
            kernel(part, *arguments)

    # One of them is this one, and each takes several parts: a fit calls this thousands of times,
    # and on a small log to hand a part over takes longer than the part.
    others = [_threads().submit(of_thread, first) for first in range(1, count)]
    of_thread(0)
    for other in others:
        other.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="part")
