"""Arrays as long as a log: in mapped files where they are large, and summed a piece at a time.

So what a fit holds in memory is a piece of each, however many pairs a log has.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from corpus.mapped_arrays import mapped_array, slices

MOST_BYTES = 2**24  # of an array in memory
AT_ONCE = 2**20  # numbers that are worked on


def large_zeros(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros in memory or, where they are large, in a mapped file."""
    length = int(np.prod(shape))
    if length * np.dtype(dtype).itemsize <= MOST_BYTES:
        return np.zeros(shape, dtype)
    return mapped_array(length, dtype).reshape(shape)


def pieces(length: int) -> Iterator[slice]:
    """Cuts a range into the pieces that are worked on one after another."""
    return slices(length, AT_ONCE)


def large_take(values: NDArray[Any], at: NDArray[Any], dtype: DTypeLike = None) -> NDArray[Any]:
    """The values at some places of a row, `values[at]`, of another type where one is given."""
    taken = large_zeros(len(at), dtype or values.dtype)
    for some in pieces(len(at)):
        taken[some] = values[at[some]]
    return taken


def join_large(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The arrays one behind the other."""
    joined = large_zeros(sum(map(len, arrays)), arrays[0].dtype)
    at = 0
    for array in arrays:
        joined[at : at + len(array)] = array
        at += len(array)
    return joined


def sum_by(
    number: NDArray[Any],
    weight: NDArray[Any] | None,
    size: int,
    where: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Sums weights by number, as `np.bincount` does, without copies of all of them.

    Args:
        number: of each value, from 0; shape (values,).
        weight: of each value, shape (values,); 1 without it.
        size: one more than the highest number there may be.
        where: the values that count, bool, shape (values,); all without it.

    Returns:
        The sums, float64, shape (size,).
    """
    sums: NDArray[np.float64] = large_zeros(size, np.float64)
    for some in pieces(len(number)):
        here = slice(None) if where is None else where[some]
        numbers = number[some][here]
        if len(numbers) == 0:
            continue
        # Results of a log lie by query, so that the numbers of a piece are near each other.
        first = int(numbers.min())
        weights = None if weight is None else weight[some][here]
        found = np.bincount(numbers - first, weights)
        sums[first : first + len(found)] += found
    return sums
