"""Runs training by Ray Train: its workers, its restarts and its checkpoints."""

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import ray.train
from pyarrow.fs import FileSelector, FileSystem
from ray.exceptions import RayError
from ray.train import (
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    UserCallback,
)
from ray.train.torch import TorchTrainer

from corpus.places import Place
from rankers.losses.hybrid import Objective
from rankers.settings import TrainingSettings
from rankers.training.learner import TrainingInput, WorkerTask
from rankers.training.ray_workers import train_worker
from rankers.training.stops import Stop, TrainingStoppedError, read_refused, record_refused
from rankers.training.storage import checkpoint_storage
from rankers.training.validation import VALIDATION_MEASURE


def fit_ranker(
    read: TrainingInput,
    objective: Objective,
    output: Place,
    training: TrainingSettings,
    checkpoints: str | None = None,
    callbacks: Sequence[UserCallback] = (),
) -> tuple[ray.train.Checkpoint, ray.train.Checkpoint]:
    """Runs Ray Train on tokenized lists; goes on where an earlier run in `output` stopped.

    Args:
        read: from `rankers.preparation.prepare_input`, and so is `objective`.
        objective: the loss, with its mix.
        output: folder that all nodes reach.
        training: the settings.
        checkpoints: folder or URI for the checkpoints; `output` by default.
        callbacks: called by Ray Train at each report.

    Returns:
        The best checkpoint and the last one, whose history has every epoch.

    Raises:
        TrainingStoppedError: the loss, its gradient or the scores became infinite or NaN.
    """
    output, resources = output.absolute(), training.resources
    files, place = checkpoint_storage(checkpoints or str(output))
    refused = read_refused(output)
    for one in refused:
        print(f"{output}: goes on without step {one.step}; {one.reason}", file=sys.stderr)
    steps = frozenset(one.step for one in refused)
    task = WorkerTask(output, training, objective, read, sys.stdout.isatty(), steps)
    make_trainer = partial(
        TorchTrainer,
        # Bound rather than given as the loop's config, which Ray Train reads in its controller too:
        # that would import all of torch and transformers there before any worker starts.
        partial(train_worker, task),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.use_gpu,
            resources_per_worker={"CPU": resources.cpus_per_worker}
            | ({"GPU": 1} if resources.use_gpu else {}),
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=place,
            storage_filesystem=files,
            callbacks=list(callbacks),
            logging_config=LoggingConfig(log_level="WARNING"),
            failure_config=FailureConfig(max_failures=resources.restarts),
            checkpoint_config=CheckpointConfig(
                num_to_keep=training.checkpoints.keep,
                checkpoint_score_attribute=VALIDATION_MEASURE,
            ),
        ),
    )
    result = _fit_again(make_trainer, resources.restarts)
    stop: Stop | None = result.return_value
    if stop is not None:
        record_refused(output, [*refused, stop])
        raise TrainingStoppedError(f"training stopped: {stop.reason}")
    best: ray.train.Checkpoint = result.get_best_checkpoint(VALIDATION_MEASURE, "max")
    last: ray.train.Checkpoint = result.checkpoint
    recorded = [last, *(checkpoint for checkpoint, _ in result.best_checkpoints)]
    _remove_unrecorded(files, f"{place}/checkpoints", {Path(one.path).name for one in recorded})
    return best, last


def _remove_unrecorded(files: FileSystem, folder: str, recorded: set[str]) -> None:
    """Removes checkpoints that Ctrl-C or a kill left between their writing and their record."""
    for found in files.get_file_info(FileSelector(folder)):
        name = found.base_name
        if found.is_file or not name.startswith("checkpoint_") or name in recorded:
            continue
        files.delete_dir(found.path)


def _fit_again(make_trainer: Callable[[], TorchTrainer], restarts: int) -> ray.train.Result:
    """Runs a trainer, and others that go on after it where workers did not start.

    Ray Train takes some losses, of a worker that others wait for or that is told to begin, for a
    fault of its own, and ends whatever its `max_failures`.
    """
    for _ in range(restarts):
        try:
            return _fit(make_trainer())
        except ControllerError as error:
            if not isinstance(error.controller_failure, RayError):
                raise
            reason = str(error.controller_failure).strip().splitlines()[-1]
            print(f"workers did not start ({reason}); starting them again", file=sys.stderr)
    return _fit(make_trainer())


def _fit(trainer: TorchTrainer) -> ray.train.Result:
    """Runs the trainer so that Ctrl-C raises KeyboardInterrupt at once, during and after the run.

    On the main thread Ray Train takes SIGINT over, waits for the controller's abort, ends the
    process with status 0, and keeps the handler after the run. Elsewhere it leaves SIGINT alone;
    workers end with the driver.
    """
    outcome: Future[ray.train.Result] = Future()

    def fit() -> None:
        try:
            outcome.set_result(trainer.fit())
        except BaseException as error:  # handed on to the main thread, whatever it is
            outcome.set_exception(error)

    threading.Thread(target=fit, daemon=True).start()
    return outcome.result()
