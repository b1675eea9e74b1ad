"""Several mixes at once, as of progress and of frequency."""

from dataclasses import dataclass
from functools import reduce
from operator import and_, mul
from typing import TYPE_CHECKING, ClassVar

from corpus.errors import InputError
from rankers.mixes.base import Mix, Traffic
from rankers.mixes.ranges import Choices, Range, TrainingLog

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Product(Mix):
    """The product of the click weights of several mixes: a = a1 * a2 * ...; covers what all cover.

    A ramp times a `FrequencySigmoid` gives clicks weight where queries are frequent, and the more
    the further training is.

    Attributes:
        mixes: at least one.
    """

    # Of two mixes, each searched as it is alone.
    searched: ClassVar[dict[str, Range]] = {
        "progress": Choices(("Constant", "Staged", "Ramp")),
        "traffic": Choices(("ByBucket", "FrequencySigmoid", "FrequencyPower", "Evidence")),
    }

    mixes: list[Mix]

    def __post_init__(self) -> None:
        if not self.mixes:
            raise InputError("a product needs at least one mix")

    @property
    def needs_impressions(self) -> bool:
        return any(mix.needs_impressions for mix in self.mixes)

    def settled(self, log: TrainingLog) -> Mix:
        return Product([mix.settled(log) for mix in self.mixes])

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return reduce(mul, [mix(progress, traffic) for mix in self.mixes])

    def covers(self, progress: float, traffic: Traffic) -> "Tensor":
        return reduce(and_, [mix.covers(progress, traffic) for mix in self.mixes])
