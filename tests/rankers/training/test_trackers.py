"""Each tracker for real: its files or its store are read back."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from tensorboardX.proto.event_pb2 import Event

from corpus.errors import InputError
from corpus.local_copies import local_copy
from corpus.places import Place
from rankers.training import trackers
from rankers.training.log import SUMS, TrainingLog
from rankers.training.trackers import (
    TENSORBOARD,
    TrackerName,
    check_trackers,
    open_trackers,
    run_id,
)


def tell(names: list[TrackerName], folder: Place) -> None:
    """Two steps, then a run that goes on at the third."""
    for first in (0, 2):
        opened = open_trackers(names, folder, {"epochs": 2}, first)
        for step in range(first, first + 2):
            for tracker in opened:
                tracker.add({"step/loss": 1.0 / (step + 1)}, step)
        for tracker in opened:
            tracker.close()


def scalars(folder: Path) -> Iterator[tuple[int, str, float]]:
    """What TensorBoard's files hold: records of length, checksum, event, checksum."""
    for path in sorted(folder.glob("events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            [length] = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            for value in event.summary.value:
                yield event.step, value.tag, value.simple_value
            at += length + 16


def test_tensorboard_is_always_told(tmp_path: Path) -> None:
    tell([], tmp_path)
    told = sorted(scalars(tmp_path / TENSORBOARD))
    assert [step for step, _, _ in told] == [0, 1, 2, 3]
    assert {name for _, name, _ in told} == {"step/loss"}
    assert told[1][2] == 0.5


def test_a_store_has_the_events_of_tensorboard(store: Place) -> None:
    tell([], store)
    told = sorted(scalars(local_copy(store / TENSORBOARD)))
    assert [step for step, _, _ in told] == [0, 1, 2, 3]


def test_the_clusters_metrics_are_told_of_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(trackers, "count", lambda *arguments: told.append(arguments))
    monkeypatch.setattr(trackers, "gauge", lambda *arguments: told.append(arguments))
    log = TrainingLog("ranker", steps=8, workers=2)
    log.tell([trackers.ClusterMetrics(tmp_path / "ranker", {}, 0)], live=False)
    sums = torch.zeros(len(SUMS), dtype=torch.float64)
    for name, value in {"loss": 6, "weight": 3, "pairs": 40, "tokens": 900}.items():
        sums[SUMS.index(name)] = value
    log.step(sums, norm=1.0, rate=1e-4, step=1)
    log.tell_epoch({"waiting_share": 0.25, "validation_ndcg": 0.9, "seconds": 3.0}, 2)
    assert sorted(told) == sorted(
        [
            ("tandem_loss", 2.0, "train", "ranker"),
            ("tandem_learning_rate", 1e-4, "train", "ranker"),
            ("tandem_pairs", 40, "train", "ranker"),
            ("tandem_trained_tokens", 900, "train", "ranker"),
            ("tandem_progress", 0.25, "train", "ranker"),
            ("tandem_waiting_share", 0.25, "train", "ranker"),
            ("tandem_ndcg", 0.9, "train", "ranker"),
        ]
    )


def test_mlflow_goes_on_with_the_run_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tell(["mlflow"], tmp_path)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tandem")
    [run] = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "step/loss")
    assert [point.step for point in history] == [0, 1, 2, 3]
    assert run.data.params["epochs"] == "2"


def test_another_training_in_a_folder_of_this_name_has_a_run_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "ranker"
    folder.mkdir()
    first = run_id(folder)
    assert run_id(folder) == first
    shutil.rmtree(folder)
    folder.mkdir()
    assert run_id(folder) != first


def test_weights_and_biases_write_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tell(["wandb"], tmp_path)
    files = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({path.stem for path in files}) == 1, "one run, taken up again"
    assert b"step/loss" in files[0].read_bytes()


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"tandem-ltr\[wandb\]"):
        check_trackers(["wandb"])
