"""What a training worker trains, by what, and from which files."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray.train.torch
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from rankers.data.micro_batches import pad_passes
from rankers.data.store import ListFile
from rankers.losses.hybrid import Objective
from rankers.losses.sessions import SessionLoss
from rankers.mixes.mixes import Mix
from rankers.models.cross_encoder import add_adapters, load_cross_encoder
from rankers.models.list_ranker import ListRanker
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import Stateful, Trained
from rankers.training.log import TrainingLog
from rankers.training.optimizer import adamw, warm_up_and_decay


@dataclass(frozen=True)
class TrainingInput:
    """What is made once of supervised lists, for all workers, and all trials of a search, to read.

    Attributes:
        backbone: a Hugging Face id or a folder that every worker reads.
        training: file of the tokenized training lists, which every worker reads.
        validation: file of the tokenized validation lists.
        judgments: what validation measures by, see `evaluation.yardstick.choose_yardstick`.
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
        refused: steps to leave out, from 1.
    """

    folder: Path
    settings: TrainingSettings
    mix: Mix
    input: TrainingInput
    live: bool
    refused: frozenset[int] = frozenset()


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
    def heads(self) -> int:
        """How many scores a pair has."""
        heads = self.ranker.model.config.num_labels
        assert heads is not None
        return heads

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


def build_learner(task: WorkerTask, steps: int, lists: ListFile) -> Learner:
    """Loads the backbone and puts everything on the worker's device.

    Args:
        task: what the worker is to do.
        steps: of the whole training.
        lists: to train on.
    """
    settings = task.settings
    torch.manual_seed(settings.seed)
    heads = 2 if settings.heads == "two" else 1
    model, tokenizer = load_cross_encoder(
        task.input.backbone, settings.max_length, heads, new_head=True
    )
    if settings.lora_rank:
        model = add_adapters(model, settings.lora_rank)
    ranker = ListRanker(model).to(ray.train.torch.get_device())
    in_ddp = {}
    if settings.workers > 1:
        # DDP would wait for gradients that never come; to look for them at each step costs time.
        in_ddp = {
            "find_unused_parameters": leaves_parameters_out(model, _one_pass(lists, tokenizer))
        }
    if settings.compile:
        model.compile(dynamic=True)
    distributed = ray.train.torch.prepare_model(ranker, parallel_strategy_kwargs=in_ddp)
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


def leaves_parameters_out(model: nn.Module, inputs: dict[str, Tensor]) -> bool:
    """Whether some of what is trained of a model has no gradient, as XLNet's embedding of a mask.

    Args:
        model: a sequence classifier.
        inputs: of some pairs, on its device.
    """
    model(**inputs).logits.sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    left_out = any(parameter.grad is None for parameter in trained)
    model.zero_grad()
    return left_out


def _one_pass(lists: ListFile, tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    passes = pad_passes(lists.take(np.array([0])), tokenizer.pad_token_id, tokens_per_pass=1)
    inputs = passes.inputs[-1].items()
    return {name: tensor.to(ray.train.torch.get_device()) for name, tensor in inputs}


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
