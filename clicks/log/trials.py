"""Successes and trials of each query-document pair, and of each document."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clicks.log.threads import compiled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """The data on the rate of each query-document pair: binomial counts, observed or expected.

    Attributes:
        successes: successes of each pair, such as clicks; float64, at least 0, shape (pairs,).
        trials: trials of each pair, such as impressions; float64, at least 0, shape (pairs,).
        document: number of each pair's document, from 0, int64, shape (pairs,).
        documents: the number of documents.
        grade: a judge's expected grade of each pair, float64 from 0 to 3, NaN where there is none,
            shape (pairs,); None where no judge was asked.
    """

    successes: Array
    trials: Array
    document: NDArray[np.int64]
    documents: int
    grade: Array | None = None

    @cached_property
    def of_documents(self) -> Array:
        """Successes, trials and pairs with trials, of each document; shape (3, documents)."""
        sums = np.zeros((3, self.documents))
        _sum(self.successes, self.trials, self.document, sums)
        return sums


@compiled()  # type: ignore[untyped-decorator]
def _sum(successes: Array, trials: Array, document: NDArray[np.int64], sums: Array) -> None:
    for pair in range(len(trials)):
        of = document[pair]
        sums[0, of] += successes[pair]
        sums[1, of] += trials[pair]
        sums[2, of] += trials[pair] > 0
