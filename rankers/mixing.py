"""The mix: how much clicks count against annotations, at each moment and for each query.

The loss of query q of frequency f at training progress t is

    a(t, f) * click_loss(q) + (1 - a(t, f)) * annotation_loss(q)

and a mix is the function a, the click weight. Training on clicks alone, on annotations alone,
data scheduling and frequency-aware multi-objective learning (FAMOL; Yu et al., "Can LLM
annotations replace user clicks for learning to rank?", arXiv 2511.06635) are all mixes; training
and tuning know nothing else of them.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from corpus.errors import InputError


class Mix(ABC):
    """How much clicks count against annotations."""

    @abstractmethod
    def __call__(self, progress: float, frequency: Tensor) -> Tensor:
        """The click weight.

        Args:
            progress: the share of training that is done, in [0, 1].
            frequency: searches of each query in the log window, any shape.

        Returns:
            Weights in [0, 1], float32, shaped as `frequency`.
        """


@dataclass
class Constant(Mix):
    """The same click weight always: 1 trains on clicks only, 0 on annotations only.

    Attributes:
        click_weight: in [0, 1].

    >>> Constant(0.25)(progress=0.9, frequency=torch.tensor([1, 1000]))
    tensor([0.2500, 0.2500])
    """

    click_weight: float = 0.5

    def __post_init__(self) -> None:
        _check_weight("click_weight", self.click_weight)

    def __call__(self, progress: float, frequency: Tensor) -> Tensor:
        return torch.full(frequency.shape, self.click_weight)


@dataclass
class Stage:
    """A part of training with one click weight.

    Attributes:
        share: of training, in (0, 1].
        click_weight: in [0, 1].
    """

    share: float
    click_weight: float

    def __post_init__(self) -> None:
        _check_weight("click_weight", self.click_weight)
        if not 0 < self.share <= 1:
            raise InputError(f"a stage's share must be above 0 and at most 1, not {self.share}")


@dataclass
class Staged(Mix):
    """Data scheduling: one signal after the other.

    Attributes:
        stages: in order; their shares sum to 1. By default annotations for the first half of
            training, then clicks.

    >>> schedule = Staged([Stage(share=0.5, click_weight=0.0), Stage(share=0.5, click_weight=1.0)])
    >>> [schedule(progress, torch.tensor([7])).item() for progress in (0.0, 0.49, 0.5, 1.0)]
    [0.0, 0.0, 1.0, 1.0]
    """

    stages: list[Stage] = field(default_factory=lambda: [Stage(0.5, 0.0), Stage(0.5, 1.0)])

    def __post_init__(self) -> None:
        total = sum(stage.share for stage in self.stages)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise InputError(f"the shares of the stages must sum to 1; they sum to {total:g}")

    def __call__(self, progress: float, frequency: Tensor) -> Tensor:
        end = 0.0
        for stage in self.stages:
            end += stage.share
            if progress < end:
                break
        return torch.full(frequency.shape, float(stage.click_weight))


@dataclass
class FrequencySigmoid(Mix):
    """FAMOL: the click weight grows with the logarithm of the query's frequency.

    a = 1 / (1 + (midpoint / f) ** steepness), the logistic function of
    steepness * (ln f - ln midpoint); 0 for a query that nobody searched.

    Attributes:
        midpoint: the frequency at which both signals count the same, above 0.
        steepness: how fast clicks take over around the midpoint, per unit of ln f, above 0.

    >>> FrequencySigmoid(midpoint=50, steepness=1)(0.0, torch.tensor([0, 50, 450]))
    tensor([0.0000, 0.5000, 0.9000])
    """

    midpoint: float = 50.0
    steepness: float = 1.0

    def __post_init__(self) -> None:
        for name in ("midpoint", "steepness"):
            if not (value := getattr(self, name)) > 0:
                raise InputError(f"{name} must be above 0, not {value}")

    def __call__(self, progress: float, frequency: Tensor) -> Tensor:
        distance = torch.log(frequency.to(torch.float32)) - math.log(self.midpoint)
        return torch.sigmoid(self.steepness * distance)


def _check_weight(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} must be between 0 and 1, not {value}")
