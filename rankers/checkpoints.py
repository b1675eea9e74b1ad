"""Checkpoints of training: a Hugging Face folder, what else the next epoch needs, the history."""

import json
import tempfile
from pathlib import Path
from typing import Any, Protocol

import ray.train
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import SAFE_WEIGHTS_NAME

TRAINING_STATE = "training_state.pt"
HISTORY = "history.json"
History = list[dict[str, float]]


class Stateful(Protocol):
    """What keeps a state: an optimizer, a schedule, a module."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


def report(
    history: History,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    state: dict[str, Stateful],
) -> None:
    """Reports the last epoch to Ray Train; the first worker adds a checkpoint.

    Args:
        history: metrics of all epochs so far.
        model: the ranker.
        tokenizer: of the ranker.
        state: what else training goes on from, by name.
    """
    if ray.train.get_context().get_world_rank() > 0:
        ray.train.report(history[-1])
        return
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        states = {name: part.state_dict() for name, part in state.items()}
        torch.save(states, Path(folder) / TRAINING_STATE)
        (Path(folder) / HISTORY).write_text(json.dumps(history, indent=1))
        ray.train.report(history[-1], ray.train.Checkpoint.from_directory(folder))


def restore(model: PreTrainedModel, state: dict[str, Stateful]) -> History:
    """Loads the last checkpoint, where there is one; returns the history up to it."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        model.load_state_dict(load_file(Path(folder) / SAFE_WEIGHTS_NAME))
        states = torch.load(Path(folder) / TRAINING_STATE, weights_only=True)
        for name, part in state.items():
            part.load_state_dict(states[name])
        history: History = json.loads((Path(folder) / HISTORY).read_text())
    return history
