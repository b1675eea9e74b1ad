import pytest

from rankers.optimization import warm_up_and_decay
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


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [warm_up_and_decay(step, 40, 0.1) for step in range(41)]
    assert rates[0] == 0.25
    assert max(rates) == rates[3] == rates[4] == 1.0
    assert rates[40] == 0.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
