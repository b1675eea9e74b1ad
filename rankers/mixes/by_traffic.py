"""Mixes that go by what the log tells of a query: its frequency, bucket or impressions."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from corpus.frequency import BUCKETS
from rankers.mixes.base import Mix, Traffic, check_positive, check_weight

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class ByBucket(Mix):
    """A click weight for each frequency bucket.

    Attributes:
        high: the click weight of the most frequent queries, in [0, 1].
        medium: the click weight of those between, in [0, 1].
        low: the click weight of the rarest queries, in [0, 1].
    """

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
            the median training query (`corpus.frequency.median_query`), so that half of what is
            trained on is on either side.
        steepness: how fast clicks take over around the midpoint, per unit of ln f, above 0.
    """

    midpoint: float | None = None
    steepness: float = 1.0

    def __post_init__(self) -> None:
        check_positive("midpoint", 1.0 if self.midpoint is None else self.midpoint)
        check_positive("steepness", self.steepness)

    def settled(self, median_query: float) -> Mix:
        return replace(self, midpoint=median_query) if self.midpoint is None else self

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        distance = traffic.frequency.float().log() - math.log(_settled(self, self.midpoint))
        return (self.steepness * distance).sigmoid()


@dataclass
class FrequencyPower(Mix):
    """The click weight is a power of the query's frequency f.

    a = min(f / saturation, 1) ** exponent

    Attributes:
        saturation: the frequency from which on clicks alone count, above 0; by default the one by
            which both signals count the same for the median training query
            (`corpus.frequency.median_query`).
        exponent: above 0; the lower, the sooner clicks count.
    """

    saturation: float | None = None
    exponent: float = 0.5

    def __post_init__(self) -> None:
        check_positive("saturation", 1.0 if self.saturation is None else self.saturation)
        check_positive("exponent", self.exponent)

    def settled(self, median_query: float) -> Mix:
        saturation = median_query * 2 ** (1 / self.exponent)
        return replace(self, saturation=saturation) if self.saturation is None else self

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
        prior: impressions at which both signals count the same, above 0.
    """

    prior: float = 20.0

    def __post_init__(self) -> None:
        check_positive("prior", self.prior)

    @property
    def needs_impressions(self) -> bool:
        return True

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions / (traffic.impressions + self.prior)


def _settled(mix: Mix, value: float | None) -> float:
    if value is None:
        raise ValueError(f"{mix} leaves a number to the log: take what `settled` returns")
    return value
