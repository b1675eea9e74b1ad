"""What one trial does: it trains a ranker, and tells Ray Tune of each epoch."""

import gc
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray import tune as ray_tune
from ray.train import UserCallback
from ray.tune.integration.ray_train import TuneReportCallback

from rankers.fit import fit_ranker
from rankers.losses.hybrid import Objective
from rankers.mixes import Mix
from rankers.settings import TrainingSettings
from rankers.training.alone import train_alone
from rankers.training.checkpoints import HISTORY, TRAINING_STATE
from rankers.training.learner import TrainingInput, WorkerTask
from rankers.training.stops import TrainingStoppedError
from rankers.training.validation import VALIDATION_MEASURE

# What a trial tells last: that it has had its epochs, or why it could not.
FINISHED, ERROR = "finished", "error"


@dataclass(frozen=True)
class TrialTask:
    """What a trial trains.

    Attributes:
        folder: for its ranker and what it goes on from; all nodes reach it.
        mix: the click weight.
        training: the settings.
        objective: makes the loss of a mix.
        lists: folder of the lists with the labels that it learns from.
        checkpoints: folder or URI for its checkpoints, where they are not to lie in `folder`.
        in_one_process: whether it trains in the trial's own process, with no run of Ray Train.
    """

    folder: Path
    mix: Mix
    training: TrainingSettings
    objective: Callable[[Mix], Objective]
    lists: Path
    checkpoints: str | None
    in_one_process: bool


def run_trial(parameters: Mapping[str, Any], read: TrainingInput) -> None:
    """Trains the ranker of a trial, from where an earlier attempt has come to.

    What Python raises is told and not tried again; a process that is lost is started again by Ray
    Tune, and comes here again.

    Args:
        parameters: `task`, a `TrialTask`.
        read: what all trials read; the lists are those of the task.
    """
    task: TrialTask = parameters["task"]
    training, validation = (task.lists / f"{name}.arrow" for name in ("training", "validation"))
    read = replace(read, objective=task.objective, training=training, validation=validation)
    try:
        stopped = (_train_here if task.in_one_process else _train_by_ray)(task, read)
    except Exception as error:
        traceback.print_exc()
        # Else the exception keeps the model in the memory of a process that trains others.
        stopped = f"{type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    ray_tune.report({FINISHED: True} if stopped is None else {ERROR: stopped})


def _train_here(task: TrialTask, read: TrainingInput) -> str | None:
    resources = task.training.resources
    objective = read.objective(task.mix)
    stop = train_alone(
        WorkerTask(task.folder, task.training, objective, read, live=False),
        threads=max(1, int(resources.cpus_per_worker)),
        device="cuda" if resources.use_gpu else "cpu",
        told=ray_tune.report,
    )
    return None if stop is None else stop.reason


def _train_by_ray(task: TrialTask, read: TrainingInput) -> str | None:
    told = task.folder / HISTORY
    for epoch in json.loads(told.read_bytes()) if told.exists() else []:
        ray_tune.report(epoch)
    callbacks = [_LeaveRanker(task.folder), TuneReportCallback()]
    try:
        fit_ranker(read, task.folder, task.mix, task.training, task.checkpoints, callbacks)
    except TrainingStoppedError as stopped:
        return str(stopped)
    return None


class _LeaveRanker(UserCallback):  # type: ignore[misc]
    """Leaves the ranker of the best epoch so far, and the history, in a trial's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def after_report(
        self,
        run_context: Any,
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,
    ) -> None:
        if checkpoint is None:
            return
        with checkpoint.as_directory() as place:
            history = json.loads((Path(place) / HISTORY).read_text())
            values = [epoch[VALIDATION_MEASURE] for epoch in history]
            copied = {HISTORY}
            if values[-1] > max(values[:-1], default=-1.0):
                copied = {path.name for path in Path(place).iterdir()} - {TRAINING_STATE}
            for name in copied:
                (self._folder / name).write_bytes((Path(place) / name).read_bytes())
