"""Who trains in `benchmarks/training.py`: Tandem and sentence-transformers, a step each in turn."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback

from rankers.data.sampler import Parts, read_steps
from rankers.data.store import ListFile
from rankers.losses.hybrid import Objective
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import ListRanker, computing_in
from rankers.settings import TrainingSettings
from rankers.training.optimizer import adamw, warm_up_and_decay

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Work:
    """What there is to learn.

    Attributes:
        lists: of texts, in the order of training.
        path: file of the same, tokenized.
        start: folder of the cross-encoder that training starts from.
        settings: of training.
        tokenizing: seconds that it took, a step.
    """

    lists: pa.Table
    path: Path
    start: Path
    settings: TrainingSettings
    tokenizing: float


@dataclass
class Speed:
    """What a contestant's steps took, each: seconds by the clock, and of all CPUs; all: tokens."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    padded_tokens: int = 0

    def add(self, since: tuple[float, float], before: float = 0.0) -> None:
        """Adds a step that began when `now` said so, and took so many seconds before."""
        clock, cpu = now()
        self.seconds.append(clock - since[0] + before)
        self.cpu_seconds.append(cpu - since[1] + before)

    def count_tokens(self, masks: list[Tensor]) -> None:
        """Adds what the attention masks of some passes tell."""
        self.tokens += sum(int(mask.sum()) for mask in masks)
        self.padded_tokens += sum(mask.numel() for mask in masks)


def now() -> tuple[float, float]:
    """Seconds by the clock, and of all CPUs, when the device has done all it was told."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


class Learner:
    """What a worker of the job `train` does, a step at a time.

    Args:
        work: to do.
        objectives: one a data stream; the loss is their mean.
    """

    def __init__(self, work: Work, *objectives: Objective) -> None:
        self.settings, self.tokenizing, self.objectives = work.settings, work.tokenizing, objectives
        model, tokenizer = load_cross_encoder(
            str(work.start), self.settings.max_length, new_head=True
        )
        self.ranker, file = ListRanker(model).to(DEVICE), ListFile(work.path)
        rows = np.arange(len(file))
        steps = np.split(rows, len(rows) // self.settings.lists_per_step)

        def stream(steps: list[NDArray[np.int64]]) -> Iterator[Parts]:
            pad, size = tokenizer.pad_token_id, self.settings.tokens_per_pass
            return read_steps(file, steps, 0, 1, 1, pad, size)

        self.ranker.eval()
        with torch.no_grad():
            self.first_loss = float(self.loss([next(stream(steps[:1])) for _ in objectives]))
        self.ranker.train()
        self.streams = [stream(steps) for _ in objectives]
        self.speed = Speed()
        self.optimizer = adamw(self.ranker, self.settings)
        self.schedule = LambdaLR(
            self.optimizer, lambda step: warm_up_and_decay(step, len(steps), self.settings.warm_up)
        )

    def loss(self, batches: list[Parts]) -> Tensor:
        """The mean loss of a step's lists, over the streams."""
        with computing_in(self.settings.precision, DEVICE):
            scores = [self.ranker(batch) for [(_, batch)] in batches]
        losses = [
            objective(score, batch.labels, table, 0.0, lambda value: value).loss / table.num_rows
            for objective, score, [(table, batch)] in zip(
                self.objectives, scores, batches, strict=True
            )
        ]
        return torch.stack(losses).mean()

    def step(self) -> None:
        """Reads, learns and notes the time."""
        since = now()
        batches = [next(stream) for stream in self.streams]
        self.optimizer.zero_grad()
        self.loss(batches).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.ranker.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.schedule.step()
        self.speed.add(since, self.tokenizing)
        for [(_, batch)] in batches:
            self.speed.count_tokens([one["attention_mask"] for one in batch.passes.inputs])


class TakeTurns(TrainerCallback):
    """Times each step of a trainer, and lets others take theirs after it."""

    def __init__(self, others: list[Learner]) -> None:
        self.speed, self.others = Speed(), others

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.since = now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.speed.add(self.since)
        for other in self.others:
            other.step()
        self.since = now()


def train_peer(
    work: Work, mini_batch_size: int, others: list[Learner], folder: Path
) -> tuple[Speed, float]:
    """Trains by CrossEncoderTrainer; says how fast, and the first step's loss without dropout."""
    settings, of_step = work.settings, work.settings.lists_per_step
    model = CrossEncoder(str(work.start), max_length=settings.max_length, device=str(DEVICE))
    loss = ListNetLoss(model, mini_batch_size=mini_batch_size)
    columns = {"query": "text", "docs": "documents", "labels": "annotation_label"}
    data = {name: work.lists[column].to_pylist() for name, column in columns.items()}
    model.eval()
    with torch.no_grad(), computing_in(settings.precision, DEVICE):
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
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warm_up,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.gradient_clip,
        bf16=settings.precision == "bf16",
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
