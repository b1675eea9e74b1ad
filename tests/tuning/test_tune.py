"""A search on the real stack, tiny: killed in the middle, gone on with, and made longer."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import psutil
import pytest
import yaml
from optuna.trial import TrialState
from safetensors.numpy import load_file

from corpus.errors import InputError
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from rankers.train import train
from ray_jobs.command_line import job_parser, parse
from tests.conftest import REPOSITORY, hear_ctrl_c, with_settings
from tests.rankers.trainings import make_inputs
from tests.scraping import scrape
from tuning.best import best_of
from tuning.journal import JOURNAL
from tuning.space import SearchSpace
from tuning.study import STUDY, asked_for, finished_trials
from tuning.tune import tune

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING = {"epochs": 3, "lists_per_step": 4, "max_length": 32, "workers": 1}
CONSTANT = SearchSpace(mixes=["Constant"])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def settings(inputs: Path, **changes: Any) -> TrainingSettings:
    given = TRAINING | {"backbone": str(inputs / "exact")} | changes
    return with_settings(TrainingSettings(), **given)


def search(inputs: Path, output: Path, training: TrainingSettings, **options: Any) -> None:
    """The search of a job, in this process."""
    given = {"space": CONSTANT, "finalists": 1, "finalist_seeds": 1, "grace_epochs": 1} | options
    tables = (inputs / "collection", inputs / "clicks", inputs / "llm")
    tune(*tables, output, training, **given)


def start(inputs: Path, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    """The same as a job of its own."""
    arguments: dict[str, Any] = {
        "collection": inputs / "collection",
        "click_labels": inputs / "clicks",
        "annotations": inputs / "llm",
        "output": output,
        "space.mixes": '["Constant"]',
        "finalists": 1,
        "finalist_seeds": 1,
        "early_stopping": "false",
        "trials": 4,
        "training.model.backbone": inputs / "exact",
        "training.model.max_length": 32,
        "training.optimization.epochs": 3,
        "training.batching.lists_per_step": 4,
        "training.resources.workers": 1,
    }
    command = [sys.executable, "ray_jobs/tune.py"]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    with output.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [*command, *more], cwd=REPOSITORY, stdout=log, stderr=log, preexec_fn=hear_ctrl_c
        )


def read_study(output: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(output / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=STUDY, storage=storage)


def wait_for(output: Path, condition: Any, job: "subprocess.Popen[bytes]") -> None:
    while job.poll() is None:
        time.sleep(0.1)
        if (output / JOURNAL).exists():
            try:
                if condition(read_study(output).trials):
                    return
            except (KeyError, ValueError):
                continue  # not yet begun, or just being written
    raise AssertionError(output.with_suffix(".log").read_text()[-3000:])


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was killed once a trial had ended and another had an epoch behind it."""
    output = tmp_path_factory.mktemp("search") / "out"
    job = start(inputs, output)
    wait_for(
        output,
        lambda trials: (
            any(t.state == TrialState.COMPLETE for t in trials)
            and any(t.state == TrialState.RUNNING and t.user_attrs.get("epochs") for t in trials)
        ),
        job,
    )
    job.kill()
    job.wait()
    study = read_study(output)
    before = {
        "ended": [trial.number for trial in finished_trials(study)],
        "ages": {
            str(path): path.stat().st_mtime_ns for path in output.glob("trials/*/history.json")
        },
        "running": {
            trial.number: trial.user_attrs.get("epochs", 0)
            for trial in study.get_trials(states=(TrialState.RUNNING,))
        },
        "waiting": len(study.get_trials(states=(TrialState.WAITING,))),
    }
    (output.parent / "before.json").write_text(json.dumps(before))
    job = start(inputs, output, "--resume")
    assert job.wait(timeout=500) == 0, output.with_suffix(".log").read_text()[-3000:]
    return output


def before_kill(finished: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((finished.parent / "before.json").read_text())
    return told


def test_no_finished_trial_runs_again_and_those_cut_short_go_on(finished: Path) -> None:
    before, study = before_kill(finished), read_study(finished)
    ended = finished_trials(study)
    assert len(ended) == 4
    assert before["ended"]
    for number in before["ended"]:
        path = finished / "trials" / f"{number:04d}" / "history.json"
        assert path.stat().st_mtime_ns == before["ages"][str(path)]
    assert before["running"]
    for number, epochs in before["running"].items():
        [again] = [t for t in ended if t.user_attrs.get("continues") == int(number)]
        # The kill may have come before the trial had asked for all that it was enqueued with.
        assert asked_for(study.trials[int(number)]).items() <= again.params.items()
        assert again.user_attrs["folder"] == f"trials/{int(number):04d}"
        assert list(again.intermediate_values) == list(
            range(1, int(again.user_attrs["epochs"]) + 1)
        )
        assert again.user_attrs["epochs"] >= epochs
    histories = [
        json.loads((finished / trial.user_attrs["folder"] / "history.json").read_text())
        for trial in ended
    ]
    for trial, history in zip(ended, histories, strict=True):
        assert [epoch["epoch"] for epoch in history] == [*range(1, trial.user_attrs["epochs"] + 1)]


def test_the_known_points_came_first(finished: Path) -> None:
    known = [trial.user_attrs.get("known") for trial in finished_trials(read_study(finished))]
    assert set(known[:3]) == {"click", "annotation", "one half"}
    assert known[3] is None


def test_tables_have_every_trial_and_every_epoch(finished: Path) -> None:
    trials = pd.read_parquet(finished / "trials.parquet")
    assert len(trials) == 4
    assert trials["best"].sum() == 1
    assert trials["error"].isna().all()
    whole = trials[trials["state"] == "COMPLETE"]
    assert (whole["epochs"] == 3).all()
    epochs = pd.read_parquet(finished / "epochs.parquet")
    counts = trials.set_index("number")["epochs"].to_dict()
    assert epochs.groupby("number").size().to_dict() == counts
    best_epoch = epochs.groupby("number")["validation_ndcg"].max()
    assert trials.set_index("number")["nDCG@10_all"].to_dict() == best_epoch.to_dict()
    assert len(pd.read_csv(finished / "trials.csv")) == 4
    finalists = pd.read_parquet(finished / "finalists.parquet")
    assert finalists["name"].nunique() == 2
    assert finalists["value"].between(0, 1).all()


def test_nothing_of_rays_own_is_left(finished: Path) -> None:
    left = {path.name for path in finished.iterdir()}
    assert ".ray_tune" not in left
    assert not list(finished.rglob("*.pkl"))
    assert not list(finished.glob("trials/*/checkpoints"))


def test_any_trial_is_trained_again_bit_for_bit(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = best_of(finished)
    table = pd.read_parquet(finished / "trials.parquet")
    [row] = table[table["known"] == "click"].to_dict("records")
    config = finished / row["folder"] / "train.yaml"
    monkeypatch.setattr(
        sys, "argv", ["train.py", "--config", str(config), "--output", str(tmp_path / "again")]
    )
    parser = job_parser("train", "")
    parser.add_function_arguments(train, skip={"resume"})
    train(**parse(parser, "train"))
    ours = load_file(finished / row["folder"] / "model.safetensors")
    theirs = load_file(tmp_path / "again" / "model.safetensors")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert yaml.safe_load((finished / "best.yaml").read_text())["mix"] == encode_mix(best.mix)


def test_more_trials_go_on_and_a_lost_process_too(
    finished: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process of a trial with an epoch behind it is killed; the search ends all the same."""
    killed: list[int] = []

    def kill_once() -> None:
        while not killed:
            time.sleep(0.1)
            for trial in read_study(finished).get_trials(states=(TrialState.RUNNING,)):
                if trial.user_attrs.get("epochs"):
                    killed.append(int(trial.user_attrs["worker"].split(":")[1]))
                    os.kill(killed[0], signal.SIGKILL)
                    return

    thread = threading.Thread(target=kill_once, daemon=True)
    thread.start()
    options = {"resume": True, "early_stopping": False}
    search(inputs, finished, settings(inputs), trials=6, **options)
    assert killed
    assert not psutil.pid_exists(killed[0])
    ended = finished_trials(read_study(finished))
    assert [trial.state for trial in ended[4:]] == [TrialState.COMPLETE] * 2
    for trial in ended[4:]:
        assert sorted(trial.intermediate_values) == [1, 2, 3]
    trials = ("ray_tandem_trials_total", "complete")
    assert scrape("tune", finished.name, lambda told: told.get(trials) == 2) == {trials: 2}
    capsys.readouterr()
    search(inputs, finished, settings(inputs), trials=6, **options)
    assert "known point" in capsys.readouterr().out  # said again, and nothing is done
    before = before_kill(finished)
    taken_up = len(before["running"]) + before["waiting"]
    assert len(read_study(finished).trials) == len(ended) + taken_up


def test_trials_that_all_fail_end_the_search_with_the_reason_once(
    inputs: Path, tmp_path: Path
) -> None:
    training = settings(inputs, learning_rate=1e30)
    with pytest.raises(InputError, match=r"none of 2 trials came to .*: .*not finite") as told:
        search(inputs, tmp_path / "out", training, trials=2)
    assert str(told.value).count("not finite") == 1
    table = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    assert table["state"].tolist() == ["FAIL", "FAIL"]
    assert table["error"].str.contains("not finite").all()
    assert not table["error"].str.contains("--resume").any(), "a trial that failed stays as it is"


def test_a_stopped_trial_lets_the_next_one_start(inputs: Path, tmp_path: Path) -> None:
    """One at a time has most CPUs that there are, so what it does not give back is missed."""
    training = settings(inputs, epochs=2, cpus_per_worker=5.0, restarts=0)
    # One known point, and what is worse than it so far is stopped.
    space = SearchSpace(mixes=["Constant"], ranges={"Constant.click_weight": [0.4, 0.6]})
    options = {"finalists": 0, "space": space, "trials": 4, "concurrent_trials": 1}
    search(inputs, tmp_path / "out", training, **options)
    table = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    states = table["state"].tolist()
    assert "PRUNED" in states[:-1]
    assert set(states) == {"PRUNED", "COMPLETE"}
    stopped = table[table["state"] == "PRUNED"]
    assert (stopped["stopped_after"] == 1).all()
    for folder in table["folder"]:
        assert (tmp_path / "out" / folder / "model.safetensors").exists()


def test_an_edited_collection_is_another_one_and_a_moved_one_is_not(
    finished: Path, inputs: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(inputs, moved)
    options = {"resume": True, "early_stopping": False, "trials": 6}
    search(moved, finished, settings(inputs), **options)
    path = moved / "collection" / "judgments.parquet"
    judgments = pd.read_parquet(path)
    judgments.loc[0, "grade"] = 1 - judgments["grade"].iloc[0].clip(0, 1)
    judgments.to_parquet(path)
    with pytest.raises(InputError, match="was begun with collection_hash"):
        search(moved, finished, settings(inputs), **options)
