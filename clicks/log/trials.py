"""Successes in trials of each query-document pair, and of each document."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """What is known of the rate of each query-document pair.

    Attributes:
        successes: of each pair, shape (pairs,).
        trials: of each pair, shape (pairs,); like successes, they may be expected ones.
        document: number of each pair's document, shape (pairs,).
        documents: how many documents there are.
    """

    successes: Array
    trials: Array
    document: NDArray[np.int64]
    documents: int

    @cached_property
    def of_documents(self) -> Array:
        """Successes, trials and pairs that were tried of each document, shape (3, documents)."""
        sums = np.zeros((3, self.documents))
        _sum_documents(self.document, self.successes, self.trials, *sums)
        return sums


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sum_documents(
    document: NDArray[np.int64],
    successes: Array,
    trials: Array,
    of_successes: Array,
    of_trials: Array,
    of_tried: Array,
) -> None:
    for pair in range(len(document)):
        number = document[pair]
        of_successes[number] += successes[pair]
        of_trials[number] += trials[pair]
        of_tried[number] += trials[pair] > 0
