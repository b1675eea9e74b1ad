"""What one trial does: it trains a ranker, and tells Ray Tune of each epoch."""

import gc
import json
import os
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import ray.train
import torch
from ray import tune as ray_tune
from ray.train import UserCallback

from corpus.places import Place, read_whole, upload, write_whole
from rankers.fit import fit_ranker
from rankers.losses.hybrid import Objective
from rankers.settings import TrainingSettings
from rankers.training.alone import train_alone
from rankers.training.checkpoints import HISTORY, TRAINING_STATE
from rankers.training.learner import TrainingInput, WorkerTask
from rankers.training.stops import TrainingStoppedError
from rankers.training.validation import VALIDATION_MEASURE
from tuning.storage import full_storage

# What a trial tells last: that it has had its epochs, why it could not, or that nothing can be
# written any more, which is no fault of the trial.
FINISHED, ERROR, STORAGE = "finished", "error", "storage"
# Ray Tune gives a stopped trial 2 seconds to let go of its process, and fails the next one that was
# to have it where that is too little, as on a machine with much to do.
TIME_TO_END = {"TUNE_FUNCTION_THREAD_TIMEOUT_S": "120"}
LOOK = 0.2  # seconds between two looks for an epoch of a run of Ray Train


@dataclass(frozen=True)
class TrialTask:
    """What a trial trains.

    Attributes:
        folder: for its ranker and what it goes on from; all nodes reach it.
        training: the settings.
        objective: the loss, with its mix.
        read: what it learns from, with its labels.
        checkpoints: folder or URI for its checkpoints, where they are not to lie in `folder`.
        in_one_process: whether it trains in the trial's own process, with no run of Ray Train.
    """

    folder: Place
    training: TrainingSettings
    objective: Objective
    read: TrainingInput
    checkpoints: str | None
    in_one_process: bool


def run_trial(parameters: Mapping[str, Any]) -> None:
    """Trains the ranker of a trial, from where an earlier attempt has come to.

    What Python raises is told and not tried again; a process that is lost is started again by Ray
    Tune, and comes here again.

    Args:
        parameters: `task`, a `TrialTask`.
    """
    os.environ.update(TIME_TO_END)
    task: TrialTask = parameters["task"]
    if task.in_one_process:
        ray_tune.report(told_last(lambda: train_here(task, ray_tune.report)))
    else:
        ray_tune.report(told_last(lambda: _train_by_ray(task)))


def told_last(train: Callable[[], str | None]) -> dict[str, Any]:
    """Trains, and makes of what stopped it, if anything, what a trial tells last."""
    try:
        stopped = train()
        last: dict[str, Any] = {FINISHED: True} if stopped is None else {ERROR: stopped}
    except Exception as error:
        # Else the exception keeps the model in the memory of a process that trains others.
        full = full_storage(error)
        if full is None:
            traceback.print_exc()
        fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
        last = {ERROR: fault} if full is None else {STORAGE: full}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return last


def train_here(
    task: TrialTask,
    told: Callable[[dict[str, float]], None],
    until: int | None = None,
) -> str | None:
    """Trains in this process; returns why training had to stop, if it had to.

    Args:
        task: the trial's.
        told: called with the metrics of each epoch.
        until: the epoch to pause after; by default the last one.
    """
    resources = task.training.resources
    stop = train_alone(
        WorkerTask(task.folder, task.training, task.objective, task.read, live=False, until=until),
        threads=max(1, int(resources.cpus_per_worker)),
        device="cuda" if resources.use_gpu else "cpu",
        told=told,
    )
    return None if stop is None else stop.reason


def _train_by_ray(task: TrialTask) -> str | None:
    """Tells what the run of Ray Train leaves in the trial's folder, as soon as it is there.

    Ray's own way, a queue that its `TuneReportCallback` fills, waits for ever where the run ends
    before Ray Tune has taken the last epoch out of it.
    """
    outcome: Future[None] = Future()

    def fit() -> None:
        leave = [_LeaveRanker(task.folder)]
        try:
            where = task.folder, task.training, task.checkpoints
            fit_ranker(task.read, task.objective, *where, leave)
            outcome.set_result(None)
        except BaseException as error:  # handed on, whatever it is
            outcome.set_exception(error)

    # Ray Tune ends the other thread where it tells an epoch, and this one with the process.
    Thread(target=fit, daemon=True).start()
    history, told, ended = task.folder / HISTORY, 0, False
    while not ended:
        wait([outcome], timeout=LOOK)
        ended = outcome.done()
        epochs = json.loads(read_whole(history)) if history.exists() else []
        for epoch in epochs[told:]:
            ray_tune.report(epoch)
        told = len(epochs)
    try:
        outcome.result()
    except TrainingStoppedError as stopped:
        return str(stopped)
    return None


class _LeaveRanker(UserCallback):  # type: ignore[misc]
    """Leaves the ranker of the best epoch so far, and then the history, in a trial's folder."""

    def __init__(self, folder: Place) -> None:
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
            content = (Path(place) / HISTORY).read_bytes()
            values = [epoch[VALIDATION_MEASURE] for epoch in json.loads(content)]
            if values[-1] > max(values[:-1], default=-1.0):
                for path in Path(place).iterdir():
                    if path.name not in (TRAINING_STATE, HISTORY):
                        upload(path, self._folder / path.name)
        write_whole(self._folder / HISTORY, content)
