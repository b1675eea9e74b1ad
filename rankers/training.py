"""The job `train`: a hybrid reranker from a collection, click labels and annotations."""

import re
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
import ray.train
from ray.train import CheckpointConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer

from cluster import connect
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from rankers.checkpoints import TRAINING_STATE
from rankers.cross_encoder import load_cross_encoder
from rankers.lists import tokenize_lists
from rankers.mixing import FrequencySigmoid, Mix
from rankers.objective import POWER
from rankers.pages import longest_page
from rankers.small_bert import build_small_bert
from rankers.supervision import SMALL_BERT, SupervisedLists, read_supervised_lists
from rankers.train_loop import TrainingSettings, WorkerTask, train_worker
from rankers.validation import VALIDATION_MEASURE

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
        folder=str(output),
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
    try:
        return outcome.result()
    except Exception as error:
        # Ray Train hands on the text of a worker's error, not the error.
        spoiled = re.search(r"FloatingPointError: (.*)", str(error))
        if spoiled is None:
            raise
        raise InputError(f"training stopped: {spoiled[1]}") from None


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
