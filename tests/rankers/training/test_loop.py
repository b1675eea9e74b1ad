"""The train loop: its stages, what a killed one goes on from, when it ends."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from ray.exceptions import RayActorError
from ray.train import ControllerError

from rankers.data import sampler
from rankers.data.sampler import covered_steps
from rankers.data.store import ListFile
from rankers.fit import _fit_again
from rankers.losses.hybrid import signal_shares
from rankers.mixes import Stage, Staged
from rankers.training.checkpoints import TRAINING_STATE, read_states
from rankers.training.log import SUMS, means
from rankers.training.loop import has_stopped_improving, train_ranker
from rankers.training.validation import VALIDATION_MEASURE
from rankers.training.workers import OneProcess
from tests.rankers.training.conftest import bert, reader_of, task, trained


@pytest.mark.parametrize(
    ("values", "patience", "stopped"),
    [
        ([0.5, 0.4, 0.4], 0, False),  # never
        ([0.5, 0.4], 2, False),  # too early to tell
        ([0.5, 0.4, 0.45], 2, True),
        ([0.5, 0.4, 0.51], 2, False),
        ([0.5, 0.5, 0.5], 2, True),  # as good is not better
        ([0.5], 1, False),
    ],
)
def test_training_stops_when_it_has_not_improved_for_so_long(
    values: list[float], patience: int, stopped: bool
) -> None:
    history = [{VALIDATION_MEASURE: value} for value in values]
    assert has_stopped_improving(history, patience) == stopped


class Trainer:
    """Fails or ends as it is told, trainer by trainer."""

    def __init__(self, outcomes: Iterator[Any]) -> None:
        self.outcome = next(outcomes)

    def fit(self) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


LOST = ControllerError(RayActorError())


@pytest.mark.parametrize(
    ("outcomes", "restarts", "ended"),
    [
        (["trained"], 0, "trained"),
        ([LOST, LOST, "trained"], 2, "trained"),
        ([LOST, LOST, "trained"], 1, LOST),
        ([LOST, "trained"], 0, LOST),
        ([ControllerError(ValueError("a fault")), "trained"], 3, "a fault"),
    ],
)
def test_workers_that_do_not_start_are_started_again_so_many_times(
    outcomes: list[Any], restarts: int, ended: Any
) -> None:
    of_trainers = iter(outcomes)
    try:
        result = _fit_again(lambda: Trainer(of_trainers), restarts)
    except ControllerError as error:
        result = error if error is LOST else str(error.controller_failure)
    assert result == ended


HIGH_ALONE = Staged([Stage(1.0, 1.0, ["high"])])


def test_lists_that_a_stage_is_not_for_are_not_scored(tmp_path: Path) -> None:
    """Two of three; the others' gradient is that of a mean over what is left."""
    given = task(tmp_path, bert(), 6, mix=HIGH_ALONE, bucket=[0, 2, 2], lists_per_step=6)
    learner, _ = trained(given)
    sums = dict(zip(SUMS, learner.log.state_dict()["sums"].tolist(), strict=True))
    assert (sums["lists"], sums["pairs"]) == (2, 4)
    assert sums["loss"] > 0
    whole = task(tmp_path / "whole", bert(), 6, mix=HIGH_ALONE, bucket=[0, 2, 2])
    batch = reader_of(whole).read(np.arange(6))
    scores = torch.randn(6, 2, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    shares = signal_shares(whole.objective.weights(batch, 0.0))
    whole.objective(scores, batch, 0.0, shares).loss.backward()
    assert scores.grad is not None
    assert scores.grad.flatten(1).any(1).tolist() == [True, False, False] * 2


def test_a_step_that_a_stage_leaves_no_list_is_no_step(tmp_path: Path) -> None:
    """Not by decay, nor by moments of the steps before; but time passes."""
    given = task(
        tmp_path, bert(), 6, mix=HIGH_ALONE, bucket=[2], lists_per_step=2, weight_decay=0.5
    )
    learner, stop = trained(given)
    assert (learner.steps, stop) == (3, None)
    for name, parameter in bert().named_parameters():
        assert torch.equal(learner.ranker.model.get_parameter(name), parameter), name
    assert "loss" not in means(learner.log.state_dict()["sums"])


def test_stages_begin_and_end_by_the_step() -> None:
    """Of four steps, two for all and two for frequent queries."""
    mix = Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])])
    lists = Lists(pa.table({"frequency": [9, 1, 9, 1], "bucket": [0, 2, 0, 2]}))
    order = [np.array([0, 1]), np.array([2, 3])]
    steps = [*covered_steps(lists, order, mix, 0, 4), *covered_steps(lists, order, mix, 2, 4)]
    assert [rows.tolist() for rows in steps] == [[0, 1], [2, 3], [0], [2]]


class Lists(ListFile):
    """Columns without a file."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def columns(self, names: list[str], rows: NDArray[np.int64]) -> pa.Table:
        return self.table.take(rows)


class Interrupted(OneProcess):
    """Is killed when it has reported so often."""

    def __init__(self, folder: Path, reports: int) -> None:
        super().__init__(folder)
        self.left = reports

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        super().report(metrics, checkpoint)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("reports", "files"), [(1, 4), (2, 1), (3, 1), (4, 4)])
def test_one_process_goes_on_from_its_checkpoint_as_if_undisturbed(
    tmp_path: Path, reports: int, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within an epoch and after it; with dropout, a schedule, moments and windows to take up."""
    monkeypatch.setattr(sampler, "LISTS_OF_WINDOW", 9 - files)
    given = task(tmp_path, bert(), 8, files=files, lists_per_step=2, epochs=2, every_steps=2)
    undisturbed = tmp_path / "undisturbed"
    assert train_ranker(given, OneProcess(undisturbed)) is None
    place = tmp_path / "place"
    with pytest.raises(KeyboardInterrupt):
        train_ranker(given, Interrupted(place, reports))
    assert train_ranker(given, OneProcess(place)) is None
    states = [
        read_states((folder / TRAINING_STATE).read_bytes()) for folder in (undisturbed, place)
    ]
    for name, value in states[0]["ranker"].items():
        assert torch.equal(states[1]["ranker"][name], value), name
    assert states[0]["schedule"] == states[1]["schedule"]
