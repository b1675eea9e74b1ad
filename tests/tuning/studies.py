"""Searches that no training made: an Optuna study, its attributes and files, as `tune` leaves them.

What is measured follows from the parameters by a formula, so that it is known what matters: the
midpoint of a `FrequencySigmoid`, and of all kinds that kind.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from corpus.frequency import BUCKETS
from evaluation.report.parts import Section, Table
from rankers.mixes import Constant, FrequencySigmoid, Mix, Ramp, Stage, Staged
from rankers.mixes.encoding import encode_mix
from tuning.analysis.reading import Search
from tuning.analysis.sections import search_sections

HOSTILE = "<script>alert('x')</script> & \x1b[31m \u202e $x_1$ 搜索"
KINDS = ("Constant", "Staged", "FrequencySigmoid", "Ramp")
MEASURES = ("nDCG@10_all", *(f"nDCG@10_{bucket}" for bucket in BUCKETS))
SPACE: dict[str, BaseDistribution] = {
    "kind": CategoricalDistribution(KINDS),
    "labels": CategoricalDistribution(("clicks", "shrunk")),
    "optimization.learning_rate": FloatDistribution(1e-5, 1e-3, log=True),
    "Constant.click_weight": FloatDistribution(0.0, 1.0),
    "Staged.switch": FloatDistribution(0.1, 0.9),
    "Staged.first": CategoricalDistribution(("annotations", "clicks")),
    "FrequencySigmoid.midpoint_quantile": FloatDistribution(0.05, 0.95),
    "FrequencySigmoid.steepness": FloatDistribution(0.25, 4.0, log=True),
    "Ramp.shape": CategoricalDistribution(("linear", "cosine")),
    "Ramp.begins": FloatDistribution(0.0, 0.5),
    "Ramp.steps": IntDistribution(1, 9),
}
KNOWN: dict[str, dict[str, Any]] = {
    "click": {"kind": "Constant", "Constant.click_weight": 1.0},
    "annotation": {"kind": "Constant", "Constant.click_weight": 0.0},
    "one half": {"kind": "Constant", "Constant.click_weight": 0.5},
    "famol": {
        "kind": "FrequencySigmoid",
        "FrequencySigmoid.midpoint_quantile": 0.5,
        "FrequencySigmoid.steepness": 1.0,
    },
}
BEGAN = 1_790_000_000.0  # seconds
EPOCHS = 6


def mix_of(parameters: dict[str, Any]) -> Mix:
    """The mix that parameters describe, of a log whose queries have 1 to 1,000 searches."""
    kind = parameters["kind"]
    if kind == "Constant":
        return Constant(parameters["Constant.click_weight"])
    if kind == "Staged":
        first = float(parameters["Staged.first"] == "clicks")
        switch = parameters["Staged.switch"]
        return Staged([Stage(switch, first), Stage(1 - switch, 1 - first, ["high", "medium"])])
    if kind == "Ramp":
        return Ramp(parameters["Ramp.shape"], begins=parameters["Ramp.begins"])
    midpoint = 1000 ** parameters["FrequencySigmoid.midpoint_quantile"]
    return FrequencySigmoid(midpoint, parameters["FrequencySigmoid.steepness"])


def measures_of(parameters: dict[str, Any]) -> dict[str, float]:
    """nDCG@10 by bucket: clicks help the head and hurt the tail, and a good sigmoid helps both."""
    kind = parameters["kind"]
    midpoint = parameters.get("FrequencySigmoid.midpoint_quantile", 0.0)
    gain = 0.05 - 0.3 * (midpoint - 0.6) ** 2 if kind == "FrequencySigmoid" else -0.01
    clicks = parameters.get("Constant.click_weight", parameters.get("Staged.switch", midpoint))
    high, low = 0.60 + 0.08 * clicks + gain, 0.50 - 0.1 * clicks**2 + gain
    medium = (high + low) / 2
    return dict(zip(MEASURES, ((high + medium + low) / 3, high, medium, low), strict=True))


def draw(rng: np.random.Generator, kind: str | None = None) -> dict[str, Any]:
    """Parameters of one kind, drawn at random."""
    kind = kind or str(rng.choice(KINDS))
    drawn: dict[str, Any] = {}
    for name, space in SPACE.items():
        if "." in name and name.split(".")[0] in KINDS and not name.startswith(f"{kind}."):
            continue
        if isinstance(space, CategoricalDistribution):
            drawn[name] = kind if name == "kind" else str(rng.choice(space.choices))
        elif isinstance(space, IntDistribution):
            drawn[name] = int(rng.integers(space.low, space.high + 1))
        elif space.log:
            drawn[name] = float(np.exp(rng.uniform(np.log(space.low), np.log(space.high))))
        else:
            drawn[name] = float(rng.uniform(space.low, space.high))
    return drawn


def trial_of(
    number: int,
    parameters: dict[str, Any],
    objectives: Sequence[str],
    state: TrialState = TrialState.COMPLETE,
    known: str | None = None,
    workers: int = 2,
    **attributes: Any,
) -> FrozenTrial:
    """A trial with all attributes; it took a minute, less where it was stopped or died."""
    epochs = {TrialState.PRUNED: 2, TrialState.FAIL: 1, TrialState.RUNNING: 3}.get(state, EPOCHS)
    measures = attributes.get("measures", measures_of(parameters))
    curve = {
        epoch: measures[objectives[0]] - 0.2 * math.exp(-epoch) - 0.002 * (number % 3) * epoch / 6
        for epoch in range(1, epochs + 1)
    }
    attributes = {
        "mix": encode_mix(mix_of(parameters)),
        "labels": parameters.get("labels", "clicks"),
        "settings": {name: value for name, value in parameters.items() if "optim" in name},
        "folder": f"trials/{number:04}",
        "began": BEGAN + 62.0 * (number // workers),
        "worker": f"node-{number % workers % 2}:{4000 + number % workers}",
        "epochs": epochs,
        "measures": measures,
    } | attributes
    if known is not None:
        attributes["known"] = known
    if state.is_finished():
        attributes.setdefault("seconds", 10.0 * epochs + number % 5)
        attributes.setdefault("ended", attributes["began"] + 10.0 * epochs)
    if state == TrialState.PRUNED:
        attributes["stopped_after"] = epochs
    if state == TrialState.FAIL:
        attributes["error"] = "the loss became NaN"
    complete = state == TrialState.COMPLETE
    return optuna.trial.create_trial(
        state=state,
        params=parameters,
        distributions={name: SPACE[name] for name in parameters},
        values=[measures[name] for name in objectives] if complete else None,
        user_attrs={name: value for name, value in attributes.items() if value is not None},
        intermediate_values=curve if len(objectives) == 1 else None,
    )


def some_trials(
    number: int, objectives: Sequence[str], workers: int = 2, seed: int = 0
) -> list[FrozenTrial]:
    """Known points, then trials at random; some stopped early, some dead, one running."""
    rng = np.random.default_rng(seed)
    common = {"labels": "clicks", "optimization.learning_rate": 1e-4}
    trials = []
    for place in range(number):
        name = list(KNOWN)[place] if place < len(KNOWN) else None
        parameters = KNOWN[name] | common if name else draw(rng)
        state = TrialState.COMPLETE
        if name is None and place % 5 == 0 and len(objectives) == 1:
            state = TrialState.PRUNED
        if name is None and place % 10 == 7:
            state = TrialState.FAIL
        if name is None and place == number - 1:
            state = TrialState.RUNNING
        trials.append(trial_of(place, parameters, objectives, state, name, workers))
    return trials


def write_study(
    folder: Path, trials: Sequence[FrozenTrial], objectives: Sequence[str] = MEASURES[:1]
) -> optuna.Study:
    """The study in `study.journal`, as a search leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        study_name="tandem",
        directions=["maximize"] * len(objectives),
    )
    study.set_metric_names(list(objectives))
    study.add_trials(trials)
    return study


def write_epochs(folder: Path, trials: Sequence[FrozenTrial]) -> None:
    """`epochs.parquet`: every metric of every epoch of trials that ended."""
    rows = []
    for number, trial in enumerate(trials):
        reached = trial.user_attrs["measures"]
        for epoch in range(1, trial.user_attrs["epochs"] + 1):
            lost = 0.2 * math.exp(-epoch)
            values = {
                f"validation_ndcg{name.removeprefix('nDCG@10').removesuffix('_all')}": value - lost
                for name, value in reached.items()
            }
            rows.append({"number": number, "epoch": epoch, "click_loss": lost} | values)
    pd.DataFrame(rows).to_parquet(folder / "epochs.parquet")


def write_finalists(folder: Path, gains: dict[str, tuple[int, float]], seeds: int = 3) -> None:
    """`finalists.parquet`: 60 queries; each name has its trial and its gain over the others."""
    rng = np.random.default_rng(1)
    easy = rng.uniform(0.2, 0.8, 60)
    rows = [
        {"trial": trial, "name": name, "seed": seed, "query_id": f"q{query}", "value": value}
        for name, (trial, gain) in gains.items()
        for seed in range(seeds)
        for query, value in enumerate(
            np.clip(easy + gain + rng.normal(0, 0.01) + rng.normal(0, 0.05, 60), 0, 1)
        )
    ]
    pd.DataFrame(rows).to_parquet(folder / "finalists.parquet")


def constant(weight: float) -> dict[str, Any]:
    return {"kind": "Constant", "Constant.click_weight": weight}


def texts(section: Section) -> str:
    return " ".join(part for part in section.parts if isinstance(part, str))


def tables(section: Section) -> list[pd.DataFrame]:
    return [part.frame for part in section.parts if isinstance(part, Table)]


def titles(search: Search) -> list[str]:
    return [section.title for section in search_sections(search, 20)]
