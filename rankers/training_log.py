"""What training tells of itself, by step and by epoch."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.train
import torch
from tensorboardX import SummaryWriter
from torch import Tensor

from corpus.tables import write_parquet
from rankers.objective import ObjectiveValue

TENSORBOARD = "tensorboard"


class TrainingLog:
    """Sums up an epoch; the first worker writes its own steps for TensorBoard.

    Args:
        folder: of the ranker; the events go into `tensorboard/`, a batch that spoils training into
            `nonfinite_batch_WORKER.parquet`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._start = time.perf_counter()
        self._waited = 0.0
        # loss, click loss, annotation loss, click weight, lists; pairs, tokens, tokens with padding
        self._sums = torch.zeros(8, dtype=torch.float64)
        self._norms: list[float] = []
        self._rate = 0.0
        first = ray.train.get_context().get_world_rank() == 0
        self._board = SummaryWriter(str(self._folder / TENSORBOARD)) if first else None

    def waiting_for(self, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The batches, with the time that each lets training wait."""
        asked = time.perf_counter()
        for batch in batches:
            self._waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    def check_finite(self, value: float, batch: pa.Table, step: int) -> None:
        """Stops training where a loss or gradient is not finite.

        Raises:
            FloatingPointError: naming the step and where its batch is kept.
        """
        if torch.isfinite(torch.tensor(value)):
            return
        # The others find their batches spoiled at the same step.
        rank = ray.train.get_context().get_world_rank()
        path = self._folder / f"nonfinite_batch_{rank}.parquet"
        write_parquet(batch, path)
        raise FloatingPointError(
            f"loss or gradient of step {step + 1} is not finite; its lists are in {path}. Lower "
            "learning_rate, or look at their labels"
        )

    def step(
        self,
        value: ObjectiveValue,
        batch: dict[str, Any],
        gradient_norm: float,
        learning_rate: float,
        step: int,
    ) -> None:
        """Takes in a step."""
        lists = len(batch["where"])
        tokens = batch["inputs"]["attention_mask"]
        losses = [value.loss, value.click_loss, value.annotation_loss, value.click_weight]
        sums = [*(float(item.detach()) for item in losses), lists]
        sizes = [float(batch["where"].sum()), float(tokens.sum()), tokens.numel()]
        self._sums += torch.tensor([*sums, *sizes], dtype=torch.float64)
        self._norms.append(gradient_norm)
        self._rate = learning_rate
        if self._board is not None:
            means = dict(zip(LOSSES, [item / lists for item in sums[:4]], strict=True))
            told = means | {"gradient_norm": gradient_norm, "learning_rate": learning_rate}
            for name, item in told.items():
                self._board.add_scalar(f"step/{name}", item, step)

    def close(self, sum_over_workers: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """What happened in the epoch, over all workers.

        Returns:
            loss, click_loss, annotation_loss and click_weight, means over lists; gradient_norm
            before clipping, mean over steps; learning_rate at the end; pairs_per_second;
            padding_share of the tokens; and waiting_share, of the time, for batches.
        """
        if self._board is not None:
            self._board.close()
        seconds = time.perf_counter() - self._start
        times = torch.tensor([self._waited, seconds], dtype=torch.float64)
        sums = sum_over_workers(torch.cat([self._sums, times])).tolist()
        *losses, lists, pairs, tokens, padded, waited, worked = sums
        return {
            **{name: total / lists for name, total in zip(LOSSES, losses, strict=True)},
            "gradient_norm": sum(self._norms) / max(len(self._norms), 1),
            "learning_rate": self._rate,
            "pairs_per_second": pairs / seconds,
            "padding_share": 1 - tokens / padded,
            "waiting_share": waited / worked,
        }


LOSSES = ("loss", "click_loss", "annotation_loss", "click_weight")
