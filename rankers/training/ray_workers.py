"""The processes of a run of Ray Train, as the train loop asks of them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from rankers.training.learner import WorkerTask
from rankers.training.loop import train_ranker
from rankers.training.stops import Stop


def train_worker(task: WorkerTask) -> Stop | None:
    """The train loop as Ray Train runs it on every worker, see `rankers.training.loop`."""
    logging.getLogger().setLevel(logging.WARNING)
    return train_ranker(task, RayWorkers())


class RayWorkers:
    """The workers of a run of Ray Train, seen from one of them."""

    def __init__(self) -> None:
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.size: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()

    def distribute(self, model: nn.Module, **ddp: Any) -> nn.Module:
        prepared: nn.Module = ray.train.torch.prepare_model(model, parallel_strategy_kwargs=ddp)
        return prepared

    def sum(self, value: Tensor) -> Tensor:
        if not dist.is_initialized():
            return value
        total = value.to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(value.device)

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        kept = None if checkpoint is None else ray.train.Checkpoint.from_directory(checkpoint)
        ray.train.report(dict(metrics), kept)

    def last_checkpoint(self, name: str) -> bytes | None:
        # Read in place: workers of one node that copy a checkpoint into one folder, as Ray's
        # as_directory does, can lose it to each other's clearing up.
        checkpoint = ray.train.get_checkpoint()
        return None if checkpoint is None else read_content(checkpoint, name)


def read_content(checkpoint: ray.train.Checkpoint, name: str) -> bytes:
    """A file of a checkpoint, read where it lies."""
    with checkpoint.filesystem.open_input_stream(f"{checkpoint.path}/{name}") as file:
        content: bytes = file.readall()
    return content
