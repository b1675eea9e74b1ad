"""The train loop: what each worker of a training does."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from corpus.tables import write_parquet
from rankers.batch import ListBatch
from rankers.data.padding import BatchReader
from rankers.data.sampler import EpochOrder, Share, covered_steps, read_steps, steps_per_epoch
from rankers.losses.hybrid import signal_shares
from rankers.models.list_ranker import computing_in, save_ranker
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import History, report, report_within_epoch, restore
from rankers.training.learner import Learner, WorkerTask, build_learner
from rankers.training.log import SUMS
from rankers.training.stops import Stop
from rankers.training.trackers import open_trackers
from rankers.training.validation import VALIDATION_MEASURE, validate
from rankers.training.workers import Workers

# Of an epoch's metrics, those on its line in the terminal; all are in history.json.
SHOWN = (
    *("loss", "click_loss", "annotation_loss", "click_weight", "gradient_norm"),
    *("pairs_per_second", "waiting_share", VALIDATION_MEASURE, "seconds"),
)
WHAT_TO_DO = "train with a lower learning_rate, in another output"
SPOILED = SUMS.index("spoiled")


def train_ranker(task: WorkerTask, workers: Workers) -> Stop | None:
    """The train loop of one worker.

    Each step's lists and random numbers follow from the seed and the step's number, so training
    goes on exactly where the last checkpoint was made. A checkpoint is reported after each epoch,
    with the ranker as a Hugging Face folder, and every so many steps within it.

    Args:
        task: what to do.
        workers: that do it together, seen from this one.

    Returns:
        Why training had to stop; None where it did not.
    """
    settings = task.settings
    files = task.input.training, task.input.validation
    training, validation = (
        task.input.reader(file, settings.batching, workers.device) for file in files
    )
    of_epoch = steps_per_epoch(len(training.lists), settings.batching.lists_per_step)
    learner = build_learner(task, workers, of_epoch * settings.optimization.epochs, training)
    history = restore(workers, learner.state)
    if workers.rank == 0:
        tokens = settings.batching.tokens_at_once(on_gpu=workers.device.type == "cuda")
        told = settings.by_name | {"batching.tokens_per_micro_batch": tokens}
        trackers = open_trackers(settings.trackers, task.folder, told, learner.steps)
        learner.log.tell(trackers, task.live)
    with closing(learner.log):  # a search may stop training where it reports an epoch
        return train_epochs(learner, task, workers, training, validation, history)


def train_epochs(
    learner: Learner,
    task: WorkerTask,
    workers: Workers,
    training: BatchReader,
    validation: BatchReader,
    history: History,
) -> Stop | None:
    """Trains the epochs that are left, and validates and reports after each.

    Args:
        learner: what is trained.
        task: what to do.
        workers: that do it together.
        training: lists to train on.
        validation: lists to validate on.
        history: metrics of the epochs before; those of further ones are added.

    Returns:
        Why training had to stop; None where it did not.
    """
    settings, optimization = task.settings, task.settings.optimization
    lists, lists_per_step = len(training.lists), settings.batching.lists_per_step
    of_epoch = steps_per_epoch(lists, lists_per_step)
    for epoch in range(len(history), task.until or optimization.epochs):
        if has_stopped_improving(history, optimization.patience):
            break
        done = learner.steps - epoch * of_epoch
        counts = training.lists.counts
        order = EpochOrder(counts, lists_per_step, optimization.seed, epoch, done)
        if done == 0:
            learner.log.begin_epoch()
        if stopped := train_epoch(learner, task, workers, training, order, history):
            return stopped
        metrics = learner.log.epoch()
        with computing_in(settings.model.precision, workers.device):
            metrics |= validate(
                learner.ranker,
                validation,
                task.input.yardstick,
                task.objective.mix,
                workers,
            )
        if VALIDATION_MEASURE not in metrics:
            step = learner.steps
            return Stop(step, f"after step {step} scores are not finite: {WHAT_TO_DO}")
        metrics["seconds"] = learner.log.seconds
        history.append({"epoch": epoch + 1, **metrics})
        save = partial(save_ranker, learner.ranker.model, learner.tokenizer, task.objective.mix)
        report(workers, history[-1], history, learner.state, save)
        if workers.rank == 0:
            learner.log.tell_epoch(metrics, learner.steps)
            shown = "  ".join(f"{name} {metrics[name]:.4g}" for name in SHOWN if name in metrics)
            print(
                f"{task.folder.name}: epoch {epoch + 1}/{optimization.epochs}  {shown}", flush=True
            )
    return None


def train_epoch(
    learner: Learner,
    task: WorkerTask,
    workers: Workers,
    lists: BatchReader,
    order: Sequence[NDArray[np.int64]],
    history: History,
) -> Stop | None:
    """Trains on the steps of an epoch that are left.

    Args:
        learner: what is trained.
        task: what to do.
        workers: that do it together.
        lists: to train on.
        order: rows of the lists of each step, see `rankers.data.sampler.EpochOrder`.
        history: metrics of the epochs before, for checkpoints.

    Returns:
        Why training had to stop; None where it did not.
    """
    settings, mix = task.settings, task.objective.mix
    every_steps = settings.checkpoints.every_steps
    learner.ranker.train()
    first = learner.steps
    covered = (
        rows[:0] if first + number in task.refused else rows
        for number, rows in enumerate(
            covered_steps(lists.lists, order, mix, first, learner.log.steps), 1
        )
    )
    share = Share(workers.rank, workers.size, settings.batching.accumulation)
    steps = read_steps(lists, covered, share)
    left = len(order)
    for batches in learner.log.waiting_for(steps):
        left -= 1
        step = learner.steps
        torch.manual_seed(settings.optimization.seed + 1_000_003 * (step + 1) + workers.rank)
        if not batches:
            pass_by_step(learner)
        elif not train_step(learner, workers, batches, settings):
            path = task.folder / f"nonfinite_batch_{step + 1}_{workers.rank}.parquet"
            write_parquet(lists.lists.take(np.concatenate([batch.rows for batch in batches])), path)
            return Stop(
                step + 1,
                f"loss or gradient of step {step + 1} is not finite; its lists are in {path}. "
                f"Look at their labels, or {WHAT_TO_DO}",
            )
        if left and every_steps and (step + 1) % every_steps == 0:
            report_within_epoch(workers, history, learner.state)
    return None


def has_stopped_improving(history: History, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better validation nDCG@10; 0 is never."""
    values = [row[VALIDATION_MEASURE] for row in history]
    return 0 < patience < len(values) and max(values[-patience:]) <= max(values[:-patience])


def pass_by_step(learner: Learner) -> None:
    """Lets a step go by that has no list to learn from: time passes, and no weight moves."""
    learner.optimizer.zero_grad()  # without gradients AdamW leaves weights as they are
    learner.optimizer.step()
    learner.schedule.step()


def train_step(
    learner: Learner, workers: Workers, batches: list[ListBatch], settings: TrainingSettings
) -> bool:
    """One step of the optimizer; False, and no step, where loss or gradient is not finite.

    Args:
        learner: what is trained.
        workers: that share the step.
        batches: this worker's lists of the step, in the parts that it takes them in.
        settings: precision and the longest gradient are taken from them.
    """
    model, objective, schedule = learner.distributed, learner.objective, learner.schedule
    progress = learner.steps / learner.log.steps
    batches = [batch.to(workers.device) for batch in batches]
    of_batches = [objective.weights(batch, progress) for batch in batches]
    weights = workers.sum(torch.stack(of_batches).sum(0))
    shares = signal_shares(weights)
    learner.optimizer.zero_grad()
    values = []
    for number, batch in enumerate(batches):
        with _gradients_of(model, last=number == len(batches) - 1):
            # Without lists the model has nothing to read, but the objective's sums are taken.
            scores = torch.zeros(0, 0, learner.heads, device=workers.device)
            if batch.micro_batches.inputs:
                with computing_in(settings.model.precision, workers.device):
                    scores = model(batch)
            values.append(objective(scores, batch, progress, shares))
            if batch.micro_batches.inputs:
                # DDP averages gradients over workers, where the loss is a sum over them.
                (values[-1].loss * workers.size).backward()
    clip = settings.optimization.gradient_clip
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
    sums = workers.sum(learner.log.sums(values, batches, weights, norm))
    if sums[SPOILED] > 0:
        return False
    if not weights[:, 1].any():
        learner.optimizer.zero_grad()  # else moments and decay move weights that nothing taught
    learner.optimizer.step()
    learner.log.step(sums, norm, float(schedule.get_last_lr()[0]), learner.steps)
    schedule.step()
    return True


def _gradients_of(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """DDP sums gradients over workers with those of the last part of a step alone."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()
