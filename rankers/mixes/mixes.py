"""The mix: how much clicks count against annotations, at each moment and for each query.

The loss of a query at training progress t is

    a * click_loss + (1 - a) * annotation_loss

and a mix is the function a, the click weight, of t and of the query's traffic. Training on clicks
alone, on annotations alone, data scheduling and frequency-aware multi-objective learning (FAMOL;
Yu et al., "Can LLM annotations replace user clicks for learning to rank?", arXiv 2511.06635) are
all mixes; training and tuning know nothing else of them. Pictures: docs/mixing.md.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, mul, or_
from typing import TYPE_CHECKING, Literal

from corpus.errors import InputError
from corpus.frequency import BUCKETS

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
    """How much clicks count against annotations."""

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

    def covers(self, progress: float, traffic: Traffic) -> "Tensor":
        """Which queries are trained on at all, bool, shaped as `traffic.frequency`."""
        return traffic.bucket >= 0


@dataclass
class Constant(Mix):
    """The same click weight always, a = click_weight: 1 is clicks alone, 0 annotations alone.

    Attributes:
        click_weight: in [0, 1].
    """

    click_weight: float = 0.5

    def __post_init__(self) -> None:
        _check_weight("click_weight", self.click_weight)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions.new_full(traffic.frequency.shape, self.click_weight)


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
        _check_weight("click_weight", self.click_weight)
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

    stages: list[Stage] = field(default_factory=lambda: [Stage(0.5, 0.0), Stage(0.5, 1.0)])

    def __post_init__(self) -> None:
        total = sum(stage.share for stage in self.stages)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise InputError(f"the shares of the stages must sum to 1; they sum to {total:g}")

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        weight = self._stage(progress).click_weight
        return traffic.impressions.new_full(traffic.frequency.shape, weight)

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
    and g(x) is x (linear), (1 - cos(pi x)) / 2 (cosine), or 0 below x = 1/2 and then 1 (step).

    Attributes:
        shape: linear, cosine or step.
        start: the click weight before, in [0, 1].
        end: the click weight after, in [0, 1].
        begins: progress at which it leaves `start`, in [0, 1).
        ends: progress at which it reaches `end`, above `begins`, at most 1.
    """

    shape: Literal["linear", "cosine", "step"] = "linear"
    start: float = 0.0
    end: float = 1.0
    begins: float = 0.0
    ends: float = 1.0

    def __post_init__(self) -> None:
        _check_weight("start", self.start)
        _check_weight("end", self.end)
        if not 0 <= self.begins < self.ends <= 1:
            raise InputError(
                f"a ramp needs 0 <= begins < ends <= 1, not {self.begins} and {self.ends}"
            )

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        x = min(max((progress - self.begins) / (self.ends - self.begins), 0.0), 1.0)
        way = {"linear": x, "cosine": (1 - math.cos(math.pi * x)) / 2, "step": float(x >= 0.5)}
        weight = self.start + (self.end - self.start) * way[self.shape]
        return traffic.impressions.new_full(traffic.frequency.shape, weight)


@dataclass
class ByBucket(Mix):
    """A click weight for each frequency bucket.

    Attributes:
        high: a of the most frequent queries, in [0, 1].
        medium: likewise.
        low: likewise.
    """

    high: float = 1.0
    medium: float = 0.5
    low: float = 0.0

    def __post_init__(self) -> None:
        for name in BUCKETS:
            _check_weight(name, getattr(self, name))

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions.new_tensor([self.high, self.medium, self.low])[traffic.bucket]


@dataclass
class FrequencySigmoid(Mix):
    """FAMOL: the click weight grows with the logarithm of the query's frequency f.

    a = 1 / (1 + (midpoint / f) ** steepness), the logistic function of
    steepness * (ln f - ln midpoint); 0 for a query that nobody searched.

    Attributes:
        midpoint: the frequency at which both signals count the same, above 0.
        steepness: how fast clicks take over around the midpoint, per unit of ln f, above 0.
    """

    midpoint: float = 50.0
    steepness: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(self, "midpoint", "steepness")

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        distance = traffic.frequency.float().log() - math.log(self.midpoint)
        return (self.steepness * distance).sigmoid()


@dataclass
class FrequencyPower(Mix):
    """The click weight is a power of the query's frequency f.

    a = min(f / saturation, 1) ** exponent

    Attributes:
        saturation: the frequency from which on clicks alone count, above 0.
        exponent: above 0; the lower, the sooner clicks count.
    """

    saturation: float = 500.0
    exponent: float = 0.5

    def __post_init__(self) -> None:
        _check_positive(self, "saturation", "exponent")

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        share = traffic.frequency.float() / self.saturation
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
        _check_positive(self, "prior")

    @property
    def needs_impressions(self) -> bool:
        return True

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return traffic.impressions / (traffic.impressions + self.prior)


@dataclass
class Product(Mix):
    """The product of the click weights of several mixes: a = a1 * a2 * ...; covers what all cover.

    A ramp times a `FrequencySigmoid` gives clicks weight where queries are frequent, and the more
    the further training is.

    Attributes:
        mixes: at least one.
    """

    mixes: list[Mix]

    def __post_init__(self) -> None:
        if not self.mixes:
            raise InputError("a product needs at least one mix")

    @property
    def needs_impressions(self) -> bool:
        return any(mix.needs_impressions for mix in self.mixes)

    def __call__(self, progress: float, traffic: Traffic) -> "Tensor":
        return reduce(mul, [mix(progress, traffic) for mix in self.mixes])

    def covers(self, progress: float, traffic: Traffic) -> "Tensor":
        return reduce(and_, [mix.covers(progress, traffic) for mix in self.mixes])


def _check_weight(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} must be between 0 and 1, not {value}")


def _check_positive(mix: Mix, *names: str) -> None:
    for name in names:
        if not (value := getattr(mix, name)) > 0:
            raise InputError(f"{name} must be above 0, not {value}")
