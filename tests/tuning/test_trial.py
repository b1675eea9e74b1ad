"""What a trial tells last, and what it leaves its process in."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ray import tune as ray_tune

from rankers.settings import TrainingSettings
from tests.conftest import with_settings
from tuning import trial
from tuning.trial import ERROR, FINISHED, STORAGE, TrialTask, run_trial, told_last


def raising(error: Exception) -> Any:
    def train() -> str | None:
        raise error

    return train


def test_a_full_disk_is_no_fault_of_the_trial() -> None:
    assert told_last(lambda: None) == {FINISHED: True}
    assert told_last(lambda: "loss is not finite") == {ERROR: "loss is not finite"}
    assert told_last(raising(ValueError("of\nlines"))) == {ERROR: "ValueError: of lines"}
    [(name, said)] = told_last(raising(OSError(errno.ENOSPC, "No space left on device"))).items()
    assert name == STORAGE
    assert "No space left" in said


def test_a_stopped_trial_has_time_to_let_go_of_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Tune fails the next trial of the process after two seconds."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_tune, "report", told.append)
    monkeypatch.setattr(trial, "train_here", lambda *_: None)
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "2")
    training = with_settings(TrainingSettings(), workers=1)
    nothing: Any = None
    task = TrialTask(tmp_path, training, nothing, nothing, None, True)
    run_trial({"task": task})
    assert told == [{FINISHED: True}]
    assert int(os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"]) >= 60
