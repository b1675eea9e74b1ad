"""One ranker trained by one process, with no run of Ray Train around it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from corpus.local_copies import working_copy
from corpus.places import Place, upload
from rankers.training.checkpoints import HISTORY, TRAINING_STATE
from rankers.training.learner import WorkerTask
from rankers.training.loop import train_ranker
from rankers.training.stops import Stop
from rankers.training.validation import VALIDATION_MEASURE
from rankers.training.workers import OneProcess, replace_folder

CHECKPOINTS = "checkpoints"
BEST, LAST = "best", "last"  # in it
MEASURED = "measured"  # the file beside the best checkpoint that holds its measure


def train_alone(
    task: WorkerTask,
    threads: int = 1,
    device: str = "cpu",
    told: Callable[[dict[str, float]], None] | None = None,
) -> Stop | None:
    """Trains a ranker in this process and leaves that of the best epoch in the task's folder.

    A killed training goes on from its last checkpoint. Beside the ranker is the history of all
    epochs, as `train` leaves it, and the folder `CHECKPOINTS`, which may go once all is recorded.

    Args:
        task: what to do.
        threads: processors that PyTorch computes on.
        device: to compute on.
        told: called with the metrics of each epoch, first with those of epochs before a kill; by
            then the ranker of the best epoch so far is in the task's folder, so that training may
            be ended there.

    Returns:
        Why training had to stop; None where it did not.
    """
    torch.set_num_threads(threads)
    with working_copy(task.folder / CHECKPOINTS) as (checkpoints, save):
        worker = _Told(checkpoints, device, task.folder, told, save)
        if (stop := train_ranker(task, worker)) is not None:
            return stop
        leave_ranker(worker, task.folder)
    return None


def take_over(folder: Place, other: Place) -> None:
    """Lets the training in a folder go on from the checkpoints of one in another folder.

    After a kill it can be done again, as long as the other has not trained on.
    """
    with (
        working_copy(folder / CHECKPOINTS) as (own, _),
        working_copy(other / CHECKPOINTS) as (theirs, _),
    ):
        for name in (BEST, LAST):
            replace_folder(own / name, theirs / name)


class BestAndLast(OneProcess):
    """This process as the only worker, which keeps two checkpoints.

    Args:
        folder: for both.
        device: to compute on.

    Attributes:
        best: the checkpoint of the best epoch by `VALIDATION_MEASURE`, once there is one.
        last: the last checkpoint, which training goes on from.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        super().__init__(folder / LAST, device)
        self.last, self.best = folder / LAST, folder / BEST
        measured = self.best / MEASURED
        self._highest = float(measured.read_text()) if measured.exists() else -1.0

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        value = metrics[VALIDATION_MEASURE]
        # First, so that an epoch is done again whose checkpoint a kill has left half.
        if checkpoint is not None and value > self._highest:
            replace_folder(self.best, checkpoint)
            (self.best / MEASURED).write_text(repr(value))
            self._highest = value
        super().report(metrics, checkpoint)


class _Told(BestAndLast):
    """The only worker of a training whose epochs somebody wants to know of."""

    def __init__(
        self,
        folder: Path,
        device: str,
        ranker: Place,
        told: Callable[[dict[str, float]], None] | None,
        save: Callable[[], None],
    ) -> None:
        super().__init__(folder, device)
        self._ranker, self._told, self._save = ranker, told, save
        if told is not None:
            for epoch in json.loads(self.last_checkpoint(HISTORY) or b"[]"):
                told(epoch)

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        super().report(metrics, checkpoint)
        self._save()
        if self._told is not None and "epoch" in metrics:
            leave_ranker(self, self._ranker)
            self._told(dict(metrics))


def leave_ranker(worker: BestAndLast, folder: Place) -> None:
    """Leaves the ranker of the best epoch so far in a folder, and the history of all epochs."""
    for path in worker.best.iterdir():
        if path.name not in (TRAINING_STATE, MEASURED):
            upload(path, folder / path.name)
    # That of the best checkpoint ends with its own epoch.
    upload(worker.last / HISTORY, folder / HISTORY)
