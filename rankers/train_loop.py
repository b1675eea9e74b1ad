"""The train loop: what Ray Train runs on every worker."""

import json
import logging
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import SAFE_WEIGHTS_NAME

from rankers.click_objectives import ClickObjectiveName
from rankers.cross_encoder import load_cross_encoder, score_lists
from rankers.evaluation import MAIN_MEASURE, measure_run
from rankers.lists import AnnotationLabel, pad_lists
from rankers.mixing import Mix
from rankers.objective import LossName, Objective, QueryWeight
from rankers.session_loss import SessionLoss

VALIDATION_MEASURE = "validation_ndcg"
TRAINING_STATE = "training_state.pt"
HISTORY = "history.json"


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
    history = _restore(model, optimizer, schedule, objective)
    for epoch in range(len(history), settings.epochs):
        start = time.perf_counter()
        torch.manual_seed(settings.seed + 1_000_003 * (epoch + 1))
        metrics = _train_epoch(distributed, tokenizer, optimizer, schedule, objective, task, epoch)
        metrics[VALIDATION_MEASURE] = _validate(model, tokenizer, task)
        metrics["seconds"] = time.perf_counter() - start
        history.append({"epoch": epoch + 1, **metrics})
        _report(history, model, tokenizer, optimizer, schedule, objective)
        if ray.train.get_context().get_world_rank() == 0:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            print(f"{task.name}: epoch {epoch + 1}/{settings.epochs}  {shown}", flush=True)


def _train_epoch(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    objective: Objective,
    task: WorkerTask,
    epoch: int,
) -> dict[str, float]:
    """Trains on the worker's shard once; returns means over the lists of all workers."""
    settings, device = task.settings, ray.train.torch.get_device()
    workers = ray.train.get_context().get_world_size()
    batches = ray.train.get_dataset_shard("train").iter_batches(
        batch_size=settings.lists_per_step // workers,
        batch_format="pyarrow",
        local_shuffle_buffer_size=task.training_lists,
        local_shuffle_seed=settings.seed + epoch,
    )
    steps = _steps_per_epoch(task) * settings.epochs
    totals = torch.zeros(5, dtype=torch.float64)
    model.train()
    for tokenized in batches:
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
        nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimizer.step()
        schedule.step()
        sums = [value.loss.detach(), value.click_loss, value.annotation_loss, value.click_weight]
        totals += torch.tensor([*map(float, sums), len(scores)], dtype=torch.float64)
    totals = _sum_over_workers(totals)
    means = (totals[:4] / totals[4]).tolist()
    return dict(zip(("loss", "click_loss", "annotation_loss", "click_weight"), means, strict=True))


def _validate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: WorkerTask
) -> float:
    """Mean nDCG@10 over the validation queries, each scored by one of the workers."""
    shard = ray.train.get_dataset_shard("validation")
    device = ray.train.torch.get_device()
    batches = shard.iter_batches(batch_size=task.settings.lists_per_step, batch_format="pyarrow")
    model.train(False)
    scored = []
    for batch in batches:
        padded = pad_lists(batch, tokenizer)
        with torch.no_grad():
            scores = score_lists(model, padded, device)[padded["where"]]
        pairs = batch.select(["query_id", "doc_ids"]).to_pandas().explode("doc_ids")
        scored.append(pairs.rename(columns={"doc_ids": "doc_id"}).assign(score=scores.cpu()))
    gathered = [scored]
    if dist.is_initialized():
        gathered = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, scored)
    run = pd.concat([frame for frames in gathered for frame in frames])
    values = measure_run(run, task.judgments)
    return float(values["value"][values["measure"] == MAIN_MEASURE].mean())


def _report(
    history: list[dict[str, float]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    objective: Objective,
) -> None:
    if ray.train.get_context().get_world_rank() > 0:
        ray.train.report(history[-1])
        return
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        state = {
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "objective": objective.state_dict(),
        }
        torch.save(state, Path(folder) / TRAINING_STATE)
        (Path(folder) / HISTORY).write_text(json.dumps(history, indent=1))
        ray.train.report(history[-1], ray.train.Checkpoint.from_directory(folder))


def _restore(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    objective: Objective,
) -> list[dict[str, float]]:
    """Loads the last checkpoint, where there is one; returns the history up to it."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        model.load_state_dict(load_file(Path(folder) / SAFE_WEIGHTS_NAME))
        state = torch.load(Path(folder) / TRAINING_STATE, weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        objective.load_state_dict(state["objective"])
        history: list[dict[str, float]] = json.loads((Path(folder) / HISTORY).read_text())
    return history


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
