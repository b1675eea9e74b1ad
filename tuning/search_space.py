"""The mixes that tuning looks through, and the way from a trial's parameters to a mix."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rankers.mixes.mixes import Constant, FrequencySigmoid, Mix, Stage, Staged

if TYPE_CHECKING:
    import optuna

KINDS = ("Constant", "Staged", "FrequencySigmoid")


def suggest_mix(trial: "optuna.Trial", frequency: NDArray[np.int64]) -> None:
    """Draws a kind of mix and that kind's parameters; Optuna's define-by-run search space.

    Args:
        trial: suggests `kind`, and then `click_weight` (Constant), `switch` and `first` (Staged:
            after what share of training to change, and the signal to begin with), or `midpoint`
            and `steepness` (FrequencySigmoid).
        frequency: of the training queries; the midpoint is searched between its 5th and 95th
            percentile.
    """
    kind = trial.suggest_categorical("kind", KINDS)
    if kind == "Constant":
        trial.suggest_float("click_weight", 0.0, 1.0)
    elif kind == "Staged":
        trial.suggest_float("switch", 0.1, 0.9)
        trial.suggest_categorical("first", ("annotations", "clicks"))
    else:
        low, high = np.maximum(np.percentile(frequency, [5, 95]), 1)
        trial.suggest_float("midpoint", float(low), float(max(high, low + 1)), log=True)
        trial.suggest_float("steepness", 0.25, 4.0, log=True)


def mix_of(parameters: dict[str, Any]) -> Mix:
    """Builds the mix that a trial's parameters describe.

    >>> mix_of({"kind": "Staged", "switch": 0.25, "first": "clicks"}).stages[0].click_weight
    1.0
    """
    if parameters["kind"] == "Constant":
        return Constant(parameters["click_weight"])
    if parameters["kind"] == "Staged":
        first = 1.0 if parameters["first"] == "clicks" else 0.0
        switch = parameters["switch"]
        return Staged([Stage(switch, first), Stage(1 - switch, 1 - first)])
    return FrequencySigmoid(parameters["midpoint"], parameters["steepness"])


def mix_as_config(mix: Mix) -> dict[str, Any]:
    """The mix as a job's YAML has it: class_path and init_args."""
    arguments = dict(vars(mix))
    if isinstance(mix, Staged):
        arguments["stages"] = [dict(vars(stage)) for stage in mix.stages]
    return {"class_path": type(mix).__name__, "init_args": arguments}
