"""What the study is told of trials, as Ray Tune tells it, without Ray Tune."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from rankers.mixes import TrainingLog
from rankers.settings import TrainingSettings
from tests.conftest import with_settings
from tests.tuning.own_studies import SETTINGS
from tuning.early_stopping import make_pruner
from tuning.objectives import ALL, read_objectives
from tuning.outcomes import LOST, Search
from tuning.search import StopEarly, StudySearch
from tuning.space import SearchSpace
from tuning.study import enqueue_known, finished_trials, open_study, take_up_cut_short

TRAINING = with_settings(TrainingSettings(), epochs=4, workers=1)


class Begun:
    """A search in a folder, with its trials by the ids that Ray Tune gives them."""

    def __init__(self, folder: Path, objectives: Sequence[str] = (ALL,), **space: Any) -> None:
        folder.mkdir(exist_ok=True)
        wanted = read_objectives(list(objectives), {})
        self.study = open_study(folder, None, SETTINGS, wanted.names, seed=0)
        self.study.pruner = make_pruner(True, 1)
        take_up_cut_short(self.study)
        inputs = SimpleNamespace(
            log=TrainingLog(np.array([1, 5, 9]), np.array([1.0, 2.0, 3.0])),
            task=lambda proposal, folder: (proposal, folder),
        )
        searched = SearchSpace(**({"mixes": ["Constant"]} | space))
        search = Search(self.study, folder, wanted, searched, TRAINING, ["clicks"], inputs)
        self.told = StudySearch(search)
        self.stops = StopEarly(self.told)

    def epoch(self, trial: str, number: int, value: float, **more: float) -> bool:
        """An epoch of a trial; whether it is to be stopped."""
        result = {"epoch": number, "validation_ndcg": value, "time_total_s": 2.0 * number}
        result |= {"hostname": "host", "pid": 7} | more
        decided = self.stops.on_trial_result(None, SimpleNamespace(trial_id=trial), result)
        if decided != "STOP":
            self.told.on_trial_result(trial, result)
        return decided == "STOP"


def test_a_whole_trial_has_what_its_best_epoch_measured(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    [(proposal, folder)] = begun.told.suggest("a").values()
    assert folder == tmp_path / "trials" / "0000"
    (folder / "checkpoints").mkdir()
    for number, (value, low) in enumerate([(0.3, 0.1), (0.6, 0.2), (0.5, 0.9)], start=1):
        begun.epoch("a", number, value, validation_ndcg_low=low)
    begun.told.on_trial_complete("a", {"finished": True, "done": True})
    [trial] = begun.study.trials
    assert trial.state == TrialState.COMPLETE
    assert trial.value == 0.6
    assert trial.intermediate_values == {1: 0.3, 2: 0.6, 3: 0.5}
    told = trial.user_attrs
    assert told["measures"] == {ALL: 0.6, "nDCG@10_low": 0.2}
    assert told["mix"]["init_args"] == {"click_weight": proposal.mix.click_weight}
    assert (told["labels"], told["epochs"], told["worker"]) == ("clicks", 3, "host:7")
    assert told["seconds"] == pytest.approx(told["ended"] - told["began"])
    assert told["seconds"] >= 2.0
    assert not (folder / "checkpoints").exists()


def test_epochs_that_are_told_again_after_a_restart_count_once(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    begun.told.suggest("a")
    for number in (1, 2, 1, 2, 3):
        begun.epoch("a", number, 0.1 * number)
    [trial] = begun.study.trials
    assert sorted(trial.intermediate_values) == [1, 2, 3]
    assert trial.user_attrs["epochs"] == 3


def test_a_trial_that_falls_behind_is_told_as_stopped_early(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    for name, value in (("a", 0.9), ("b", 0.1)):
        begun.told.suggest(name)
        stopped = begun.epoch(name, 1, value)
    assert stopped
    begun.told.on_trial_complete("b", {"done": True})
    trial = begun.study.trials[1]
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["stopped_after"] == 1
    assert trial.user_attrs["measures"] == {ALL: 0.1}


def test_failed_trials_keep_their_error_and_no_value(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    for name in ("said", "lost", "silent"):
        begun.told.suggest(name)
        if name != "silent":
            begun.epoch(name, 1, 0.9)
    begun.told.on_trial_complete("said", {"error": "loss of step 3 is not finite", "done": True})
    begun.told.on_trial_complete("lost", error=True)
    begun.told.on_trial_complete("silent", {"finished": True})
    trials = begun.study.trials
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 3
    assert [trial.value for trial in trials] == [None] * 3
    errors = [trial.user_attrs["error"] for trial in trials]
    assert errors == ["loss of step 3 is not finite", LOST, "it ended without an epoch"]


def test_what_ray_tune_lets_go_of_without_a_word_has_failed(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    begun.told.suggest("a")
    begun.told.end_lost()
    assert [trial.state for trial in begun.study.trials] == [TrialState.FAIL]


def test_a_trial_that_was_cut_short_goes_on_in_its_folder(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    enqueue_known(begun.study, {"half": {"kind": "Constant", "Constant.click_weight": 0.5}})
    begun.told.suggest("a")
    begun.epoch("a", 1, 0.4)
    (tmp_path / "trials" / "0000" / "checkpoints").mkdir()
    again = Begun(tmp_path)
    [(proposal, folder)] = again.told.suggest("b").values()
    assert folder == tmp_path / "trials" / "0000"
    assert (folder / "checkpoints").exists()
    assert proposal.mix.click_weight == 0.5
    for number in (1, 2):
        assert not again.epoch("b", number, 0.4)
    again.told.on_trial_complete("b", {"finished": True})
    [trial] = finished_trials(again.study)
    assert (trial.number, trial.user_attrs["known"]) == (1, "half")
    assert sorted(trial.intermediate_values) == [1, 2]


def test_several_objectives_have_their_values_and_nothing_is_stopped(tmp_path: Path) -> None:
    begun = Begun(tmp_path, ["nDCG@10_high", "nDCG@10_low"])
    for name, high, low in (("a", 0.9, 0.2), ("b", 0.1, 0.1)):
        begun.told.suggest(name)
        more = {"validation_ndcg_high": high, "validation_ndcg_low": low}
        assert not begun.epoch(name, 1, 0.5, **more)
        begun.told.on_trial_complete(name, {"finished": True})
    assert [trial.values for trial in begun.study.trials] == [[0.9, 0.2], [0.1, 0.1]]
    assert [trial.number for trial in begun.study.best_trials] == [0]


def test_settings_that_are_searched_are_told_by_their_full_names(tmp_path: Path) -> None:
    ranges = {"optimization.learning_rate": [1e-4, 1e-3], "objective.loss": "lambdarank"}
    begun = Begun(tmp_path, ranges=ranges)
    [(proposal, _)] = begun.told.suggest("a").values()
    told = begun.study.trials[0].user_attrs["settings"]
    assert told == {
        "optimization.learning_rate": proposal.training.optimization.learning_rate,
        "objective.loss": "lambdarank",
    }
