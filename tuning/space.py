"""What a search chooses among: mixes, settings of training and labels of clicks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from rankers.mixes import Mix
from rankers.mixes.encoding import decode_mix
from rankers.settings import TrainingSettings
from tuning.search_space import suggest_mix


@dataclass(frozen=True)
class SearchSpace:
    """What is searched."""


@dataclass(frozen=True)
class Proposal:
    """What a trial trains."""

    mix: Mix
    training: TrainingSettings
    labels: str


def propose(
    trial: "optuna.Trial",
    space: SearchSpace,
    log: NDArray[np.int64],
    training: TrainingSettings,
    labels: Sequence[str],
) -> Proposal:
    """Draws what a trial trains."""
    return Proposal(decode_mix(suggest_mix(trial, log)["mix"]), training, labels[0])


def known_points(
    space: SearchSpace, labels: Sequence[str], training: TrainingSettings
) -> dict[str, dict[str, Any]]:
    """The points that a search begins with."""
    return {
        "click": {"kind": "Constant", "click_weight": 1.0},
        "annotation": {"kind": "Constant", "click_weight": 0.0},
        "one half": {"kind": "Constant", "click_weight": 0.5},
    }


def with_settings(training: TrainingSettings, settings: dict[str, Any]) -> TrainingSettings:
    """Training with other settings, by their full names, such as optimization.learning_rate."""
    for full_name, value in settings.items():
        group, name = full_name.split(".")
        changed = replace(getattr(training, group), **{name: value})
        training = replace(training, **{group: changed})  # type: ignore[arg-type]
    return training
