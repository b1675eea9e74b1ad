"""Pages of searches that found nothing, still run, are broken, or lack what others have."""

import math
import shutil
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from corpus.errors import InputError
from evaluation.report.cells import cell_of
from evaluation.report.parts import Picture
from tests.tuning.studies import (
    MEASURES,
    constant,
    some_trials,
    tables,
    texts,
    titles,
    trial_of,
    write_study,
)
from tuning.analyse import analyse
from tuning.analysis.found import found_section, trials_section
from tuning.analysis.parameters import combinations_section
from tuning.analysis.reading import read_search
from tuning.analysis.sections import tuning_sections
from tuning.analysis.weights import weights_section

ALL, HIGH, MEDIUM, LOW = MEASURES
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.mark.parametrize("objectives", [[HIGH, LOW], [ALL, MEDIUM, LOW]])
def test_searches_of_several_objectives_have_sections(
    tmp_path: Path, objectives: list[str]
) -> None:
    write_study(tmp_path, some_trials(14, objectives), objectives)
    found = titles(read_search(tmp_path))
    assert found[:3] == ["What was found", "Best so far", "Head against tail"]
    assert {"What mattered", "Slices"} <= set(found)
    assert found[-2:] == ["Timeline", "Every trial"]


def test_a_search_without_a_complete_trial_has_a_page_that_says_so(tmp_path: Path) -> None:
    states = [TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]
    trials = [trial_of(n, constant(0.5), [ALL], state) for n, state in enumerate(states)]
    write_study(tmp_path, trials)
    search = read_search(tmp_path)
    assert titles(search) == [
        *("What was found", "Learning curves", "What mattered", "Timeline", "Every trial"),
    ]
    said = texts(found_section(search))
    assert "No trial is complete, so there is nothing best." in said
    assert "the loss became NaN (2)" in said


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING])
def test_a_trial_without_any_attribute_is_shown(tmp_path: Path, state: TrialState) -> None:
    study = write_study(tmp_path, [])
    if state == TrialState.RUNNING:
        study.ask()
    else:
        complete = state == TrialState.COMPLETE
        trial = optuna.trial.create_trial(state=state, values=[0.5] if complete else None)
        study.add_trial(trial)
    search = read_search(tmp_path)
    assert "Every trial" in titles(search)
    [table] = tables(trials_section(search))
    assert cell_of(table.loc[0, ALL]).text == ("0.500" if state == TrialState.COMPLETE else "")


def test_attributes_of_the_wrong_type_count_as_absent(tmp_path: Path) -> None:
    wrong = {"mix": "?", "measures": [1], "seconds": "x", "worker": 3, "epochs": True, "error": {}}
    trial = trial_of(0, constant(0.5), [ALL])
    trial.user_attrs.update(wrong)
    write_study(tmp_path, [trial])
    search = read_search(tmp_path)
    row = search.trials.iloc[0]
    assert (row["worker"], row["error"], row["kind"]) == (None, None, "Constant")
    assert math.isnan(row["epochs"])
    assert titles(search)[-1] == "Every trial"


def refusal(tmp_path: Path, **arguments: Any) -> str:
    with pytest.raises(InputError) as refused:
        analyse(tmp_path, **arguments)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_what_is_no_search_is_refused(tmp_path: Path) -> None:
    assert "is no folder" in refusal(tmp_path / "none")
    assert "has no study.journal" in refusal(tmp_path)
    assert list(tmp_path.iterdir()) == []  # and nothing was made
    write_study(tmp_path, [])
    assert "the search has no trial yet" in refusal(tmp_path)
    assert "resamples must be at least 20" in refusal(tmp_path, resamples=3)
    (tmp_path / "study.journal").write_text("{}\nno json\n{}\n")
    assert "cannot be read as an Optuna study" in refusal(tmp_path)
    (tmp_path / "study.journal").write_bytes(b"")
    assert "holds no study 'tandem'" in refusal(tmp_path)


def test_a_storage_that_is_none_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "is no URL of a database" in refusal(tmp_path, storage="nonsense")
    missing = tmp_path / "none.db"
    assert "there is no file" in refusal(tmp_path, storage=f"sqlite:///{missing}")
    assert not missing.exists()
    told = refusal(tmp_path, storage="nosuch://me:secret@host/db")
    assert "secret" not in told
    (tmp_path / "other.db").write_bytes(b"no database" * 100)
    assert "cannot be read" in refusal(tmp_path, storage=f"sqlite:///{tmp_path / 'other.db'}")


def test_a_study_in_a_database_is_read_from_its_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=url, study_name="tandem", direction="maximize")
    study.add_trial(trial_of(0, constant(0.5), [ALL]))
    search = read_search(tmp_path, url)
    assert search.objectives == ("objective",)
    assert search.best["name"] == "trial 0"


@pytest.mark.parametrize("name", ["epochs.parquet", "finalists.parquet"])
def test_a_broken_table_is_named(tmp_path: Path, name: str) -> None:
    write_study(tmp_path, some_trials(5, [ALL]))
    (tmp_path / name).write_bytes(b"no parquet")
    assert f"{name}: cannot be read as parquet" in refusal(tmp_path)
    pd.DataFrame({"other": [1]}).to_parquet(tmp_path / name)
    assert f"{name}: has no column" in refusal(tmp_path)


def test_a_torn_last_line_of_the_journal_is_left_out(tmp_path: Path) -> None:
    write_study(tmp_path, some_trials(5, [ALL]))
    with (tmp_path / "study.journal").open("a") as journal:
        journal.write('{"op_code": 5, "wor')
    assert len(read_search(tmp_path).trials) == 5


def test_optunas_plots_leave_no_settings_or_figures_behind(tmp_path: Path) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    write_study(tmp_path, [trial_of(n, constant(n / 10), [ALL]) for n in range(8)])
    before = dict(mpl.rcParams)
    section = combinations_section(read_search(tmp_path))
    assert section is None  # a kind with one parameter has none to combine
    trials = some_trials(24, [ALL], seed=2)
    shutil.rmtree(tmp_path)
    write_study(tmp_path, trials)
    section = combinations_section(read_search(tmp_path))
    assert any(isinstance(part, Picture) for part in section.parts)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_in_a_report_of_more_than_the_search_all_headings_say_tuning(tmp_path: Path) -> None:
    trials = [trial_of(n, constant(n / 2), [ALL]) for n in range(3)]
    write_study(tmp_path, trials)
    assert [section.title for section in tuning_sections(tmp_path, 20)] == [
        *("Tuning", "Tuning: best so far", "Tuning: head against tail"),
        *("Tuning: the winner's weights", "Tuning: learning curves", "Tuning: what mattered"),
        *("Tuning: slices", "Tuning: timeline", "Tuning: every trial"),
    ]


def test_what_the_search_has_concluded_is_said_and_its_choice_drawn(tmp_path: Path) -> None:
    trials = [
        trial_of(0, constant(0.0), [ALL], known="annotation"),
        trial_of(1, constant(0.5), [ALL]),
    ]
    study = write_study(tmp_path, trials)
    said = "no better than the best known point (annotation) is shown"
    study.set_user_attr("concluded", {"trials": 2, "ended": [3, 3], "said": said})
    pd.DataFrame({"number": [0, 1], "best": [True, False]}).to_parquet(tmp_path / "trials.parquet")
    search = read_search(tmp_path)
    assert f"The search says: {said}." in texts(found_section(search))
    [picture] = weights_section(search).parts
    panels = [axes.get_title().split("\n")[0] for axes in picture.figure.axes[:3]]
    assert panels == ["annotation", "trial 1", "FAMOL"]
    study.ask()  # it goes on
    assert read_search(tmp_path).said is None
