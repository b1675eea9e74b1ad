"""A study lasts: what a kill, a second search or other content does to it."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from corpus.errors import InputError
from tests.conftest import REPOSITORY
from tests.tuning.own_studies import SETTINGS, ask, begin, end
from tuning.journal import JOURNAL, only_search
from tuning.study import (
    CUT_SHORT,
    asked_for,
    check_storage,
    enqueue_known,
    finished_trials,
    first_number,
    open_study,
    take_up_cut_short,
)


def test_what_was_cut_short_goes_on_and_what_has_ended_does_not(tmp_path: Path) -> None:
    study = begin(tmp_path)
    end(study, 0.25, {"nDCG@10_all": 0.5})
    running = ask(study, 0.75)
    again = begin(tmp_path)  # as a new process would: nothing is kept but the journal
    assert take_up_cut_short(again) == 1
    assert [first_number(trial) for trial in finished_trials(again)] == [0]
    goes_on = ask(again)
    assert goes_on.number == 2
    assert goes_on.params == {"Constant.click_weight": 0.75}
    assert goes_on.user_attrs == {"continues": running.number, "folder": "trials/0001"}
    assert again.trials[1].state == TrialState.FAIL
    assert again.trials[1].user_attrs["error"] == CUT_SHORT
    again.tell(goes_on, 0.75)
    assert [trial.number for trial in finished_trials(again)] == [0, 2]


def test_a_second_kill_leaves_the_trial_in_the_same_folder(tmp_path: Path) -> None:
    ask(begin(tmp_path), 0.75)
    for _ in range(2):
        study = begin(tmp_path)
        take_up_cut_short(study)
        trial = ask(study)
        assert trial.user_attrs["folder"] == "trials/0000"
        assert trial.params == {"Constant.click_weight": 0.75}


def test_what_was_cut_short_goes_before_known_points_that_still_wait(tmp_path: Path) -> None:
    """Else a search of two trials would end with other points than if it had not been killed."""
    study = begin(tmp_path)
    points = {
        name: {"Constant.click_weight": w} for name, w in (("a", 0.0), ("b", 0.5), ("c", 1.0))
    }
    enqueue_known(study, points)
    for _ in "ab":
        ask(study)
    for _ in range(2):  # also after a second kill
        study = begin(tmp_path)
        assert take_up_cut_short(study) == 2
        enqueue_known(study, points)
        assert [ask(study).user_attrs["folder"] for _ in "ab"] == ["trials/0000", "trials/0001"]
    [last] = study.get_trials(states=(TrialState.WAITING,))
    assert (last.user_attrs["known"], asked_for(last)) == ("c", {"Constant.click_weight": 1.0})
    assert finished_trials(study) == []


def test_a_kill_while_trials_are_taken_up_doubles_and_loses_none(tmp_path: Path) -> None:
    study = begin(tmp_path)
    ask(study, 0.75)
    # Enqueued, and then killed before the trial that runs was told.
    study.enqueue_trial({"Constant.click_weight": 0.75}, user_attrs={"continues": 0})
    study = begin(tmp_path)
    take_up_cut_short(study)
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [asked_for(trial) for trial in waiting] == [{"Constant.click_weight": 0.75}]


def test_a_trial_killed_before_it_asked_for_anything_keeps_what_was_enqueued(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path)
    enqueue_known(study, {"click": {"Constant.click_weight": 1.0}})
    study.ask()
    study = begin(tmp_path)
    take_up_cut_short(study)
    trial = ask(study)
    assert trial.params == {"Constant.click_weight": 1.0}
    assert trial.user_attrs["known"] == "click"


def test_known_points_come_first_and_once(tmp_path: Path) -> None:
    points = {"click": {"Constant.click_weight": 1.0}, "half": {"Constant.click_weight": 0.5}}
    study = begin(tmp_path)
    enqueue_known(study, points)
    assert [ask(study).user_attrs["known"] for _ in range(2)] == ["click", "half"]
    study = begin(tmp_path)
    enqueue_known(study, points | {"best of before": {"Constant.click_weight": 0.1}})
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.user_attrs["known"] for trial in waiting] == ["best of before"]


def test_a_resumed_search_draws_other_random_points(tmp_path: Path) -> None:
    """With the seed alone it would begin its random trials again from the first."""
    study = begin(tmp_path)
    before = [ask(study).params["Constant.click_weight"] for _ in range(3)]
    study = begin(tmp_path)
    after = [ask(study).params["Constant.click_weight"] for _ in range(3)]
    assert not set(before) & set(after)


def test_the_sampler_knows_the_trials_of_before(tmp_path: Path) -> None:
    """Of forty trials those near 0.2 were good, so that proposals come to lie near it."""
    study = begin(tmp_path)
    for step in range(40):
        end(study, step / 39, {"nDCG@10_all": 1 - abs(step / 39 - 0.2)})
    study = begin(tmp_path)
    proposed = [ask(study).params["Constant.click_weight"] for _ in range(10)]
    assert sum(abs(weight - 0.2) < 0.2 for weight in proposed) >= 8


def test_a_journal_that_a_kill_has_torn_goes_on(tmp_path: Path) -> None:
    study = begin(tmp_path)
    end(study, 0.25, {"nDCG@10_all": 0.5})
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x","trial_')
    (tmp_path / f"{JOURNAL}.lock").symlink_to(tmp_path / JOURNAL)  # by Optuna, while it writes
    began = time.monotonic()
    study = begin(tmp_path)
    end(study, 0.75, {"nDCG@10_all": 0.25})
    assert time.monotonic() - began < 5  # Optuna would wait thirty seconds for the lock
    assert [trial.value for trial in begin(tmp_path).trials] == [0.5, 0.25]


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"collection_hash": "other"}, "collection_hash"), ({"space": {"mixes": ["Ramp"]}}, "space")],
)
def test_the_study_of_another_search_is_refused(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    begin(tmp_path)
    with pytest.raises(InputError, match=rf"{JOURNAL}: holds a study with {told} = "):
        begin(tmp_path, **changes)


def test_a_file_that_is_no_journal_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("nothing\nof Optuna's\n")
    with pytest.raises(InputError, match=rf"{JOURNAL}: the study cannot be read") as refused:
        begin(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_disk_that_is_full_is_refused_in_one_line(tmp_path: Path) -> None:
    begin(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / JOURNAL).stat().st_size, limits[1]))
    try:
        with pytest.raises(InputError, match=rf"{JOURNAL}: .*File too large"):
            begin(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/study.db", "nosuchbase://x", "nonsense"]
)
def test_a_database_that_is_none_is_refused_in_one_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="the study cannot be read and written") as refused:
        check_storage(url, SETTINGS, resume=False)
    assert "\n" not in str(refused.value)


def test_a_password_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        check_storage("nosuchbase://me:secret@host/x", SETTINGS, resume=False)
    assert "secret" not in str(refused.value)


def test_a_database_keeps_a_study_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    check_storage(url, SETTINGS, resume=False)
    study = open_study(tmp_path, url, SETTINGS, ["nDCG@10_all"], seed=0)
    end(study, 0.25, {"nDCG@10_all": 0.5})
    ask(study, 0.75)
    check_storage(url, SETTINGS, resume=True)
    with pytest.raises(InputError, match="--resume"):
        check_storage(url, SETTINGS, resume=False)
    with pytest.raises(InputError, match="seed = 0, and now 1"):
        check_storage(url, SETTINGS | {"seed": 1}, resume=True)
    study = open_study(tmp_path, url, SETTINGS, ["nDCG@10_all"], seed=0)
    assert take_up_cut_short(study) == 1
    assert ask(study).user_attrs["folder"] == "trials/0001"
    assert not (tmp_path / JOURNAL).exists()


def test_a_study_of_somebody_else_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=url, study_name="tandem")
    with pytest.raises(InputError, match="no search of Tandem's"):
        check_storage(url, SETTINGS, resume=True)


def test_two_searches_in_one_folder_are_refused_and_a_kill_lets_go(tmp_path: Path) -> None:
    holds = "import sys, time; from pathlib import Path; from tuning.journal import only_search\n"
    holds += "with only_search(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holds, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another search is at work"), only_search(tmp_path):
            pass
        other.kill()
    with only_search(tmp_path):
        pass
