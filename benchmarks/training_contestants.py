"""Who trains in `benchmarks/training.py`: Tandem and sentence-transformers, a step each in turn."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
)
from sentence_transformers.cross_encoder.losses import ListNetLoss
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer, TrainerCallback

from benchmarks.gpu_peak import count_operations
from rankers.batch import ListBatch
from rankers.data.sampler import Share, read_steps
from rankers.data.store import ListFile
from rankers.losses.hybrid import Objective, ObjectiveValue
from rankers.models.list_ranker import computing_in
from rankers.settings import TrainingSettings
from rankers.training.learner import TrainingInput, WorkerTask, build_learner
from rankers.training.loop import train_step
from rankers.training.workers import OneProcess

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Work:
    """What there is to learn.

    Attributes:
        lists: of texts, in the order of training.
        path: file of the same, by the rows of their texts.
        tokens: folder of the token ids of these texts.
        start: folder of the cross-encoder that training starts from.
        settings: of training.
        tokenizing: seconds that it took, a step.
    """

    lists: pa.Table
    path: Path
    tokens: Path
    start: Path
    settings: TrainingSettings
    tokenizing: float


@dataclass
class Speed:
    """What a contestant's steps took, each: seconds by the clock, and of all CPUs; all: tokens.

    Of the first step, which is not timed, also the operations, where they are counted.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    padded_tokens: int = 0
    operations_per_token: float | None = None

    def add(self, since: tuple[float, float], before: float = 0.0) -> None:
        """Adds a step that began when `now` said so, and took so many seconds before."""
        clock, cpu = now()
        self.seconds.append(clock - since[0] + before)
        self.cpu_seconds.append(cpu - since[1] + before)

    def count_tokens(self, masks: list[Tensor]) -> None:
        """Adds what the attention masks of some micro-batches tell."""
        self.tokens += sum(int(mask.sum()) for mask in masks)
        self.padded_tokens += sum(mask.numel() for mask in masks)


def now() -> tuple[float, float]:
    """Seconds by the clock, and of all CPUs, when the device has done all it was told."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


class InTurn(nn.Module):
    """Objectives of data streams: the batches of a step have the loss of one each, in turn."""

    def __init__(self, *objectives: Objective) -> None:
        super().__init__()
        self.objectives, self.turns = objectives, cycle(objectives)

    def weights(self, batch: ListBatch, progress: float) -> Tensor:
        return next(self.turns).weights(batch, progress)

    def forward(self, *given: Any) -> ObjectiveValue:
        value: ObjectiveValue = next(self.turns)(*given)
        return value


class Contestant:
    """The job `train`, a step at a time, in this process.

    Args:
        work: to do.
        objectives: one a data stream; the loss is their mean.
    """

    def __init__(self, work: Work, *objectives: Objective) -> None:
        self.settings, self.tokenizing, self.objectives = work.settings, work.tokenizing, objectives
        file = ListFile(work.path)
        steps = np.split(np.arange(len(file)), len(file) // self.settings.batching.lists_per_step)
        pad = AutoTokenizer.from_pretrained(work.start).pad_token_id
        paths = (work.path, work.path, work.tokens)
        given = TrainingInput(str(work.start), *paths, pad, "grade")
        reader = given.reader(work.path, self.settings.batching)
        task = WorkerTask(work.path.parent, self.settings, objectives[0], given, live=False)
        self.worker = OneProcess(device=DEVICE.type)
        self.learner = build_learner(task, self.worker, len(steps), reader)
        if len(objectives) > 1:
            self.learner.objective = InTurn(*objectives)  # type: ignore[assignment] # called alike

        def stream(steps: list[NDArray[np.int64]]) -> Iterator[list[ListBatch]]:
            return read_steps(reader, steps, Share())

        ranker = self.learner.ranker.eval()
        first = [next(stream(steps[:1]))[0].to(DEVICE) for _ in objectives]
        with torch.no_grad(), computing_in(self.settings.model.precision, DEVICE):
            losses = [
                self.learner.objective(ranker(one), one, 0.0).loss / len(one) for one in first
            ]
        self.first_loss = float(torch.stack(losses).mean())
        ranker.train()
        self.streams = [stream(steps) for _ in objectives]
        self.speed = Speed()

    def step(self) -> None:
        """ExpectedExaminations, learns and notes the time."""
        since = now()
        batches = [batch for stream in self.streams for batch in next(stream)]

        def learn() -> None:
            assert train_step(self.learner, self.worker, batches, self.settings)

        operations = None
        if self.speed.seconds:
            learn()
        else:
            operations = count_operations(learn)
        self.speed.add(since, self.tokenizing)
        for batch in batches:
            self.speed.count_tokens([one["attention_mask"] for one in batch.micro_batches.inputs])
        if operations is not None:
            self.speed.operations_per_token = operations / self.speed.padded_tokens


class TakeTurns(TrainerCallback):
    """Times each step of a trainer, and lets others take theirs after it."""

    def __init__(self, others: list[Contestant]) -> None:
        self.speed, self.others = Speed(), others

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.since = now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.speed.add(self.since)
        for other in self.others:
            other.step()
        self.since = now()


def train_peer(
    work: Work, mini_batch_size: int, others: list[Contestant], folder: Path
) -> tuple[Speed, float]:
    """Trains by CrossEncoderTrainer; says how fast, and the first step's loss without dropout."""
    settings, of_step = work.settings, work.settings.batching.lists_per_step
    model = CrossEncoder(str(work.start), max_length=settings.model.max_length, device=str(DEVICE))
    loss = ListNetLoss(model, mini_batch_size=mini_batch_size)
    columns = {"query": "text", "docs": "documents", "labels": "annotation_label"}
    data = {name: work.lists[column].to_pylist() for name, column in columns.items()}
    model.eval()
    with torch.no_grad(), computing_in(settings.model.precision, DEVICE):
        labels = [torch.tensor(listed, device=DEVICE) for listed in data["labels"][:of_step]]
        first_loss = float(loss([data["query"][:of_step], data["docs"][:of_step]], labels))
    turns = TakeTurns(others)
    model[0].register_forward_pre_hook(
        lambda _, inputs: turns.speed.count_tokens([inputs[0]["attention_mask"]])
    )
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=of_step,
        learning_rate=settings.optimization.learning_rate,
        warmup_steps=settings.optimization.warm_up,
        weight_decay=settings.optimization.weight_decay,
        max_grad_norm=settings.optimization.gradient_clip,
        bf16=settings.model.precision == "bf16",
        batch_sampler=lambda lists, **rest: DefaultBatchSampler(SequentialSampler(lists), **rest),
        use_cpu=DEVICE.type == "cpu",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    lists = Dataset.from_dict(data)
    CrossEncoderTrainer(model, arguments, lists, loss=loss, callbacks=[turns]).train()
    return turns.speed, first_loss
