"""Checkpoints of training: what it goes on from and, after an epoch, the ranker as it is served."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rankers.training.validation import VALIDATION_MEASURE
from rankers.training.workers import Workers

TRAINING_STATE = "training_state.pt"
HISTORY = "history.json"
# Below any nDCG; Ray Train's snapshot could not hold an infinity.
NOT_VALIDATED = -1.0
History = list[dict[str, float]]


class Stateful(Protocol):
    """What keeps a state: an optimizer, a schedule, a module."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


class Trained:
    """The state of the trained part of a model; frozen weights can be had from the backbone."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Tensor]:
        """The trained parameters and the buffers, by name."""
        trained = {name for name, p in self._model.named_parameters() if p.requires_grad}
        buffers = {name for name, _ in self._model.named_buffers()}
        state = self._model.state_dict()
        return {name: value for name, value in state.items() if name in trained | buffers}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Loads what `state_dict` gave."""
        self._model.load_state_dict(state, strict=False)


def report(
    workers: Workers,
    metrics: dict[str, float],
    history: History,
    state: dict[str, Stateful],
    save_ranker: Callable[[Path], None] | None = None,
) -> None:
    """Reports how far training is; the first worker adds a checkpoint.

    Args:
        workers: that train.
        metrics: what is known of the epoch, by name.
        history: metrics of the epochs so far.
        state: what training goes on from, by name; the same on all workers.
        save_ranker: saves the ranker into a folder; None within an epoch.
    """
    if workers.rank > 0:
        workers.report(metrics, None)
        return
    with tempfile.TemporaryDirectory() as folder:
        if save_ranker is not None:
            save_ranker(Path(folder))
        states = {name: part.state_dict() for name, part in state.items()}
        torch.save(states, Path(folder) / TRAINING_STATE)
        (Path(folder) / HISTORY).write_text(json.dumps(history, indent=1))
        workers.report(metrics, Path(folder))


def report_within_epoch(workers: Workers, history: History, state: dict[str, Stateful]) -> None:
    """Reports a checkpoint that is no candidate for the best one, since it is not validated."""
    report(workers, {VALIDATION_MEASURE: NOT_VALIDATED}, history, state)


def restore(workers: Workers, state: dict[str, Stateful]) -> History:
    """Loads the last checkpoint, where there is one; returns the history up to it."""
    content = workers.last_checkpoint(TRAINING_STATE)
    if content is None:
        return []
    states = read_states(content)
    for name, part in state.items():
        part.load_state_dict(states[name])
    history: History = json.loads(workers.last_checkpoint(HISTORY) or b"[]")
    return history


def read_states(content: bytes) -> dict[str, Any]:
    """The states in a file of a checkpoint, on the CPU: the device they were saved on is one
    worker's, and each worker's own takes them from there."""
    states: dict[str, Any] = torch.load(io.BytesIO(content), "cpu", weights_only=True)
    return states
