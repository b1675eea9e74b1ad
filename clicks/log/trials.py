"""Successes and trials of each query-document pair, and of each document."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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
        weights = (self.successes, self.trials, (self.trials > 0).astype(np.float64))
        return np.stack([np.bincount(self.document, of, self.documents) for of in weights])
