from collections.abc import Iterator
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.train import ControllerError

from rankers.fit import _fit_again
from rankers.training.loop import has_stopped_improving
from rankers.training.validation import VALIDATION_MEASURE


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
