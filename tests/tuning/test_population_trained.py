"""A population on the real stack, tiny: cut short between decision and deed, and gone on with."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from rankers.mixes import Piecewise
from rankers.mixes.encoding import decode_mix
from rankers.settings import TrainingSettings
from rankers.train import train
from rankers.training import alone
from ray_jobs.command_line import job_parser, parse
from tests.conftest import with_settings
from tests.rankers.trainings import make_inputs
from tuning.space import SearchSpace
from tuning.tune import tune

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS, MEMBERS = 3, 5


def test_a_schedule_that_a_population_found_is_trained_again_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, output = make_inputs(tmp_path / "inputs"), tmp_path / "out"
    given = {"epochs": EPOCHS, "lists_per_step": 4, "max_length": 32, "workers": 1}
    training = with_settings(TrainingSettings(), backbone=str(inputs / "dropping"), **given)
    tables = (inputs / "collection", inputs / "clicks", inputs / "llm")
    options: dict[str, Any] = {
        "space": SearchSpace(mixes=["Constant"]),
        "population": True,
        "trials": MEMBERS,
        "grace_epochs": 1,
        "finalists": 0,
    }
    replace_folder = alone.replace_folder

    def die(folder: Path, source: Path) -> None:
        replace_folder(folder, source)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(alone, "replace_folder", die)
        with pytest.raises(KeyboardInterrupt):
            tune(*tables, output, training, **options)
    tune(*tables, output, training, resume=True, **options)

    trials = pd.read_parquet(output / "trials.parquet")
    assert trials["state"].tolist() == ["COMPLETE"] * MEMBERS
    assert trials["epochs"].tolist() == [EPOCHS] * MEMBERS
    assert set(trials["known"].dropna()) == {"click", "annotation", "one half"}
    mixes = {row["number"]: decode_mix(json.loads(row["mix"])) for row in trials.to_dict("records")}
    assert not any(isinstance(mixes[n], Piecewise) for n in trials[trials["known"].notna()].index)
    found = [number for number, mix in mixes.items() if isinstance(mix, Piecewise)]
    assert found, "the worst took over after two epochs"
    switches = {s for number in found for s in mixes[number].switches}  # type: ignore[attr-defined]
    assert switches <= {1 / 3, 2 / 3}
    assert not list(output.glob("trials/*/checkpoints"))

    folder = output / "trials" / f"{found[-1]:04d}"
    config = folder / "train.yaml"
    assert yaml.safe_load(config.read_text())["mix"]["class_path"] == "Piecewise"
    again = ["train.py", "--config", str(config), "--output", str(tmp_path / "again")]
    monkeypatch.setattr(sys, "argv", again)
    parser = job_parser("train", "")
    parser.add_function_arguments(train, skip={"resume"})
    train(**parse(parser, "train"))
    ours, theirs = (
        load_file(place / "model.safetensors") for place in (folder, tmp_path / "again")
    )
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    ndcg = [
        [row["validation_ndcg"] for row in json.loads((place / "history.json").read_text())]
        for place in (folder, tmp_path / "again")
    ]
    assert ndcg[0] == ndcg[1]
