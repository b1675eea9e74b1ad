"""What a training worker trains, by what, and from which files."""

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from corpus.places import Place
from rankers.data.padding import BatchReader
from rankers.data.store import ListFile
from rankers.data.token_files import open_tokens
from rankers.losses.hybrid import Objective
from rankers.models.cross_encoder import add_adapters, load_cross_encoder
from rankers.models.first_token import end_at_first_token, mask_once
from rankers.models.list_ranker import ListRanker, use_tensor_cores
from rankers.models.token_rows import read_rows
from rankers.settings import BatchingSettings, TrainingSettings
from rankers.training.checkpoints import Stateful, Trained
from rankers.training.log import TrainingLog
from rankers.training.optimizer import adamw, warm_up_and_decay
from rankers.training.workers import Workers

CPU = torch.device("cpu")


@dataclass(frozen=True)
class TrainingInput:
    """What is made once of supervised lists, for all workers, and all trials of a search.

    Attributes:
        backbone: a Hugging Face id or a folder that every worker reads.
        training: file of the training lists, or a folder of such, which every worker reads.
        validation: the same of the validation lists.
        tokens: folder of the token ids of their pairs.
        pad_token_id: the token that the tokenizer pads with.
        yardstick: what validation measures by, from `evaluation.yardstick.name_yardstick`.
    """

    backbone: str
    training: Place
    validation: Place
    tokens: Place
    pad_token_id: int
    yardstick: str

    def reader(
        self, file: Place, batching: BatchingSettings, device: torch.device = CPU
    ) -> BatchReader:
        """Opens one of the files of lists, to be learned from on a device."""
        return BatchReader(
            ListFile(file),
            open_tokens(self.tokens),
            self.pad_token_id,
            batching.tokens_at_once(on_gpu=device.type == "cuda"),
            pinned=device.type == "cuda",
        )


@dataclass(frozen=True)
class WorkerTask:
    """What a training worker is to do.

    Attributes:
        folder: where the ranker will be; the first worker can write there.
        settings: how to train.
        objective: the loss, with its mix.
        input: what to read.
        live: whether someone watches a terminal.
        refused: steps to leave out, from 1.
        until: the epoch to pause after, to be gone on with; None for the last one.
    """

    folder: Place
    settings: TrainingSettings
    objective: Objective
    input: TrainingInput
    live: bool
    refused: frozenset[int] = frozenset()
    until: int | None = None


@dataclass
class Learner:
    """What a worker trains, and by what.

    Attributes:
        ranker: on the worker's device.
        distributed: the same, which sums gradients over workers.
        tokenizer: the one that the ranker's pairs were tokenized with.
        objective: the loss.
        optimizer: AdamW.
        schedule: of the learning rate; it counts the steps.
        log: sums up the epoch.
    """

    ranker: ListRanker
    distributed: nn.Module
    tokenizer: PreTrainedTokenizerBase
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    log: TrainingLog

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return self.schedule.last_epoch

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


def build_learner(task: WorkerTask, workers: Workers, steps: int, lists: BatchReader) -> Learner:
    """Loads the backbone and puts everything on the worker's device.

    Args:
        task: what the worker is to do.
        workers: that train together.
        steps: how many steps the whole training has.
        lists: to train on.
    """
    model_settings, optimization = task.settings.model, task.settings.optimization
    torch.manual_seed(optimization.seed)
    heads = 2 if model_settings.heads == "two" else 1
    model, tokenizer = load_cross_encoder(
        task.input.backbone, model_settings.max_length, heads, new_head=True
    )
    end_at_first_token(model)
    mask_once(model)
    if task.settings.resources.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
    use_tensor_cores(model_settings.precision, workers.device)
    # A GPU is busy with one micro-batch, and of rows of many lengths torch.compile makes no use.
    in_rows = workers.device.type == "cpu" and not model_settings.compile and read_rows(model)
    if model_settings.lora_rank:
        model = add_adapters(model, model_settings.lora_rank)
    tokens_in_row = task.settings.batching.tokens_at_once(on_gpu=False) if in_rows else 0
    ranker = ListRanker(model, tokens_in_row).to(workers.device)
    ddp = {}
    if workers.size > 1:
        # DDP would wait for gradients that never come; to look for them at each step costs time.
        some = lists.read(np.array([0])).micro_batches.inputs[-1]
        inputs = {name: tensor.to(workers.device) for name, tensor in some.items()}
        ddp = {"find_unused_parameters": leaves_parameters_out(model, inputs)}
    if model_settings.compile:
        model.compile(dynamic=True)
    optimizer = adamw(ranker, optimization)
    # A copy, since it learns: the task can be done again.
    objective = copy.deepcopy(task.objective).to(workers.device)
    objective.sum_over_workers = workers.sum
    return Learner(
        ranker=ranker,
        distributed=workers.distribute(ranker, **ddp),
        tokenizer=tokenizer,
        objective=objective,
        optimizer=optimizer,
        schedule=LambdaLR(
            optimizer, partial(warm_up_and_decay, steps=steps, warm_up=optimization.warm_up)
        ),
        log=TrainingLog(task.folder.name, steps, workers.size),
    )


def leaves_parameters_out(model: nn.Module, inputs: dict[str, Tensor]) -> bool:
    """Whether some of what is trained of a model has no gradient, as XLNet's embedding of a mask.

    Args:
        model: a sequence classifier.
        inputs: what the model reads of some pairs, on its device.
    """
    model(**inputs).logits.sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    left_out = any(parameter.grad is None for parameter in trained)
    model.zero_grad()
    return left_out
