"""What a mix is.

The loss of a query at training progress t is

    a * click_loss + (1 - a) * annotation_loss

and a mix is the function a, the click weight, of t and of the query's traffic. Training on clicks
alone, on annotations alone, data scheduling and frequency-aware multi-objective learning (FAMOL;
Yu et al., "Can LLM annotations replace user clicks for learning to rank?", arXiv 2511.06635) are
all mixes; training and tuning know nothing else of them. Pictures: docs/mixing.md.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from corpus.errors import InputError
from rankers.mixes.ranges import Range, TrainingLog

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Traffic:
    """What the log tells of some queries.

    Attributes:
        frequency: searches in the log window, int64, any shape.
        bucket: the number of the frequency bucket among `corpus.frequency.BUCKETS` (0 is high),
            int64, same shape.
        impressions: how often a candidate of the query was shown, on average, float32, same shape.
    """

    frequency: "Tensor"
    bucket: "Tensor"
    impressions: "Tensor"


class Mix(ABC):
    """How much clicks count against annotations.

    Attributes:
        searched: what a search may choose of it, by name; `at` makes the mix of a choice.
    """

    searched: ClassVar[dict[str, Range]]

    @classmethod
    def at(cls, point: Mapping[str, Any], log: TrainingLog) -> Self:
        """The mix at a point of what is searched.

        Args:
            point: a value for each name in `searched`.
            log: of the training queries.

        Raises:
            InputError: a value that the mix cannot have.
        """
        return cls(**point)

    @property
    def needs_impressions(self) -> bool:
        """Whether it goes by `Traffic.impressions`, which click labels count."""
        return False

    @abstractmethod
    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        """The click weight.

        Args:
            progress: the share of training that is done, in [0, 1].
            traffic: of the queries.

        Returns:
            Weights in [0, 1], float32, shaped as `traffic.frequency`.
        """

    def settled(self, log: TrainingLog) -> "Mix":
        """The mix with what was left to the log filled in.

        Args:
            log: of the training queries.
        """
        return self

    def covers(self, progress: float, traffic: Traffic) -> "Tensor":
        """Which queries are trained on at all, bool, shaped as `traffic.frequency`."""
        return traffic.bucket >= 0


def check_weight(name: str, value: float) -> None:
    """Refuses what is no click weight.

    Raises:
        InputError: naming the setting.
    """
    if not 0 <= value <= 1:
        raise InputError(f"{name} must be between 0 and 1, not {value}")


def check_positive(name: str, value: float) -> None:
    """Refuses what is not above 0, or infinite.

    Raises:
        InputError: naming the setting.
    """
    if not 0 < value <= sys.float_info.max:
        raise InputError(f"{name} must be above 0 and finite, not {value}")
