import pytest

from rankers.train_loop import has_stopped_improving
from rankers.validation import VALIDATION_MEASURE


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
