"""One mix after another: schedules whose parts are mixes of any kind."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from corpus.errors import InputError
from rankers.mixes.base import Mix, Traffic
from rankers.mixes.ranges import Range, TrainingLog

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Piecewise(Mix):
    """One mix after another: a is that of the mix in force at t, and so are the queries covered.

    A population comes to such a schedule (docs/tuning.md). For stages of one click weight each,
    `Staged` is shorter.

    Attributes:
        mixes: in order, at least one.
        switches: progress at which each gives way to the next, rising, above 0 and below 1; one
            fewer than mixes.
    """

    # A search finds it by a population alone, which trains its parts one after another.
    searched: ClassVar[dict[str, Range]] = {}

    mixes: list[Mix]
    switches: list[float]

    def __post_init__(self) -> None:
        if not self.mixes:
            raise InputError("a piecewise mix needs at least one mix")
        if len(self.switches) != len(self.mixes) - 1:
            raise InputError(
                f"a piecewise mix of {len(self.mixes)} mixes has {len(self.mixes) - 1} switches, "
                f"not {len(self.switches)}"
            )
        if not all(before < after for before, after in pairwise([0.0, *self.switches, 1.0])):
            raise InputError(f"switches rise, above 0 and below 1; they are {self.switches}")

    @property
    def needs_impressions(self) -> bool:
        return any(mix.needs_impressions for mix in self.mixes)

    def settled(self, log: TrainingLog) -> Mix:
        return Piecewise([mix.settled(log) for mix in self.mixes], self.switches)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return self._at(progress)(progress, traffic)

    def covers(self, progress: float, traffic: Traffic) -> "Tensor":
        return self._at(progress).covers(progress, traffic)

    def _at(self, progress: float) -> Mix:
        return self.mixes[bisect_right(self.switches, progress)]
