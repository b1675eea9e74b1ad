"""What a training worker trains, by what, and from which files."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray.train.torch
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from rankers.checkpoints import Stateful, Trained
from rankers.cross_encoder import add_adapters, load_cross_encoder
from rankers.list_ranker import ListRanker
from rankers.mixing import Mix
from rankers.objective import Objective
from rankers.optimization import adamw, warm_up_and_decay
from rankers.session_loss import SessionLoss
from rankers.settings import TrainingSettings
from rankers.training_log import TrainingLog


@dataclass(frozen=True)
class TrainingInput:
    """What is made once of supervised lists, for all workers, and all trials of a search, to read.

    Attributes:
        backbone: a Hugging Face id or a folder that every worker reads.
        training: file of the tokenized training lists, which every worker reads.
        validation: file of the tokenized validation lists.
        judgments: of validation queries; empty where there are none.
        highest_grade: of the annotations; their labels are divided by it.
        mean_power: mean over the training queries of what `query_weight` takes of their searches.
        positions: of the longest page, where sessions are learned from.
        propensities: of positions, where the click objective needs them.
    """

    backbone: str
    training: Path
    validation: Path
    judgments: pa.Table
    highest_grade: int
    mean_power: float = 1.0
    positions: int = 0
    propensities: Tensor | None = None


@dataclass(frozen=True)
class WorkerTask:
    """What a training worker is to do.

    Attributes:
        folder: of the ranker, which the first worker can write into.
        settings: of the training.
        mix: the click weight.
        input: what to read.
        live: whether someone watches a terminal.
    """

    folder: Path
    settings: TrainingSettings
    mix: Mix
    input: TrainingInput
    live: bool


@dataclass
class Learner:
    """What a worker trains, and by what.

    Attributes:
        ranker: on the worker's device.
        distributed: the same, which sums gradients over workers.
        tokenizer: of the ranker.
        objective: the loss.
        optimizer: AdamW.
        schedule: of its learning rate; `last_epoch` is the number of steps that are done.
        log: of the epoch.
    """

    ranker: ListRanker
    distributed: nn.Module
    tokenizer: PreTrainedTokenizerBase
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    log: TrainingLog

    @property
    def state(self) -> dict[str, Stateful]:
        """What a checkpoint keeps."""
        return {
            "ranker": Trained(self.ranker),
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "objective": self.objective,
            "log": self.log,
        }


def build_learner(task: WorkerTask, steps: int) -> Learner:
    """Loads the backbone and puts everything on the worker's device.

    Args:
        task: what the worker is to do.
        steps: of the whole training.
    """
    settings = task.settings
    torch.manual_seed(settings.seed)
    heads = 2 if settings.heads == "two" else 1
    model, tokenizer = load_cross_encoder(
        task.input.backbone, settings.max_length, heads, new_head=True
    )
    if settings.lora_rank:
        model = add_adapters(model, settings.lora_rank)
    if settings.compile:
        model.compile(dynamic=True)
    ranker = ListRanker(model)
    # Moves it to the worker's device too.
    distributed = ray.train.torch.prepare_model(ranker)
    optimizer = adamw(ranker, settings)
    return Learner(
        ranker=ranker,
        distributed=distributed,
        tokenizer=tokenizer,
        objective=_objective(task).to(ray.train.torch.get_device()),
        optimizer=optimizer,
        schedule=LambdaLR(
            optimizer, partial(warm_up_and_decay, steps=steps, warm_up=settings.warm_up)
        ),
        log=TrainingLog(task.folder.name, steps),
    )


def _objective(task: WorkerTask) -> Objective:
    settings, sessions = task.settings, None
    # Of annotations alone there are no pages.
    if settings.click_objective != "labels" and task.input.positions:
        sessions = SessionLoss(
            settings.click_objective,
            task.input.positions,
            task.input.propensities,
            settings.max_weight,
        )
    return Objective(
        task.mix,
        settings.loss,
        task.input.highest_grade,
        sessions,
        settings.query_weight,
        task.input.mean_power,
        settings.balance_losses,
    )
