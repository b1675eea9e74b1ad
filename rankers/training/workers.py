"""What training asks of the processes that share it, and the simplest answer: one process.

Those of Ray Train are in `rankers.training.ray_workers`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Workers(Protocol):
    """What training asks of the processes that share it, from within one of them.

    Attributes:
        rank: the number of this worker, from 0.
        size: how many workers there are.
        device: that this worker computes on.
    """

    rank: int
    size: int
    device: torch.device

    def distribute(self, model: nn.Module, **ddp: Any) -> nn.Module:
        """The model, so that its gradients are averaged over workers; `ddp` are DDP's settings."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """The sum of the workers' values, on the device that this one's is on."""
        ...

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        """Tells how far training is; each worker calls it, the first one with a checkpoint.

        Args:
            metrics: what is known of the epoch, by name.
            checkpoint: a folder, which is copied.
        """
        ...

    def last_checkpoint(self, name: str) -> bytes | None:
        """A file of the checkpoint that training goes on from; None where it begins."""
        ...


class OneProcess:
    """This process as the only worker, without Ray.

    Args:
        folder: for its last checkpoint, which training goes on from; None keeps none.
        device: to compute on.

    Attributes:
        reports: the metrics that were reported, first come first.
    """

    rank, size = 0, 1

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        self.folder, self.device = folder, torch.device(device)
        self.reports: list[dict[str, float]] = []

    def distribute(self, model: nn.Module, **ddp: Any) -> nn.Module:
        return model

    def sum(self, value: Tensor) -> Tensor:
        return value

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.reports.append(dict(metrics))
        if self.folder is not None and checkpoint is not None:
            replace_folder(self.folder, checkpoint)

    def last_checkpoint(self, name: str) -> bytes | None:
        path = None if self.folder is None else self.folder / name
        return path.read_bytes() if path is not None and path.exists() else None


def replace_folder(folder: Path, source: Path) -> None:
    """Puts a copy of `source` in the place of a folder, whole or, after a kill, not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
