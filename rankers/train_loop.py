"""The train loop: what Ray Train runs on every worker."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from tensorboardX import SummaryWriter
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from rankers.checkpoints import History, Stateful, report, restore
from rankers.click_objectives import ClickObjectiveName
from rankers.cross_encoder import load_cross_encoder, score_lists
from rankers.lists import AnnotationLabel, pad_lists
from rankers.mixing import Mix
from rankers.objective import LossName, Objective, QueryWeight
from rankers.session_loss import SessionLoss
from rankers.training_log import TENSORBOARD, TrainingLog
from rankers.validation import VALIDATION_MEASURE, validate

# Of an epoch's metrics, those on its line in the terminal; all are in history.json.
SHOWN = (
    *("loss", "click_loss", "annotation_loss", "click_weight", "gradient_norm"),
    *("pairs_per_second", "waiting_share", VALIDATION_MEASURE, "seconds"),
)


@dataclass
class TrainingSettings:
    """How a ranker is trained; the same for every mix.

    Attributes:
        backbone: what training starts from: a Hugging Face id, a folder, or "small-bert" for a
            small BERT built from the collection's own text.
        loss: loss of each signal's labels: softmax or listmle (listwise), pairwise_logistic or
            pairwise_hinge, lambdarank or approx_ndcg (for nDCG), pointwise_sigmoid or
            pointwise_mse.
        click_objective: what to learn from clicks: the click labels (labels), or the sessions
            themselves, as they are (naive) or freed of the bias of positions while training: ipw,
            self_normalised_ipw and propensity_ratio by the propensities beside the click labels;
            dual_learning, regression_em and pairwise_debiasing by what they learn of positions.
        max_weight: the most that one click can weigh where click_objective is not labels.
        query_weight: how much a query weighs in the click loss: as every other (query), or by the
            square root (square_root) or the number (session) of its searches, by which frequent
            queries drown the others.
        balance_losses: divide the loss of each signal by its running mean, so that both pull alike
            where the click weight is one half.
        annotation_label: what to learn from annotations: the hard grade, the expected_grade
            under the annotator's probabilities, or that weighted by the annotator's confidence
            (confident_grade).
        epochs: passes over the training queries.
        lists_per_step: lists, over all workers, that one optimizer step sees.
        patience: stop after so many epochs without a better validation nDCG@10; 0 for never.
        learning_rate: highest learning rate of AdamW; it warms up over the first tenth of
            training and falls linearly to zero.
        weight_decay: of AdamW.
        gradient_clip: longest norm of the gradient.
        max_length: tokens of a query-document pair; longer pairs are cut.
        seed: of weights, dropout and order.
        workers: processes that train in DDP.
        cpus_per_worker: CPUs that Ray sets aside for a worker; fractions leave room on small
            machines.
        use_gpu: whether each worker takes a GPU.
    """

    backbone: str = "small-bert"
    loss: LossName = "softmax"
    click_objective: Literal["labels"] | ClickObjectiveName = "labels"
    max_weight: float = 20.0
    query_weight: QueryWeight = "query"
    balance_losses: bool = False
    annotation_label: AnnotationLabel = "expected_grade"
    epochs: int = 8
    patience: int = 0
    lists_per_step: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    max_length: int = 128
    seed: int = 0
    workers: int = 2
    cpus_per_worker: float = 0.5
    use_gpu: bool = False


@dataclass
class WorkerTask:
    """What a training worker needs beside its data shards.

    Attributes:
        name: of the ranker, for progress lines.
        folder: of the ranker, which the first worker can write into.
        settings: with `backbone` a Hugging Face id or a folder that every worker reads.
        mix: the click weight.
        training_lists: how many lists an epoch has, over all workers.
        judgments: of validation queries; empty where there are none.
        highest_grade: of the annotations; their labels are divided by it.
        mean_power: mean over the training queries of what `query_weight` takes of their searches.
        positions: of the longest page, where sessions are learned from.
        propensities: of positions, where the click objective needs them.
    """

    name: str
    folder: str
    settings: TrainingSettings
    mix: Mix
    training_lists: int
    judgments: pa.Table
    highest_grade: int
    mean_power: float = 1.0
    positions: int = 0
    propensities: Tensor | None = None


def train_worker(task: WorkerTask) -> None:
    """The train loop of one worker.

    After each epoch it reports the metrics with a checkpoint: the ranker as a Hugging Face folder,
    the state of optimizer and schedule, and the history so far. It goes on from the last one where
    Ray Train hands it a checkpoint.
    """
    logging.getLogger().setLevel(logging.WARNING)
    settings = task.settings
    torch.manual_seed(settings.seed)
    model, tokenizer = load_cross_encoder(settings.backbone, settings.max_length)
    distributed = ray.train.torch.prepare_model(model)
    objective = _objective(task).to(ray.train.torch.get_device())
    steps = _steps_per_epoch(task) * settings.epochs
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = LambdaLR(optimizer, lambda step: warm_up_and_decay(step, steps))
    state: dict[str, Stateful] = {
        "optimizer": optimizer,
        "schedule": schedule,
        "objective": objective,
    }
    history = restore(model, state)
    for epoch in range(len(history), settings.epochs):
        if has_stopped_improving(history, settings.patience):
            break
        start = time.perf_counter()
        torch.manual_seed(settings.seed + 1_000_003 * (epoch + 1))
        metrics = _train_epoch(distributed, tokenizer, optimizer, schedule, objective, task, epoch)
        metrics |= validate(model, tokenizer, task.judgments, settings.lists_per_step)
        metrics["seconds"] = time.perf_counter() - start
        history.append({"epoch": epoch + 1, **metrics})
        report(history, model, tokenizer, state)
        if ray.train.get_context().get_world_rank() == 0:
            with SummaryWriter(str(Path(task.folder) / TENSORBOARD)) as board:
                for name, value in metrics.items():
                    board.add_scalar(f"epoch/{name}", value, epoch + 1)
            shown = "  ".join(f"{name} {metrics[name]:.4g}" for name in SHOWN)
            print(f"{task.name}: epoch {epoch + 1}/{settings.epochs}  {shown}", flush=True)


def has_stopped_improving(history: History, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better validation nDCG@10; 0 is never."""
    values = [row[VALIDATION_MEASURE] for row in history]
    return 0 < patience < len(values) and max(values[-patience:]) <= max(values[:-patience])


def _train_epoch(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    objective: Objective,
    task: WorkerTask,
    epoch: int,
) -> dict[str, float]:
    """Trains on the worker's shard once; returns what happened, over all workers."""
    settings, device = task.settings, ray.train.torch.get_device()
    workers = ray.train.get_context().get_world_size()
    batches = ray.train.get_dataset_shard("train").iter_batches(
        batch_size=settings.lists_per_step // workers,
        batch_format="pyarrow",
        local_shuffle_buffer_size=task.training_lists,
        local_shuffle_seed=settings.seed + epoch,
    )
    steps = _steps_per_epoch(task) * settings.epochs
    log = TrainingLog(task.folder)
    model.train()
    for tokenized in log.waiting_for(batches):
        batch = pad_lists(tokenized, tokenizer)
        scores = score_lists(model, batch, device)
        progress = schedule.last_epoch / steps
        value = objective(scores, batch, tokenized, progress, _sum_over_workers)
        lists_of_step = max(float(_sum_over_workers(value.covered.float())), 1.0)
        # DDP averages gradients over workers; this makes that the mean over all lists of the
        # step, however many of them each worker holds.
        loss = value.loss * (workers / lists_of_step)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        log.check_finite(float(loss.detach() + norm), tokenized, schedule.last_epoch)
        optimizer.step()
        log.step(value, batch, float(norm), float(schedule.get_last_lr()[0]), schedule.last_epoch)
        schedule.step()
    return log.close(_sum_over_workers)


def _objective(task: WorkerTask) -> Objective:
    settings, sessions = task.settings, None
    # Of annotations alone there are no pages.
    if settings.click_objective != "labels" and task.positions:
        sessions = SessionLoss(
            settings.click_objective, task.positions, task.propensities, settings.max_weight
        )
    return Objective(
        task.mix,
        settings.loss,
        task.highest_grade,
        sessions,
        settings.query_weight,
        task.mean_power,
        settings.balance_losses,
    )


def _steps_per_epoch(task: WorkerTask) -> int:
    workers = ray.train.get_context().get_world_size()
    return math.ceil((task.training_lists // workers) / (task.settings.lists_per_step // workers))


def warm_up_and_decay(step: int, steps: int) -> float:
    """The share of the highest learning rate: up over a tenth of the steps, then down to zero."""
    warm_up = max(steps // 10, 1)
    return min((step + 1) / warm_up, max((steps - step) / max(steps - warm_up, 1), 0.0))


def _sum_over_workers(value: Tensor) -> Tensor:
    if dist.is_initialized():
        value = value.to(ray.train.torch.get_device())
        dist.all_reduce(value)
    return value.cpu()
