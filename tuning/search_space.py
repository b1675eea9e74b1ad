"""The search space of mixes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rankers.mixes import Constant, FrequencySigmoid, Mix, Stage, Staged
from rankers.mixes.encoding import encode_mix

if TYPE_CHECKING:
    import optuna

KINDS = ("Constant", "Staged", "FrequencySigmoid")


def suggest_mix(trial: "optuna.Trial", frequency: NDArray[np.int64]) -> dict[str, Any]:
    """Draws a kind of mix and that kind's parameters; Optuna's define-by-run search space.

    Args:
        trial: the trial to draw for: `kind`, and then `click_weight` (Constant), `switch` and
            `first` (Staged: the share of training before the change, and the first signal), or
            `midpoint` and `steepness` (FrequencySigmoid).
        frequency: searches of each training query, int64, shape (queries,); the midpoint is drawn
            between its 5th and 95th percentile.

    Returns:
        `mix`: what they describe, encoded. Ray Tune adds it to the trial's parameters.
    """
    return {"mix": encode_mix(_draw_mix(trial, frequency))}


def _draw_mix(trial: "optuna.Trial", frequency: NDArray[np.int64]) -> Mix:
    kind = trial.suggest_categorical("kind", KINDS)
    if kind == "Constant":
        return Constant(trial.suggest_float("click_weight", 0.0, 1.0))
    if kind == "Staged":
        switch = trial.suggest_float("switch", 0.1, 0.9)
        first = trial.suggest_categorical("first", ("annotations", "clicks"))
        click_weight = 1.0 if first == "clicks" else 0.0
        return Staged([Stage(switch, click_weight), Stage(1 - switch, 1 - click_weight)])
    low, high = np.maximum(np.percentile(frequency, [5, 95]), 1)
    midpoint = trial.suggest_float("midpoint", float(low), float(max(high, low + 1)), log=True)
    return FrequencySigmoid(midpoint, trial.suggest_float("steepness", 0.25, 4.0, log=True))
