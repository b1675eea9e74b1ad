"""Compiled functions that work on one part of a log, run on all parts by threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

LEAST_TO_SHARE = 2**14  # numbers; fewer are worked on sooner than handed to a thread

# Threads of Python rather than numba's own, which take ten times as long to compile.
compiled = partial(numba.njit, cache=True, nogil=True, error_model="numpy")


def for_each_part(kernel: Callable[..., None], parts: int, *arguments: Any) -> None:
    """Calls a function with the number of each part, and the arguments, in parallel.

    Args:
        kernel: by `compiled`, or of few calls of numpy on large arrays; what it writes for one part
            it writes for no other.
        parts: how many there are.
        arguments: what it takes behind the number of the part.
    """
    count = min(parts, numba.config.NUMBA_NUM_THREADS)
    # Each thread takes the next part when it has done one: parts differ, and so do processors that
    # other work shares.
    left = iter(range(parts))

    def of_thread() -> None:
        for part in left:
            kernel(part, *arguments)

    # One of them is this one, and each takes several parts: a fit calls this thousands of times,
    # and on a small log to hand a part over takes longer than the part.
    others = [_threads().submit(of_thread) for _ in range(1, count)]
    of_thread()
    for other in others:
        if not other.cancel():  # it has begun
            other.result()


def slices_to_share(length: int) -> list[slice]:
    """Cuts a range into a slice for each thread: into fewer where they would be short."""
    count = min(max(length // LEAST_TO_SHARE, 1), numba.config.NUMBA_NUM_THREADS)
    edges = [part * length // count for part in range(count + 1)]
    return list(map(slice, edges, edges[1:]))


def in_parallel(
    function: Callable[..., NDArray[np.float64]], *arrays: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a function of numpy that works number by number makes of arrays, by threads.

    Args:
        function: of as many arrays as are given, each float64, shape (numbers,); gives one more.
        arrays: of equal length.
    """
    made = np.empty(len(arrays[0]))
    slices = slices_to_share(len(made))

    def of_slice(part: int) -> None:
        made[slices[part]] = function(*(array[slices[part]] for array in arrays))

    for_each_part(of_slice, len(slices))
    return made


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS, thread_name_prefix="part")
