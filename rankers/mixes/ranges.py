"""What a search may choose of a mix: ranges, in terms that mean the same on every log."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.errors import InputError


@dataclass(frozen=True)
class Interval:
    """Every number from one to another.

    Attributes:
        low: the lowest.
        high: the highest, at least `low`.
        logarithmic: whether equal ratios count the same, not equal differences.
    """

    low: float
    high: float
    logarithmic: bool = False


@dataclass(frozen=True)
class Choices:
    """One of some values.

    Attributes:
        options: at least one.
    """

    options: tuple[str | bool | float, ...]


Range = Interval | Choices


@dataclass(frozen=True)
class TrainingLog:
    """What the log tells of the training queries together.

    Attributes:
        frequency: searches of each query in the log window, int64, at least 0, shape (queries,).
        impressions: how often a candidate of each query was shown, on average, float64, at least 0,
            shape (queries,).
    """

    frequency: NDArray[np.int64]
    impressions: NDArray[np.float64]

    def searches(self, quantile: float) -> float:
        """The frequency that a share of the queries that were searched do not exceed.

        It is at least 1, also where nothing was searched.

        Args:
            quantile: the share, from 0 to 1.

        >>> log = TrainingLog(np.array([40, 30, 10, 8, 1, 0, 0]), np.zeros(7))
        >>> log.searches(0.5), log.shown(0.5)
        (10.0, 1.0)
        """
        return _quantile(self.frequency, quantile)

    def shown(self, quantile: float) -> float:
        """The impressions that a share of the queries that were shown do not exceed.

        They are above 0; 1 where nothing was shown.

        Args:
            quantile: the share, from 0 to 1.
        """
        return _quantile(self.impressions, quantile)


def _quantile(values: NDArray[np.int64] | NDArray[np.float64], quantile: float) -> float:
    if not 0 <= quantile <= 1:
        raise InputError(f"a quantile is from 0 to 1, not {quantile}")
    positive = values[values > 0]
    return float(np.quantile(positive, quantile)) if len(positive) else 1.0
