"""The job `train`: a hybrid reranker from a collection, click labels and annotations."""

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data
import ray.train
import torch
from ray.train import CheckpointConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer
from torch import Tensor

from cluster import connect
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output, warn_unfinished
from corpus.tables import Collection, read_collection, read_table
from rankers.click_objectives import CLICK_OBJECTIVES
from rankers.cross_encoder import check_model, load_cross_encoder
from rankers.lists import add_labels, candidate_lists, tokenize_lists
from rankers.mixing import Constant, FrequencySigmoid, Mix
from rankers.objective import POWER
from rankers.pages import add_pages, longest_page
from rankers.small_bert import build_small_bert
from rankers.train_loop import (
    TRAINING_STATE,
    VALIDATION_MEASURE,
    TrainingSettings,
    WorkerTask,
    train_worker,
)

SMALL_BERT = "small-bert"
HIGHEST_GRADE = 3


def train(
    collection: Path,
    output: Path,
    click_labels: Path | None = None,
    annotations: Path | None = None,
    mix: Mix = FrequencySigmoid(),  # noqa: B008 - read only; the command line shows it
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 - likewise
    resume: bool = False,
) -> None:
    """Trains a reranker on clicks and annotations at once, with Ray Train and DDP.

    The ranker of the best epoch, by nDCG@10 on the validation queries, is left in `output` as a
    Hugging Face checkpoint, which sentence_transformers.CrossEncoder loads as it is. Validation
    takes the human judgments of the validation queries or, where there are none, the labels that
    training uses.

    Args:
        collection: folder of the collection, with candidates and splits.
        output: folder for the ranker.
        click_labels: folder with click_labels.parquet; needed unless the mix never uses clicks.
        annotations: folder with annotations.parquet; needed unless the mix never uses them.
        mix: how much clicks count against annotations: Constant, Staged, Ramp, ByBucket,
            FrequencySigmoid, FrequencyPower, Evidence, or the Product of some of them.
        training: backbone, loss, optimizer and workers.
        resume: go on from the last epoch that was finished in `output`.

    Raises:
        InputError: an input is missing or broken, or `output` is in use.
    """
    settings = {
        "collection": str(collection),
        "click_labels": str(click_labels),
        "annotations": str(annotations),
        "mix": {"kind": type(mix).__name__, **asdict(mix)},  # type: ignore[call-overload]
        "training": asdict(training),
    }
    lists = read_supervised_lists(collection, click_labels, annotations, mix, training)
    if not begin_output(output, "train", settings, resume):
        print(f"{output}: already trained")
        return
    connect()
    best = fit_ranker(lists, output, mix, training)
    for path in best.iterdir():
        if path.name != TRAINING_STATE:
            shutil.copy(path, output / path.name)
    finish_output(output)
    print(f"{output}: the ranker of the best epoch is ready")


@dataclass(frozen=True)
class SupervisedLists:
    """The lists that training and validation read, and the collection they come from.

    Attributes:
        collection: as read.
        training: lists of training queries, with both labels.
        validation: lists of validation queries, with both labels.
        propensities: of positions, where the click objective needs them.
        judgments: grades of validation queries: human or, without any, the labels themselves.
    """

    collection: Collection
    training: pa.Table
    validation: pa.Table
    judgments: pa.Table
    propensities: Tensor | None


def read_supervised_lists(
    collection: Path,
    click_labels: Path | None,
    annotations: Path | None,
    mix: Mix | None,
    training: TrainingSettings,
) -> SupervisedLists:
    """Reads what training needs and refuses what it cannot use, before anything is started.

    Args:
        collection: folder of the collection.
        click_labels: folder with the click labels, where there are any.
        annotations: folder with the annotations, where there are any.
        mix: the click weight; None if it is still to be found and may need both signals.
        training: the settings.

    Raises:
        InputError: a folder or table is missing or broken, the mix needs a signal that is not
            given, or the settings contradict each other.
    """
    _check_settings(training)
    only = mix.click_weight if isinstance(mix, Constant) else None
    objective = training.click_objective
    of_sessions = None if objective == "labels" else CLICK_OBJECTIVES[objective]
    needs_labels = of_sessions is None or of_sessions.needs_propensities
    if click_labels is None and only != 0 and needs_labels:
        raise InputError(f"{mix} uses clicks; give --click_labels, or a Constant mix of 0")
    if annotations is None and only != 1:
        raise InputError(f"{mix} uses annotations; give --annotations, or a Constant mix of 1")
    tables = read_collection(collection)
    clicks = None if click_labels is None else read_table(click_labels, "click_labels")
    grades = None if annotations is None else read_table(annotations, "annotations")
    warn_unfinished(*filter(None, (click_labels, annotations)))
    train_lists, validation_lists = (
        add_labels(candidate_lists(tables, split), clicks, grades, training.annotation_label)
        for split in ("train", "validation")
    )
    if train_lists.num_rows < training.workers:
        raise InputError(
            f"{collection}: {train_lists.num_rows} training lists cannot feed {training.workers} "
            "workers"
        )
    propensities = None
    if of_sessions is not None and only != 0:
        train_lists = add_pages(train_lists, tables.sessions, of_sessions.linear)
        if of_sessions.needs_propensities and click_labels is not None:
            propensities = _read_propensities(click_labels)
    of_validation = pc.is_in(tables.judgments["query_id"], value_set=validation_lists["query_id"])
    judgments = tables.judgments.filter(of_validation)
    if judgments.num_rows == 0:
        judgments = _labels_as_judgments(validation_lists)
    return SupervisedLists(tables, train_lists, validation_lists, judgments, propensities)


def fit_ranker(
    lists: SupervisedLists,
    output: Path,
    mix: Mix,
    training: TrainingSettings,
    callbacks: Sequence[UserCallback] = (),
) -> Path:
    """Runs Ray Train on supervised lists; goes on where an earlier run in `output` stopped.

    Args:
        lists: from `read_supervised_lists`.
        output: folder that all nodes reach; Ray Train keeps its checkpoints in it.
        mix: the click weight.
        training: the settings.
        callbacks: called by Ray Train at each report.

    Returns:
        The folder of the best checkpoint.
    """
    output = output.absolute()
    if training.backbone == SMALL_BERT:
        backbone = output / SMALL_BERT
        if not backbone.exists():
            build_small_bert(lists.collection, backbone, training.seed)
        training = replace(training, backbone=str(backbone))
    _, tokenizer = load_cross_encoder(training.backbone, training.max_length)
    tokenize = partial(tokenize_lists, tokenizer=tokenizer, max_length=training.max_length)
    task = WorkerTask(
        name=output.name,
        settings=training,
        mix=mix,
        training_lists=lists.training.num_rows,
        judgments=lists.judgments,
        highest_grade=HIGHEST_GRADE,
        mean_power=_mean_power(lists.training, training),
        positions=longest_page(lists.training),
        propensities=lists.propensities,
    )
    trainer = TorchTrainer(
        # Bound rather than given as the loop's config, which Ray Train reads in its controller too:
        # that would import all of torch and transformers there before any worker starts.
        partial(train_worker, task),
        scaling_config=ScalingConfig(
            num_workers=training.workers,
            use_gpu=training.use_gpu,
            resources_per_worker={"CPU": training.cpus_per_worker}
            | ({"GPU": 1} if training.use_gpu else {}),
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=str(output),
            callbacks=list(callbacks),
            logging_config=LoggingConfig(log_level="WARNING"),
            checkpoint_config=CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=VALIDATION_MEASURE
            ),
        ),
        datasets={
            "train": _as_dataset(lists.training, tokenize, training),
            "validation": _as_dataset(lists.validation, tokenize, training),
        },
    )
    best = _fit(trainer).get_best_checkpoint(VALIDATION_MEASURE, "max")
    return Path(best.path)


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


def _mean_power(lists: pa.Table, training: TrainingSettings) -> float:
    searches = lists["frequency"].to_numpy().astype(float)
    return float(max(np.mean(searches ** POWER[training.query_weight]), 1e-9))


def _as_dataset(table: pa.Table, tokenize: Any, training: TrainingSettings) -> ray.data.Dataset:
    blocks = ray.data.from_arrow(table).repartition(training.workers)
    tokenized = blocks.map_batches(
        tokenize, batch_format="pyarrow", batch_size=256, num_cpus=training.cpus_per_worker
    )
    tokenized.context.enable_progress_bars = False
    return tokenized.materialize()


def _check_settings(training: TrainingSettings) -> None:
    if training.lists_per_step % training.workers:
        raise InputError(
            f"lists_per_step ({training.lists_per_step}) must be a multiple of workers "
            f"({training.workers}), so that every worker has the same share"
        )
    if training.max_weight < 1:
        raise InputError(f"max_weight must be at least 1, not {training.max_weight}")
    if training.epochs < 1 or training.workers < 1:
        raise InputError("epochs and workers must be at least 1")
    if training.backbone != SMALL_BERT:
        check_model(training.backbone)


def _read_propensities(click_labels: Path) -> Tensor:
    """The propensities that `fit_clicks` wrote beside the labels, by position."""
    path = click_labels / "propensities.parquet"
    if not path.exists():
        raise InputError(f"{path}: there is no such table; fit_clicks writes it beside the labels")
    table = pq.read_table(path)
    if "context" in table.column_names:
        raise InputError(
            f"{path}: holds propensities by context, which only click labels can tell apart; take "
            "click_objective labels, or fit clicks without a context"
        )
    if table["propensity"].null_count:
        raise InputError(f"{path}: the propensity of a position is unknown; take propensity em")
    by_position = table.sort_by("position")["propensity"].to_numpy()
    return torch.tensor(by_position, dtype=torch.float32).clamp(max=1.0)


def _labels_as_judgments(validation: pa.Table) -> pa.Table:
    """Grades from the labels of the lists: the annotation's or, without any, ten times clicks."""
    frame = validation.select(["query_id", "doc_ids", "click_label", "annotation_label"])
    pairs = frame.to_pandas().explode(["doc_ids", "click_label", "annotation_label"])
    annotated = pairs["annotation_label"].notna().any()
    label = pairs["annotation_label"] if annotated else 10 * pairs["click_label"]
    graded = pairs.assign(grade=label.astype(float).round())[label.notna()]
    graded = graded.rename(columns={"doc_ids": "doc_id"})[["query_id", "doc_id", "grade"]]
    return pa.Table.from_pandas(graded.astype({"grade": "int64"}), preserve_index=False)
