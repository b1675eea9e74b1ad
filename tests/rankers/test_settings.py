import pytest

from rankers.settings import BatchingSettings, TrainingSettings
from tests.conftest import with_settings


@pytest.mark.parametrize(
    ("name", "value", "decides"),
    [
        ("backbone", "./another", True),
        ("click_objective", "ipw", True),
        ("learning_rate", 1e-5, True),
        ("lists_per_step", 32, True),
        ("tokens_per_micro_batch", 512, True),
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


def test_a_gpu_is_given_more_tokens_at_once_than_a_processor() -> None:
    assert BatchingSettings().tokens_at_once(on_gpu=True) == 16_384
    assert BatchingSettings(tokens_per_micro_batch=512).tokens_at_once(on_gpu=True) == 512
