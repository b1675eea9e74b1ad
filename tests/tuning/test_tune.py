from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from optuna.samplers import RandomSampler
from ray.tune.search.optuna import OptunaSearch

from rankers.mixes import Constant, FrequencySigmoid, Mix, Stage, Staged
from rankers.mixes.encoding import decode_mix, encode_mix
from rankers.training.checkpoints import NOT_VALIDATED
from rankers.training.validation import VALIDATION_MEASURE
from tuning.plotted_trials import print_trials, write_analysis
from tuning.search_space import KINDS, suggest_mix
from tuning.tune import best_mix


def test_every_suggestion_is_a_mix_beside_its_parameters() -> None:
    """As Ray Tune has them in a trial's settings."""
    search = OptunaSearch(
        partial(suggest_mix, frequency=np.array([1, 5, 900])),
        metric="m",
        mode="max",
        sampler=RandomSampler(seed=0),
    )
    kinds = set()
    for trial in range(30):
        suggested = search.suggest(str(trial))
        kinds.add(suggested["kind"])
        mix = decode_mix(suggested["mix"])
        assert type(mix).__name__ == suggested["kind"]
        if isinstance(mix, Constant):
            assert mix.click_weight == suggested["click_weight"]
        if isinstance(mix, FrequencySigmoid):
            assert mix.midpoint == suggested["midpoint"]
            assert 1 <= suggested["midpoint"] <= 900
            assert mix.steepness == suggested["steepness"]
        if isinstance(mix, Staged):
            first = 1.0 if suggested["first"] == "clicks" else 0.0
            switch = suggested["switch"]
            assert mix == Staged([Stage(switch, first), Stage(1 - switch, 1 - first)])
    assert kinds == set(KINDS)


class Finished(NamedTuple):
    """What the analysis asks a trial for."""

    config: dict[str, Any]
    metrics_dataframe: pd.DataFrame | None


def finished(values: list[float] | None, mix: Mix, **parameters: Any) -> Finished:
    history = None if values is None else pd.DataFrame({VALIDATION_MEASURE: values})
    return Finished({"kind": type(mix).__name__, **parameters, "mix": encode_mix(mix)}, history)


@pytest.mark.parametrize(
    "mix", [Staged([Stage(0.25, 1.0), Stage(0.75, 0.0)]), FrequencySigmoid(30.0, 2.0)]
)
def test_the_best_mix_is_that_of_the_best_trial(tmp_path: Path, mix: Mix) -> None:
    trials = [finished([0.1], Constant(0.5), click_weight=0.5), finished([0.2], mix)]
    write_analysis(trials, tmp_path)
    assert best_mix(tmp_path) == mix


def test_a_trial_that_was_spoiled_is_last_whatever_it_reached(tmp_path: Path) -> None:
    histories = {0.1: [0.9, NOT_VALIDATED], 0.2: [0.4, 0.3], 0.3: [0.2, 0.5], 0.4: None}
    trials = [
        finished(values, Constant(weight), click_weight=weight)
        for weight, values in histories.items()
    ]
    table = write_analysis(trials, tmp_path)
    assert table["click_weight"].tolist() == [0.3, 0.2, 0.1]
    assert table["epochs"].tolist() == [2, 2, 1]
    assert table[VALIDATION_MEASURE].tolist()[:2] == [0.5, 0.4]
    assert np.isnan(table[VALIDATION_MEASURE].tolist()[2])
    assert best_mix(tmp_path) == Constant(0.3)


def test_a_trial_has_the_values_of_each_bucket_at_its_best_epoch(tmp_path: Path) -> None:
    by_epoch = {VALIDATION_MEASURE: [0.2, 0.5, 0.4], f"{VALIDATION_MEASURE}_low": [0.9, 0.3, 0.8]}
    trial = finished([], Constant(0.5))._replace(metrics_dataframe=pd.DataFrame(by_epoch))
    [row] = write_analysis([trial], tmp_path).to_dict("records")
    assert (row[VALIDATION_MEASURE], row[f"{VALIDATION_MEASURE}_low"]) == (0.5, 0.3)
    assert np.isnan(row[f"{VALIDATION_MEASURE}_high"])


def test_trials_are_printed_by_their_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_trials(write_analysis([finished([0.2], Constant(0.5), click_weight=0.5)], tmp_path))
    shown = capsys.readouterr().out
    assert "click_weight" in shown
    assert "class_path" not in shown
