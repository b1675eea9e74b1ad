"""Studies as a search leaves them, made by Optuna alone."""

from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from rankers.mixes import Constant, Mix
from rankers.mixes.encoding import encode_mix
from tuning.study import open_study

SETTINGS = {"collection_hash": "abc", "seed": 0}


def begin(output: Path, objectives: int = 1, **changes: Any) -> Study:
    output.mkdir(exist_ok=True)
    names = ["nDCG@10_all", "nDCG@10_low"][:objectives]
    return open_study(output, None, SETTINGS | changes, names, seed=0)


def ask(study: Study, weight: float | None = None) -> optuna.Trial:
    """A trial that has begun: of a weight that is given, or that the sampler chooses."""
    if weight is not None:
        study.enqueue_trial({"Constant.click_weight": weight})
    trial = study.ask()
    trial.suggest_float("Constant.click_weight", 0.0, 1.0)
    trial.set_user_attr("folder", f"trials/{trial.user_attrs.get('continues', trial.number):04d}")
    return trial


def end(
    study: Study,
    weight: float,
    measures: dict[str, float] | None,
    mix: Mix | None = None,
    state: TrialState = TrialState.COMPLETE,
    **told: Any,
) -> FrozenTrial:
    """A trial that has ended, with what a search tells of it."""
    trial = ask(study, weight)
    about: dict[str, Any] = {"mix": encode_mix(mix or Constant(weight)), "labels": "clicks"}
    about |= {"settings": {}, "epochs": 2, "seconds": 1.5, "began": 1.0, "ended": 2.5}
    about |= {"worker": "host:1"} | ({} if measures is None else {"measures": measures}) | told
    for name, value in about.items():
        trial.set_user_attr(name, value)
    if state == TrialState.COMPLETE and measures is not None:
        return study.tell(trial, list(measures.values())[: len(study.directions)], state)
    return study.tell(trial, state=state)
