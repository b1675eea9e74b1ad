"""Runs training by Ray Train: from lists in memory to tokenized files, workers, checkpoints."""

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np
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
from torch import Tensor

from corpus.places import Place, whole_folder
from corpus.tables import Collection
from rankers.data.impressions import longest_page
from rankers.data.pair_texts import number_texts
from rankers.data.store import write_lists
from rankers.data.tokenization import map_with_ray, tokenize_once
from rankers.losses.hybrid import POWER, Objective
from rankers.losses.sessions import SessionLoss
from rankers.mixes import Mix, TrainingLog
from rankers.models.small_bert import build_small_bert
from rankers.models.tokenizer import load_tokenizer
from rankers.settings import SMALL_BERT, ObjectiveSettings, TrainingSettings
from rankers.supervision import SupervisedLists
from rankers.training.learner import TrainingInput, WorkerTask
from rankers.training.ray_workers import train_worker
from rankers.training.stops import Stop, TrainingStoppedError, read_refused, record_refused
from rankers.training.storage import checkpoint_storage
from rankers.training.validation import VALIDATION_MEASURE, with_judgments

HIGHEST_GRADE = 3


def tokenize_input(
    lists: SupervisedLists, folder: Place, training: TrainingSettings, tokens: Place | None = None
) -> TrainingInput:
    """Makes what workers read: the small BERT, where it is asked for, lists and token ids.

    Args:
        lists: from `read_supervised_lists`.
        folder: the output, that all nodes reach.
        training: the settings.
        tokens: where trainings share token ids; `tokens` in `folder` by default.

    Raises:
        InputError: the place for token ids cannot be written.
    """
    folder = folder.absolute()
    model = training.model
    backbone = find_backbone(training, folder, lambda: lists.collection)
    tokenizer = load_tokenizer(backbone, model.max_length)
    validation = with_judgments(lists.validation, lists.collection.judgments)
    tables, texts = number_texts([lists.training, validation], lists.collection.documents)
    place = tokenize_once(
        texts,
        tokenizer,
        model.max_length,
        (folder / "tokens" if tokens is None else tokens).absolute(),
        str(folder),
        map_with_ray(training.resources.cpus_per_worker),
    )
    files = [folder / "lists" / f"{name}.arrow" for name in ("training", "validation")]
    for table, file in zip(tables, files, strict=True):
        # Anew each time, since rows of texts are those of these token ids.
        write_lists([table], file)
    return TrainingInput(
        backbone=backbone,
        training=files[0],
        validation=files[1],
        tokens=place,
        pad_token_id=tokenizer.pad_token_id,
        yardstick=lists.measured_by,
        objective=objective_maker(lists, training.objective),
    )


def find_backbone(
    training: TrainingSettings, folder: Place, collection: Callable[[], Collection]
) -> str:
    """The model that training starts from; the small BERT is built, if it is not there.

    Args:
        training: the settings.
        folder: for the small BERT.
        collection: whose texts it is built from.
    """
    if training.model.backbone != SMALL_BERT:
        return training.model.backbone
    place = folder / SMALL_BERT
    # Written last, so that what a kill leaves is not taken for a whole one.
    if not (place / "config.json").exists():
        with whole_folder(place, last="config.json") as begun:
            build_small_bert(collection(), begun, training.optimization.seed)
    return str(place)


def objective_maker(
    lists: SupervisedLists, settings: ObjectiveSettings
) -> Callable[[Mix], Objective]:
    """What makes the loss of a mix, with all that it takes from the lists.

    Args:
        lists: from `read_supervised_lists`.
        settings: what is learned from each signal.
    """
    return make_objective(
        training_log(lists), longest_page(lists.training), lists.propensities, settings
    )


def make_objective(
    log: TrainingLog, positions: int, propensities: Tensor | None, settings: ObjectiveSettings
) -> Callable[[Mix], Objective]:
    """What makes the loss of a mix.

    Args:
        log: of the training queries.
        positions: of the longest page; 0 where lists have none, as of annotations alone.
        propensities: from `rankers.supervision.read_propensities`.
        settings: what is learned from each signal.
    """
    sessions = None
    if settings.click_objective != "labels" and positions:
        sessions = SessionLoss(
            settings.click_objective, positions, propensities, settings.max_weight
        )
    searches = log.frequency.astype(float)
    make = partial(
        Objective,
        loss=settings.loss,
        highest_grade=HIGHEST_GRADE,
        sessions=sessions,
        query_weight=settings.query_weight,
        mean_power=max(float(np.mean(searches ** POWER[settings.query_weight])), 1e-9),
        balance=settings.balance_losses,
    )
    return partial(_settled_objective, make, log)


def training_log(lists: SupervisedLists) -> TrainingLog:
    """What the log tells of the training queries.

    Args:
        lists: from `read_supervised_lists`.
    """
    return TrainingLog(
        lists.training["frequency"].to_numpy(), lists.training["impressions"].to_numpy()
    )


def _settled_objective(make: Callable[[Mix], Objective], log: TrainingLog, mix: Mix) -> Objective:
    return make(mix.settled(log))


def fit_ranker(
    read: TrainingInput,
    output: Place,
    mix: Mix,
    training: TrainingSettings,
    checkpoints: str | None = None,
    callbacks: Sequence[UserCallback] = (),
) -> tuple[ray.train.Checkpoint, ray.train.Checkpoint]:
    """Runs Ray Train on tokenized lists; goes on where an earlier run in `output` stopped.

    Args:
        read: from `tokenize_input`.
        output: folder that all nodes reach.
        mix: the click weight.
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
    objective = read.objective(mix)
    if objective.mix != mix:
        print(f"{output}: with what the log tells, {objective.mix}")
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
