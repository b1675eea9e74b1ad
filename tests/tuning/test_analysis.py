import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from optuna.trial import TrialState

from evaluation.report.parts import Table
from tests.tuning.studies import (
    BEGAN,
    MEASURES,
    constant,
    draw,
    measures_of,
    some_trials,
    tables,
    texts,
    trial_of,
    write_epochs,
    write_finalists,
    write_study,
)
from tuning.analysis.finalists import finalists_section, finalists_table, verdict_on_best
from tuning.analysis.found import found_section, trials_section
from tuning.analysis.front import front_section
from tuning.analysis.importances import evidence_of, importances, importances_section
from tuning.analysis.progress import best_so_far_section, curves_section, so_far
from tuning.analysis.reading import read_search
from tuning.analysis.timeline import timeline_section
from tuning.analysis.weights import weights_section

ALL, HIGH, MEDIUM, LOW = MEASURES
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def test_the_best_is_a_complete_trial_whatever_others_reached(tmp_path: Path) -> None:
    complete, known = constant(0.4), constant(0.0)
    better = measures_of(complete) | {ALL: 0.99}
    trials = [
        trial_of(0, complete, [ALL], TrialState.FAIL, measures=better),
        trial_of(1, complete, [ALL], TrialState.PRUNED, measures=better),
        trial_of(2, known, [ALL], known="annotation"),
        trial_of(3, complete, [ALL]),
        trial_of(4, complete, [ALL], TrialState.RUNNING, measures=better),
    ]
    write_study(tmp_path, trials)
    search = read_search(tmp_path)
    assert search.best["number"] == 3
    assert search.best_known["number"] == 2
    # By hand: the mean of 0.6 + 0.032 - 0.01 and 0.5 - 0.016 - 0.01 is 0.548, and the
    # annotation's, of 0.59 and 0.49, is 0.54.
    section = found_section(search)
    assert "Best by nDCG@10_all: trial 3 (Constant), with 0.548, +0.008" in texts(section)
    assert "annotation (trial 2)" in texts(section)
    assert "2 complete, 1 stopped early, 1 failed, 1 running" in texts(section)
    assert "Why trials failed: the loss became NaN (1)." in texts(section)
    assert tables(section)[0]["trial"].tolist() == [3, 2]


def test_a_search_that_found_nothing_better_says_so(tmp_path: Path) -> None:
    trials = [
        trial_of(0, constant(0.5), [ALL], known="one half"),
        trial_of(1, constant(1.0), [ALL]),
    ]
    write_study(tmp_path, trials)
    said = texts(found_section(read_search(tmp_path)))
    assert "which is a known point: the search found nothing better" in said


def test_every_trial_is_in_the_table_with_its_parameters_measures_and_error(tmp_path: Path) -> None:
    trials = some_trials(18, [ALL])
    write_study(tmp_path, trials)
    [table] = tables(trials_section(read_search(tmp_path)))
    assert table["trial"].tolist() == list(range(18))
    rows = table.to_dict("records")
    assert rows[3]["known point"] == "famol"
    assert rows[3]["parameters"] == (
        "FrequencySigmoid.midpoint_quantile 0.5, FrequencySigmoid.steepness 1, labels clicks, "
        "optimization.learning_rate 0.0001"
    )
    assert rows[3][LOW].value == pytest.approx(measures_of(trials[3].params)[LOW])
    assert (rows[7]["state"], rows[7]["error"]) == ("failed", "the loss became NaN")
    assert (rows[5]["state"], rows[5]["stopped after"]) == ("stopped early", 2)
    assert rows[17]["state"] == "running"


def test_the_best_so_far_goes_by_the_order_in_which_trials_ended(tmp_path: Path) -> None:
    trials = [
        trial_of(0, constant(1.0), [ALL], began=BEGAN, ended=BEGAN + 3600, seconds=1800.0),
        trial_of(1, constant(0.5), [ALL], began=BEGAN, ended=BEGAN + 7200, seconds=5400.0),
        trial_of(2, constant(0.0), [ALL], began=BEGAN, ended=BEGAN + 1800, seconds=1800.0),
        trial_of(3, constant(0.5), [ALL], TrialState.FAIL, ended=BEGAN + 900, seconds=900.0),
    ]
    write_study(tmp_path, trials)
    ended = so_far(read_search(tmp_path))
    assert ended["number"].tolist() == [3, 2, 0, 1]
    assert ended["hours"].tolist() == [0.25, 0.5, 1.0, 2.0]
    assert ended["cost"].tolist() == [0.25, 0.75, 1.25, 2.75]
    annotation, half = (measures_of(constant(weight))[ALL] for weight in (0.0, 0.5))
    assert math.isnan(ended["best"].iloc[0])
    assert ended["best"].tolist()[1:] == [annotation, annotation, half]


def test_of_two_objectives_the_hypervolume_grows_and_the_front_has_no_beaten_trial(
    tmp_path: Path,
) -> None:
    reached = [(0.4, 0.6), (0.6, 0.4), (0.5, 0.5), (0.45, 0.45), (0.6, 0.5)]
    trials = [
        trial_of(
            number,
            constant(0.1 * number),
            [HIGH, LOW],
            known="click" if number == 1 else None,
            measures={HIGH: high, LOW: low},
        )
        for number, (high, low) in enumerate(reached)
    ]
    write_study(tmp_path, trials, [HIGH, LOW])
    search = read_search(tmp_path)
    # The worst values are 0.4 and 0.4, so the reference point is 0.39 and 0.39: by hand the areas
    # are 0.01 * 0.21, then that and 0.20 * 0.01, and so on.
    areas = [0.0021, 0.0041, 0.0141, 0.0141, 0.0241]
    np.testing.assert_allclose(so_far(search)["best"], areas)
    [table] = tables(front_section(search))
    assert table["trial"].tolist() == [4, 0]
    assert "hypervolume" in texts(best_so_far_section(search))


def test_learning_curves_come_from_the_file_and_of_running_trials_from_the_study(
    tmp_path: Path,
) -> None:
    trials = some_trials(8, [ALL])
    write_study(tmp_path, trials)
    told = read_search(tmp_path).epochs
    assert told[told["number"] == 7]["epoch"].tolist() == [1, 2, 3]
    write_epochs(tmp_path, trials[:-1])
    epochs = read_search(tmp_path).epochs
    assert set(MEASURES) <= set(epochs)
    assert epochs.groupby("number").size().to_dict() == dict.fromkeys(range(7), 6) | {5: 2, 7: 3}
    names = [part.name for part in curves_section(read_search(tmp_path)).parts]
    assert names == [f"curves {name}" for name in (ALL, HIGH, LOW)]


def test_what_mattered_is_above_chance_and_what_did_not_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    drawn = [draw(rng, kind) for kind in ["FrequencySigmoid"] * 40 + ["Constant"] * 12]
    write_study(tmp_path, [trial_of(n, drawn[n], [ALL]) for n in range(52)])
    search = read_search(tmp_path)
    found = importances(evidence_of(search), 30)
    assert found["importance"].sum() == pytest.approx(1)
    assert (found["low"] <= found["importance"]).all()
    assert (found["importance"] <= found["high"]).all()
    midpoint, steepness = "FrequencySigmoid.midpoint_quantile", "FrequencySigmoid.steepness"
    rows = {row["parameter"]: row for row in found.to_dict("records")}
    assert next(iter(rows)) == midpoint
    assert rows[midpoint]["importance"] > rows[midpoint]["chance"]
    assert rows[steepness]["importance"] < rows[midpoint]["low"]
    assert rows[midpoint]["trials"] == 40
    section = importances_section(search, 20)
    names = [part.name for part in section.parts if isinstance(part, Table)]
    assert names == [
        *("importances all-kinds-of-mix", "importances constant-alone"),
        "importances frequencysigmoid-alone",
    ]
    assert "Constant.click_weight" not in set(tables(section)[2]["parameter"])


def test_trials_that_were_stopped_count_as_worse_than_complete_ones(tmp_path: Path) -> None:
    trials = [trial_of(n, constant(n / 10), [ALL]) for n in range(5)]
    trials += [trial_of(5, constant(0.9), [ALL], TrialState.PRUNED)]
    trials += [trial_of(6, constant(0.9), [ALL], TrialState.FAIL)]
    write_study(tmp_path, trials)
    evidence = evidence_of(read_search(tmp_path))
    assert [trial.number for trial in evidence.trials] == [0, 1, 2, 3, 4, 5]
    assert evidence.reached[5] < evidence.reached[:5].min()
    refused = texts(importances_section(read_search(tmp_path), 20))
    assert "at least 10 trials" in refused
    assert "the search has 6" in refused


def test_finalists_are_compared_with_the_best_known_point(tmp_path: Path) -> None:
    write_study(tmp_path, some_trials(12, [ALL]))
    gains = {"trial 6": (6, 0.08), "famol": (3, 0.02), "click": (0, 0.0), "trial 9": (9, 0.021)}
    write_finalists(tmp_path, gains)
    search = read_search(tmp_path)
    rows = {row["finalist"]: row for row in finalists_table(search.finalists).to_dict("records")}
    means = search.finalists.groupby("name")["value"].mean().to_dict()
    first = rows["trial 6"]
    assert next(iter(rows)) == "trial 6"
    assert first["mean"].value == pytest.approx(means["trial 6"])
    assert first["difference"].value == pytest.approx(means["trial 6"] - means["famol"])
    assert (first["trial"], first["seeds"], first["seeds ahead"]) == (6, 3, "3 of 3")
    assert rows["famol"]["difference"] is None
    assert "trial 6 is better than famol, by 0.0" in verdict_on_best(search)
    write_finalists(tmp_path, {"trial 6": (6, 0.02), "famol": (3, 0.02)}, seeds=1)
    assert "no trial is shown to be better than famol" in verdict_on_best(read_search(tmp_path))


def test_finalists_that_cannot_be_compared_are_said_to_be(tmp_path: Path) -> None:
    write_study(tmp_path, some_trials(12, [ALL]))
    write_finalists(tmp_path, {"trial 6": (6, 0.02), "famol": (3, 0.02)})
    path = tmp_path / "finalists.parquet"
    pd.read_parquet(path).iloc[:-1].to_parquet(path)  # one seed lacks a query
    search = read_search(tmp_path)
    assert "has no value of nDCG@10 for the query 'q59'" in texts(finalists_section(search))
    assert "cannot be compared" in verdict_on_best(search)
    write_finalists(tmp_path, {"trial 6": (6, 0.02), "trial 7": (7, 0.02)})
    assert "No known point was trained again" in verdict_on_best(read_search(tmp_path))


def test_the_winner_is_drawn_beside_famol_and_a_mix_of_another_version_is_left_out(
    tmp_path: Path,
) -> None:
    write_study(tmp_path, [trial_of(0, constant(0.5), [ALL])])
    [picture] = weights_section(read_search(tmp_path)).parts
    assert [axes.get_title() for axes in picture.figure.axes[:2]] == ["trial 0\nConstant", "FAMOL"]
    shutil.rmtree(tmp_path)
    gone = {"class_path": "Gone", "init_args": {}}
    write_study(tmp_path, [trial_of(0, constant(0.5), [ALL], mix=gone)])
    assert weights_section(read_search(tmp_path)) is None


def test_a_worker_with_several_trials_at_a_time_has_several_rows(tmp_path: Path) -> None:
    times = [(0, 100), (50, 90), (100, 130)]
    trials = [
        trial_of(n, constant(0.1), [ALL], worker="a:1", began=BEGAN + begin, ended=BEGAN + end)
        for n, (begin, end) in enumerate(times)
    ]
    write_study(tmp_path, trials)
    [picture] = timeline_section(read_search(tmp_path)).parts
    bars = [(bar.get_x(), bar.get_y(), bar.get_width()) for bar in picture.figure.axes[0].patches]
    wanted = [
        (begin / 60, -0.4 + (n == 1), (end - begin) / 60) for n, (begin, end) in enumerate(times)
    ]
    np.testing.assert_allclose(bars, wanted)
