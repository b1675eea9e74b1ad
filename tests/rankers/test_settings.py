import pytest

from rankers.settings import TrainingSettings
from tests.conftest import with_settings


@pytest.mark.parametrize(
    ("name", "value", "decides"),
    [
        ("backbone", "./another", True),
        ("click_objective", "ipw", True),
        ("learning_rate", 1e-5, True),
        ("lists_per_step", 32, True),
        ("workers", 16, False),
        ("cpus_per_worker", 4.0, False),
        ("gradient_checkpointing", True, False),
        ("restarts", 9, False),
        ("every_steps", 10, False),
        ("trackers", ["mlflow"], False),
    ],
)
def test_a_resumed_training_may_have_other_machines_but_no_other_ranker(
    name: str, value: object, decides: bool
) -> None:
    changed = with_settings(TrainingSettings(), **{name: value})
    assert (changed.deciding != TrainingSettings().deciding) == decides


def test_every_setting_has_a_full_name() -> None:
    by_name = TrainingSettings().by_name
    assert by_name["optimization.seed"] == 0
    assert by_name["resources.workers"] == 2
    assert not any(isinstance(value, dict) for value in by_name.values())
