"""Mixes that go by the progress of training: the same click weight for all queries."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from rankers.mixes.base import Mix, Traffic, check_weight
from rankers.mixes.ranges import Choices, Interval, Range, TrainingLog

if TYPE_CHECKING:
    from torch import Tensor

ALL_BUCKETS = "all"


@dataclass
class Constant(Mix):
    """The same click weight always, a = click_weight: 1 is clicks alone, 0 annotations alone.

    Attributes:
        click_weight: in [0, 1].
    """

    searched: ClassVar[dict[str, Range]] = {"click_weight": Interval(0.0, 1.0)}

    click_weight: float = 0.5

    def __post_init__(self) -> None:
        check_weight("click_weight", self.click_weight)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions.new_full(traffic.frequency.shape, float(self.click_weight))


@dataclass
class Stage:
    """A part of training with one click weight.

    Attributes:
        share: of training, in (0, 1].
        click_weight: in [0, 1]; 1 is clicks, 0 annotations.
        buckets: whose queries it trains on: high, medium, low; all by default.
    """

    share: float
    click_weight: float
    buckets: list[str] = field(default_factory=lambda: list(BUCKETS))

    def __post_init__(self) -> None:
        check_weight("click_weight", self.click_weight)
        if not 0 < self.share <= 1:
            raise InputError(f"a stage's share must be above 0 and at most 1, not {self.share}")
        if unknown := sorted(set(self.buckets) - set(BUCKETS)):
            raise InputError(f"there is no bucket {unknown[0]!r}; take {', '.join(BUCKETS)}")
        if not self.buckets:
            raise InputError("a stage needs at least one of the buckets")


@dataclass
class Staged(Mix):
    """Data scheduling: one signal after the other; a is the click weight of the stage of t.

    Annotations on all queries, then clicks on frequent ones, are two stages:

        - {share: 0.5, click_weight: 0}
        - {share: 0.5, click_weight: 1, buckets: [high]}

    Attributes:
        stages: in order; their shares sum to 1. By default annotations for the first half of
            training, then clicks.
    """

    # Of two stages, one of each signal: which is first, the share of training before the switch,
    # and the buckets that each signal trains on, joined by +.
    searched: ClassVar[dict[str, Range]] = {
        "first": Choices(("annotations", "clicks")),
        "switch": Interval(0.1, 0.9),
        "click_buckets": Choices((ALL_BUCKETS, "high+medium", "high")),
        "annotation_buckets": Choices((ALL_BUCKETS, "medium+low", "low")),
    }

    stages: list[Stage] = field(default_factory=lambda: [Stage(0.5, 0.0), Stage(0.5, 1.0)])

    def __post_init__(self) -> None:
        total = sum(stage.share for stage in self.stages)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise InputError(f"the shares of the stages must sum to 1; they sum to {total:g}")

    @classmethod
    def at(cls, point: Mapping[str, Any], log: TrainingLog) -> Self:
        first, switch = point["first"], point["switch"]
        weights = {"annotations": 0.0, "clicks": 1.0}
        if first not in weights:
            raise InputError(f"the first signal is annotations or clicks, not {first!r}")
        if not 0 < switch < 1:
            raise InputError(f"the switch must be above 0 and below 1, not {switch}")
        buckets = [
            list(BUCKETS) if names == ALL_BUCKETS else str(names).split("+")
            for names in (point["annotation_buckets"], point["click_buckets"])
        ]
        before = weights[first]
        stages = [
            Stage(share, weight, buckets[round(weight)])
            for share, weight in ((switch, before), (1 - switch, 1 - before))
        ]
        return cls(stages)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions.new_full(
            traffic.frequency.shape, float(self._stage(progress).click_weight)
        )

    def covers(self, progress: float, traffic: Traffic) -> "Tensor":
        buckets = self._stage(progress).buckets
        return reduce(or_, [traffic.bucket == BUCKETS.index(name) for name in buckets])

    def _stage(self, progress: float) -> Stage:
        end = 0.0
        for stage in self.stages:
            end += stage.share
            if progress < end:
                break
        return stage


@dataclass
class Ramp(Mix):
    """The click weight goes from one value to another.

    a = start + (end - start) * g(x), where x goes from 0 to 1 while t goes from `begins` to `ends`,
    and g(x) is x (linear) or (1 - cos(pi x)) / 2 (cosine). For one step take `Staged`.

    Attributes:
        shape: linear or cosine.
        start: the click weight before, in [0, 1].
        end: the click weight after, in [0, 1].
        begins: progress at which it leaves `start`, in [0, 1).
        ends: progress at which it reaches `end`, above `begins`, at most 1.
    """

    # The length is a share of what is left of training when it begins, so that any length will do.
    searched: ClassVar[dict[str, Range]] = {
        "shape": Choices(("linear", "cosine")),
        "start": Interval(0.0, 1.0),
        "end": Interval(0.0, 1.0),
        "begins": Interval(0.0, 0.8),
        "length": Interval(0.1, 1.0),
    }

    shape: Literal["linear", "cosine"] = "linear"
    start: float = 0.0
    end: float = 1.0
    begins: float = 0.0
    ends: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in ("linear", "cosine"):
            raise InputError(f"a ramp's shape is linear or cosine, not {self.shape!r}")
        check_weight("start", self.start)
        check_weight("end", self.end)
        if not 0 <= self.begins < self.ends <= 1:
            raise InputError(
                f"a ramp needs 0 <= begins < ends <= 1, not {self.begins} and {self.ends}"
            )

    @classmethod
    def at(cls, point: Mapping[str, Any], log: TrainingLog) -> Self:
        begins, length = point["begins"], point["length"]
        if not 0 < length <= 1:
            raise InputError(f"the length of a ramp must be above 0 and at most 1, not {length}")
        ends = begins + length * (1 - begins)
        return cls(point["shape"], point["start"], point["end"], begins, ends)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        x = min(max((progress - self.begins) / (self.ends - self.begins), 0.0), 1.0)
        way = x if self.shape == "linear" else (1 - math.cos(math.pi * x)) / 2
        weight = self.start + (self.end - self.start) * way
        return traffic.impressions.new_full(traffic.frequency.shape, weight)
