"""The train loop: what Ray Train runs on every worker."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from corpus.tables import write_parquet
from rankers.data.sampler import Parts, epoch_order, read_steps, steps_per_epoch
from rankers.data.store import ListFile
from rankers.losses.hybrid import signal_shares
from rankers.models.list_ranker import computing_in, save_ranker
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import History, report, report_within_epoch, restore
from rankers.training.learner import Learner, WorkerTask, build_learner
from rankers.training.log import SUMS
from rankers.training.stops import Stop
from rankers.training.trackers import open_trackers
from rankers.training.validation import VALIDATION_MEASURE, validate

# Of an epoch's metrics, those on its line in the terminal; all are in history.json.
SHOWN = (
    *("loss", "click_loss", "annotation_loss", "click_weight", "gradient_norm"),
    *("pairs_per_second", "waiting_share", VALIDATION_MEASURE, "seconds"),
)
WHAT_TO_DO = (
    "train with a lower learning_rate, in another output; --resume goes on without this step"
)
SPOILED = SUMS.index("spoiled")


def train_worker(task: WorkerTask) -> Stop | None:
    """The train loop of one worker.

    Each step's lists and random numbers follow from the seed and the step's number, so training
    goes on exactly where the last checkpoint was made. After each epoch, and every
    `checkpoint_every` steps within it, a checkpoint is reported; that of an epoch holds the ranker
    as a Hugging Face folder.

    Returns:
        Why training had to stop; None where it did not.
    """
    logging.getLogger().setLevel(logging.WARNING)
    settings = task.settings
    training, validation = ListFile(task.input.training), ListFile(task.input.validation)
    of_epoch = steps_per_epoch(len(training), settings.lists_per_step)
    learner = build_learner(task, of_epoch * settings.epochs, training)
    history, stopped = restore(learner.state), None
    first = ray.train.get_context().get_world_rank() == 0
    if first:
        done = learner.schedule.last_epoch
        trackers = open_trackers(settings.trackers, task.folder, asdict(settings), done)
        learner.log.tell(trackers, task.live)
    for epoch in range(len(history), settings.epochs):
        if has_stopped_improving(history, settings.patience):
            break
        done = learner.schedule.last_epoch - epoch * of_epoch
        order = epoch_order(len(training), settings.lists_per_step, settings.seed, epoch)[done:]
        if done == 0:
            learner.log.begin_epoch()
        if stopped := _train_epoch(learner, task, training, order, history):
            break
        metrics = learner.log.epoch()
        with computing_in(settings.precision, ray.train.torch.get_device()):
            metrics |= validate(
                learner.ranker,
                validation,
                task.input.judgments,
                task.mix,
                learner.tokenizer.pad_token_id,
                settings.tokens_per_pass,
            )
        if VALIDATION_MEASURE not in metrics:
            step = learner.schedule.last_epoch
            stopped = Stop(step, f"after step {step} scores are not finite: {WHAT_TO_DO}")
            break
        metrics["seconds"] = learner.log.seconds
        history.append({"epoch": epoch + 1, **metrics})
        save = partial(save_ranker, learner.ranker.model, learner.tokenizer, task.mix)
        report(history[-1], history, learner.state, save)
        if first:
            learner.log.tell_epoch(metrics, learner.schedule.last_epoch)
            shown = "  ".join(f"{name} {metrics[name]:.4g}" for name in SHOWN if name in metrics)
            print(f"{task.folder.name}: epoch {epoch + 1}/{settings.epochs}  {shown}", flush=True)
    learner.log.close()
    return stopped


def _train_epoch(
    learner: Learner,
    task: WorkerTask,
    lists: ListFile,
    order: list[NDArray[np.int64]],
    history: History,
) -> Stop | None:
    """Trains on the steps of an epoch that are left; returns why it had to stop."""
    settings, context = task.settings, ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    learner.ranker.train()
    steps = read_steps(
        lists,
        order,
        rank,
        workers,
        settings.accumulation,
        learner.tokenizer.pad_token_id,
        settings.tokens_per_pass,
    )
    left = len(order)
    for parts in learner.log.waiting_for(steps):
        left -= 1
        step = learner.schedule.last_epoch
        torch.manual_seed(settings.seed + 1_000_003 * (step + 1) + rank)
        if step + 1 in task.refused:
            learner.optimizer.zero_grad()
            learner.optimizer.step()
            learner.schedule.step()
        elif not _train_step(learner, parts, settings):
            path = task.folder / f"nonfinite_batch_{step + 1}_{rank}.parquet"
            write_parquet(pa.concat_tables([table for table, _ in parts]), path)
            return Stop(
                step + 1,
                f"loss or gradient of step {step + 1} is not finite; its lists are in {path}. "
                f"Look at their labels, or {WHAT_TO_DO}",
            )
        if left and settings.checkpoint_every and (step + 1) % settings.checkpoint_every == 0:
            report_within_epoch(history, learner.state)
    return None


def has_stopped_improving(history: History, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better validation nDCG@10; 0 is never."""
    values = [row[VALIDATION_MEASURE] for row in history]
    return 0 < patience < len(values) and max(values[-patience:]) <= max(values[:-patience])


def _train_step(learner: Learner, parts: Parts, settings: TrainingSettings) -> bool:
    """One step of the optimizer; False, and no step, where loss or gradient is not finite."""
    model, objective, schedule = learner.distributed, learner.objective, learner.schedule
    device, workers = ray.train.torch.get_device(), ray.train.get_context().get_world_size()
    progress = schedule.last_epoch / learner.log.steps
    of_parts = [objective.weights(batch.labels, table, progress) for table, batch in parts]
    weights = _sum_over_workers(torch.stack(of_parts).sum(0))
    shares = signal_shares(weights)
    learner.optimizer.zero_grad()
    values = []
    for number, (table, batch) in enumerate(parts):
        with _gradients_of(model, last=number == len(parts) - 1):
            # A part without lists is no pass of the model, but takes part in the objective's sums.
            scores = torch.zeros(0, 0, learner.heads, device=device)
            if batch.passes.inputs:
                with computing_in(settings.precision, device):
                    scores = model(batch)
            values.append(
                objective(scores, batch.labels, table, progress, _sum_over_workers, shares)
            )
            if batch.passes.inputs:
                # DDP averages gradients over workers, where the loss is a sum over them.
                (values[-1].loss * workers).backward()
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip))
    sums = _sum_over_workers(learner.log.sums(values, parts, weights, norm))
    if sums[SPOILED] > 0:
        return False
    if not weights[:, 1].any():
        learner.optimizer.zero_grad()  # else moments and decay move weights that nothing taught
    learner.optimizer.step()
    learner.log.step(sums, norm, float(schedule.get_last_lr()[0]), schedule.last_epoch)
    schedule.step()
    return True


def _gradients_of(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """DDP sums gradients over workers with those of the last part of a step alone."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def _sum_over_workers(value: Tensor) -> Tensor:
    """The sum, on the device that the value is on."""
    if not dist.is_initialized():
        return value
    total = value.to(ray.train.torch.get_device(), copy=True)
    dist.all_reduce(total)
    return total.to(value.device)
