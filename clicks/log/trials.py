"""Successes and trials of each query-document pair, and of each document."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clicks.log.large_arrays import AT_ONCE
from corpus.mapped_arrays import slices

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
        of_trials = self.trials
        sums = [np.bincount(self.document, of, self.documents) for of in (self.successes, of_trials)]
        tried = np.zeros(self.documents)
        for some in slices(len(of_trials), AT_ONCE):
            tried += np.bincount(self.document[some], of_trials[some] > 0, self.documents)
        return np.stack([*sums, tried])
