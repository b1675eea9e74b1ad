"""Mixes that go by what the log tells of a query: its frequency, bucket or impressions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from rankers.mixes.base import Mix, Traffic, check_positive, check_weight
from rankers.mixes.ranges import Interval, Range, TrainingLog

if TYPE_CHECKING:
    from torch import Tensor

# A midpoint is searched as a share of the training queries, which are searched, or shown, less.
QUANTILE = Interval(0.05, 0.99)
# Below it, 2 ** (1 / exponent) is more than a float holds.
LOWEST_EXPONENT = 0.002


@dataclass
class ByBucket(Mix):
    """A click weight for each frequency bucket.

    Attributes:
        high: the click weight of the most frequent queries, in [0, 1].
        medium: the click weight of those between, in [0, 1].
        low: the click weight of the rarest queries, in [0, 1].
    """

    searched: ClassVar[dict[str, Range]] = {name: Interval(0.0, 1.0) for name in BUCKETS}

    high: float = 1.0
    medium: float = 0.5
    low: float = 0.0

    def __post_init__(self) -> None:
        for name in BUCKETS:
            check_weight(name, getattr(self, name))

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions.new_tensor([self.high, self.medium, self.low])[traffic.bucket]


@dataclass
class FrequencySigmoid(Mix):
    """FAMOL: the click weight grows with the logarithm of the query's frequency f.

    a = 1 / (1 + (midpoint / f) ** steepness), the logistic function of
    steepness * (ln f - ln midpoint); 0 for a query that nobody searched.

    Attributes:
        midpoint: the frequency at which both signals count the same, above 0; by default that of
            the median training query, so that half of what is trained on is on either side.
        steepness: how fast clicks take over around the midpoint, per unit of ln f, above 0.
    """

    searched: ClassVar[dict[str, Range]] = {
        "midpoint_quantile": QUANTILE,
        "steepness": Interval(0.25, 4.0, logarithmic=True),
    }

    midpoint: float | None = None
    steepness: float = 1.0

    def __post_init__(self) -> None:
        check_positive("midpoint", 1.0 if self.midpoint is None else self.midpoint)
        check_positive("steepness", self.steepness)

    @classmethod
    def at(cls, point: Mapping[str, Any], log: TrainingLog) -> Self:
        return cls(log.searches(point["midpoint_quantile"]), point["steepness"])

    def settled(self, log: TrainingLog) -> Mix:
        return replace(self, midpoint=log.searches(0.5)) if self.midpoint is None else self

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        distance = traffic.frequency.float().log() - math.log(_settled(self, self.midpoint))
        return (self.steepness * distance).sigmoid()


@dataclass
class FrequencyPower(Mix):
    """The click weight is a power of the query's frequency f.

    a = min(f / saturation, 1) ** exponent

    Attributes:
        saturation: the frequency from which on clicks alone count, above 0; by default the one by
            which both signals count the same for the median training query.
        exponent: above 0; the lower, the sooner clicks count.
    """

    # Both signals count the same at the midpoint.
    searched: ClassVar[dict[str, Range]] = {
        "midpoint_quantile": QUANTILE,
        "exponent": Interval(0.1, 2.0, logarithmic=True),
    }

    saturation: float | None = None
    exponent: float = 0.5

    def __post_init__(self) -> None:
        check_positive("saturation", 1.0 if self.saturation is None else self.saturation)
        check_positive("exponent", self.exponent)

    @classmethod
    def at(cls, point: Mapping[str, Any], log: TrainingLog) -> Self:
        return cls(exponent=point["exponent"])._saturated(log, point["midpoint_quantile"])

    def settled(self, log: TrainingLog) -> Mix:
        return self._saturated(log, 0.5) if self.saturation is None else self

    def _saturated(self, log: TrainingLog, midpoint_quantile: float) -> Self:
        if self.exponent < LOWEST_EXPONENT:
            raise InputError(
                f"exponent must be at least {LOWEST_EXPONENT} where the saturation is left to the "
                f"log, not {self.exponent}"
            )
        saturation = log.searches(midpoint_quantile) * 2 ** (1 / self.exponent)
        return replace(self, saturation=saturation)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        share = traffic.frequency.float() / _settled(self, self.saturation)
        return share.clamp(max=1) ** self.exponent


@dataclass
class Evidence(Mix):
    """The click weight grows with what the log shows of the very list, not of the query.

    a = n / (n + prior), with n the impressions of a candidate of the list, on average. It is the
    weight that n impressions have in the posterior mean of a click rate whose prior is worth
    `prior` impressions, and the share of the posterior's precision that they bring. A frequent
    query whose pages change daily has less evidence for each document than its frequency says.

    Attributes:
        prior: impressions at which both signals count the same, above 0; by default those of the
            median training query that was shown, so that half of what is trained on is on either
            side.
    """

    searched: ClassVar[dict[str, Range]] = {"prior_quantile": QUANTILE}

    prior: float | None = None

    def __post_init__(self) -> None:
        check_positive("prior", 1.0 if self.prior is None else self.prior)

    @classmethod
    def at(cls, point: Mapping[str, Any], log: TrainingLog) -> Self:
        return cls(log.shown(point["prior_quantile"]))

    def settled(self, log: TrainingLog) -> Mix:
        return replace(self, prior=log.shown(0.5)) if self.prior is None else self

    @property
    def needs_impressions(self) -> bool:
        return True

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions / (traffic.impressions + _settled(self, self.prior))


def _settled(mix: Mix, value: float | None) -> float:
    if value is None:
        raise ValueError(f"{mix} leaves a number to the log: take what `settled` returns")
    return value
