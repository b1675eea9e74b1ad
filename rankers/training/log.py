"""What training tells of itself, by step and by epoch."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rankers.batch import ListBatch
from rankers.losses.hybrid import ObjectiveValue
from rankers.training.trackers import Tracker

# Each is a mean: the sum of its name divided by that of the other name.
MEANS = {
    "loss": "weight",
    "click_loss": "clicked",
    "annotation_loss": "annotated",
    "click_weight": "lists",
}
# What workers share at each step.
SUMS = (*MEANS, *MEANS.values(), "pairs", "tokens", "padded_tokens", "waited", "spoiled")


class TrainingLog:
    """Sums up an epoch over all workers, tells each step to the trackers, and shows a live line.

    Args:
        name: what the live line calls the ranker.
        steps: how many steps the whole training has.
        workers: how many share it.
    """

    def __init__(self, name: str, steps: int, workers: int) -> None:
        self.name, self.steps, self.workers = name, steps, workers
        self._trackers: Sequence[Tracker] = ()
        self._bar: Any = None
        self._shown = 0
        self._waited = 0.0
        self.begin_epoch()

    def tell(self, trackers: Sequence[Tracker], live: bool) -> None:
        """From now on tells trackers and, live, shows a line; called on the first worker alone."""
        self._trackers = trackers
        if live:
            from ray.experimental import tqdm_ray  # no other part of training needs Ray

            self._bar = tqdm_ray.tqdm(total=self.steps, desc=self.name, unit="step")

    def begin_epoch(self) -> None:
        """Forgets the epoch before."""
        self._start = time.perf_counter()
        self._sums = torch.zeros(len(SUMS), dtype=torch.float64)
        self._norms = torch.zeros(2, dtype=torch.float64)
        self._rate = 0.0

    @property
    def seconds(self) -> float:
        """That the epoch has taken so far, without those between an interruption and its end."""
        return time.perf_counter() - self._start

    def waiting_for(self, steps: Iterable[list[ListBatch]]) -> Iterator[list[ListBatch]]:
        """The steps, with the time that each lets training wait."""
        asked = time.perf_counter()
        for batches in steps:
            self._waited += time.perf_counter() - asked
            yield batches
            asked = time.perf_counter()

    def sums(
        self,
        values: Sequence[ObjectiveValue],
        batches: Sequence[ListBatch],
        weights: Tensor,
        norm: float,
    ) -> Tensor:
        """What a worker knows of a step, float64 (sums,), to be summed over workers.

        Args:
            values: what the objective gave for each of its batches.
            batches: what the worker took of the step.
            weights: `rankers.losses.hybrid.Objective.weights`, summed over the step's batches and
                workers.
            norm: length of the gradient.
        """
        loss = sum(float(value.loss.detach()) for value in values)
        # A step counts in the mean of the epoch by the weight of the lists that it learned from.
        weight = float(weights[:, 1].sum())
        sums = [
            loss * weight,
            sum(float(value.click_loss) for value in values),
            sum(float(value.annotation_loss) for value in values),
            sum(float(value.click_weight) for value in values),
            weight / self.workers,
            sum(int(value.clicked) for value in values),
            sum(int(value.annotated) for value in values),
            sum(len(batch.where) for batch in batches),
            sum(len(batch.slots) for batch in batches),
            sum(batch.micro_batches.tokens for batch in batches),
            sum(batch.micro_batches.padded_tokens for batch in batches),
            self._waited,
            float(not torch.isfinite(torch.tensor(loss + norm))),
        ]
        self._waited = 0.0
        return torch.tensor(sums, dtype=torch.float64)

    def step(self, sums: Tensor, norm: float, rate: float, step: int) -> None:
        """Takes in a step.

        Args:
            sums: from `sums`, over all workers.
            norm: length of the gradient, before it is clipped.
            rate: the learning rate.
            step: its number, from 0.
        """
        self._sums += sums
        self._norms += torch.tensor([norm, 1.0])
        self._rate = rate
        told = means(sums) | {"gradient_norm": norm, "learning_rate": rate}
        for tracker in self._trackers:
            tracker.add({f"step/{name}": value for name, value in told.items()}, step)
            pairs, tokens = (int(sums[SUMS.index(name)]) for name in ("pairs", "tokens"))
            tracker.learned(pairs, tokens, (step + 1) / self.steps)
        if self._bar is not None:
            self._bar.set_description(f"{self.name}: loss {told.get('loss', 0.0):.4g}")
            self._bar.update(step + 1 - self._shown)
            self._shown = step + 1

    def epoch(self) -> dict[str, float]:
        """What happened in the epoch, over all workers.

        Returns:
            loss, the mean over steps by what they learned from; click_loss and annotation_loss,
            means over the lists that have something to learn from, missing where none has;
            click_weight, the mean over lists; gradient_norm before clipping, mean over steps;
            learning_rate at the end; pairs_per_second; padding_share of the tokens; and
            waiting_share, of the time, for batches.
        """
        sums = dict(zip(SUMS, self._sums.tolist(), strict=True))
        seconds = self.seconds
        norm, steps = self._norms.tolist()
        return {
            **means(self._sums),
            "gradient_norm": norm / max(steps, 1),
            "learning_rate": self._rate,
            "pairs_per_second": sums["pairs"] / seconds,
            "padding_share": 1 - sums["tokens"] / max(sums["padded_tokens"], 1),
            "waiting_share": sums["waited"] / (seconds * self.workers),
        }

    def tell_epoch(self, metrics: dict[str, float], step: int) -> None:
        """Tells the trackers the metrics of an epoch that ended at a step."""
        for tracker in self._trackers:
            tracker.add({f"epoch/{name}": value for name, value in metrics.items()}, step)

    def close(self) -> None:
        """Ends the live line and the trackers' runs."""
        if self._bar is not None:
            self._bar.close()
        for tracker in self._trackers:
            tracker.close()

    def state_dict(self) -> dict[str, Any]:
        """What the rest of the epoch is added to."""
        return {"sums": self._sums, "norms": self._norms, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state of `state_dict`."""
        self._sums, self._norms = state["sums"], state["norms"]
        self._start = time.perf_counter() - state["seconds"]


def means(sums: Tensor) -> dict[str, float]:
    """The means that sums of `SUMS` amount to; none of what there was nothing of."""
    named = dict(zip(SUMS, sums.tolist(), strict=True))
    return {name: named[name] / named[of] for name, of in MEANS.items() if named[of] > 0}
