from pathlib import Path

import pytest

from rankers.mixes import Constant, FrequencySigmoid, Mix, Product, Ramp, Stage, Staged
from tests.tuning.own_studies import ask, begin
from tuning.early_stopping import changes_with_progress, make_pruner, may_stop

LATE = Staged([Stage(0.5, 0.0), Stage(0.5, 1.0)])


@pytest.mark.parametrize(
    ("mix", "changes"),
    [
        (Constant(0.3), False),
        (FrequencySigmoid(5.0), False),
        (LATE, True),
        (Staged([Stage(0.5, 1.0), Stage(0.5, 1.0)]), False),
        (Staged([Stage(0.5, 1.0), Stage(0.5, 1.0, ["high"])]), True),
        (Ramp(), True),
        (Ramp("linear", 0.5, 0.5), False),
        (Product([FrequencySigmoid(5.0), Constant(0.5)]), False),
        (Product([FrequencySigmoid(5.0), Ramp()]), True),
    ],
)
def test_which_mixes_change_with_progress(mix: Mix, changes: bool) -> None:
    assert changes_with_progress(mix) == changes


def told(folder: Path, values: list[float], mix: Mix, epoch: int = 2, known: int = 0) -> list[bool]:
    """Whether each of some trials, one after another, may stop at an epoch."""
    study = begin(folder)
    stops = []
    for number, value in enumerate(values):
        study.pruner = make_pruner(True, 2)  # as in a process of its own: nothing but the study
        trial = ask(study)
        if number < known:
            trial.set_user_attr("known", str(number))
        for step in range(1, epoch + 1):
            trial.report(value, step)
        stops.append(may_stop(trial, mix, last_epoch=False))
    return stops


def test_what_falls_behind_is_stopped(tmp_path: Path) -> None:
    """Of eight at a rung the best two go on, whoever comes first; of fewer the best."""
    values = [0.5, 0.6, 0.7, 0.4, 0.3, 0.65, 0.2, 0.68]
    stops = told(tmp_path, values, Constant(0.5), known=3)
    assert stops == [*[False] * 3, *[True] * 4, False]


def test_nothing_is_stopped_before_its_grace_is_over(tmp_path: Path) -> None:
    assert told(tmp_path, [0.9, 0.1, 0.1], Constant(0.5), epoch=1) == [False] * 3


def test_a_schedule_that_switches_late_is_never_stopped_nor_compared_with(tmp_path: Path) -> None:
    assert told(tmp_path / "late", [0.9, 0.8, 0.1], LATE) == [False] * 3
    study = begin(tmp_path / "both")
    study.pruner = make_pruner(True, 2)
    for value, mix in ((0.9, LATE), (0.1, Constant(0.5))):
        trial = ask(study)
        trial.report(value, 2)
        assert not may_stop(trial, mix, last_epoch=False)


def test_the_last_epoch_stops_nothing_and_it_can_be_off(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for pruner, last in ((make_pruner(True, 1), True), (make_pruner(False, 1), False)):
        study.pruner = pruner
        for value in (0.9, 0.1):
            trial = ask(study)
            trial.report(value, 1)
            assert not may_stop(trial, Constant(0.5), last_epoch=last)
