"""What a kill at the end of a trial leaves is taken away."""

from pathlib import Path

from tests.tuning.own_studies import ask, begin, end
from tuning.objectives import ALL
from tuning.outcomes import remove_checkpoints


def test_checkpoints_go_of_trials_that_have_ended_and_of_no_others(tmp_path: Path) -> None:
    study = begin(tmp_path)
    end(study, 0.5, {ALL: 0.5})
    ask(study, 0.25)
    for number in range(2):
        (tmp_path / f"trials/{number:04d}/checkpoints").mkdir(parents=True)
    remove_checkpoints(study, tmp_path)
    left = sorted(path.parent.name for path in tmp_path.glob("trials/*/checkpoints"))
    assert left == ["0001"]
