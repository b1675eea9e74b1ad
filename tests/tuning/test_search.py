from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from rankers.mixing import FrequencySigmoid, Mix, Stage, Staged
from tuning.search import best_mix
from tuning.search_space import KINDS, mix_as_config, mix_of, suggest_mix


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
