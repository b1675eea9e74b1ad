from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from rankers.mixes.mixes import Constant, FrequencySigmoid, Mix, Stage, Staged
from rankers.training.checkpoints import NOT_VALIDATED
from rankers.training.validation import VALIDATION_MEASURE
from tuning.analysis import write_analysis
from tuning.search_space import KINDS, mix_as_config, mix_of, suggest_mix
from tuning.tune import best_mix


def test_every_suggestion_is_a_mix() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds = set()
    for _ in range(30):
        trial = study.ask()
        suggest_mix(trial, np.array([1, 5, 900]))
        kinds.add(type(mix_of(trial.params)).__name__)
    assert kinds == set(KINDS)


@pytest.mark.parametrize(
    ("columns", "mix"),
    [
        (
            {"kind": "Staged", "switch": 0.25, "first": "clicks", "midpoint": np.nan},
            Staged([Stage(0.25, 1.0), Stage(0.75, 0.0)]),
        ),
        (
            {"kind": "FrequencySigmoid", "first": None, "midpoint": 30.0, "steepness": 2.0},
            FrequencySigmoid(30.0, 2.0),
        ),
    ],
)
def test_the_best_mix_is_the_first_row_and_fits_into_yaml(
    tmp_path: Path, columns: dict[str, object], mix: Mix
) -> None:
    worse = {"kind": "Constant", "click_weight": 0.5}
    pd.DataFrame([columns, worse]).to_parquet(tmp_path / "trials.parquet")
    found = best_mix(tmp_path)
    assert found == mix
    config = yaml.safe_load(yaml.safe_dump(mix_as_config(found)))
    assert config["class_path"] == type(mix).__name__
    assert config["init_args"] == mix_as_config(mix)["init_args"]


def test_a_trial_that_was_spoiled_is_last_whatever_it_reached(tmp_path: Path) -> None:
    histories = {0.1: [0.9, NOT_VALIDATED], 0.2: [0.4, 0.3], 0.3: [0.2, 0.5], 0.4: None}
    results = [
        SimpleNamespace(
            config={"kind": "Constant", "click_weight": weight},
            metrics_dataframe=None
            if values is None
            else pd.DataFrame({VALIDATION_MEASURE: values}),
        )
        for weight, values in histories.items()
    ]
    table = write_analysis(results, tmp_path)
    assert table["click_weight"].tolist() == [0.3, 0.2, 0.1]
    assert table["epochs"].tolist() == [2, 2, 1]
    assert table[VALIDATION_MEASURE].tolist()[:2] == [0.5, 0.4]
    assert np.isnan(table[VALIDATION_MEASURE].tolist()[2])
    assert best_mix(tmp_path) == Constant(0.3)
