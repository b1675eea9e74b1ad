"""What is left of a search, and whether it found better, on studies of Optuna alone."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState

from corpus.errors import InputError
from rankers.mixes import Constant, FrequencySigmoid
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from tests.tuning.own_studies import ask, begin, end
from tuning.best import best_of
from tuning.finalists import Verdict, choose_finalists, judge_finalists, rank_trials
from tuning.known_points import earlier_best
from tuning.objectives import ALL, read_objectives
from tuning.records import conclude, concluded, print_trials, sort_trials, write_tables
from tuning.space import SearchSpace
from tuning.tune import refuse_all_failed

ONE = read_objectives([ALL], {})
FRONT = read_objectives(["nDCG@10_high", "nDCG@10_low"], {})


def write_history(output: Path, folder: str, epochs: int) -> None:
    (output / folder).mkdir(parents=True)
    rows = [{"epoch": step, "loss": 1.0 / step} for step in range(1, epochs + 1)]
    (output / folder / "history.json").write_text(json.dumps(rows))


def test_tables_have_what_each_trial_came_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    study = begin(tmp_path)
    end(study, 1.0, {ALL: 0.6, "nDCG@10_low": 0.25}, known="click")
    end(study, 0.5, {ALL: 0.9}, state=TrialState.FAIL, error="loss is not finite")
    mix = FrequencySigmoid(30.0, 2.0)
    end(study, 0.25, {ALL: 0.7}, mix, settings={"optimization.learning_rate": 1e-4})
    end(study, 0.75, {ALL: 0.4}, state=TrialState.PRUNED, stopped_after=1, epochs=1)
    ask(study, 0.1)  # still runs
    write_history(tmp_path, "trials/0000", 2)
    table = write_tables(study, tmp_path, 2)
    assert table["number"].tolist() == [0, 1, 2, 3]
    assert table["state"].tolist() == ["COMPLETE", "FAIL", "COMPLETE", "PRUNED"]
    assert table["kind"].tolist() == ["Constant", "Constant", "FrequencySigmoid", "Constant"]
    assert table["Constant.click_weight"].tolist() == [1.0, 0.5, 0.25, 0.75]
    assert table["nDCG@10_low"].tolist()[0] == 0.25
    assert best_of(tmp_path).mix == mix
    assert best_of(tmp_path).settings == {"optimization.learning_rate": 1e-4}
    epochs = pd.read_parquet(tmp_path / "epochs.parquet")
    assert epochs.to_dict("list") == {"number": [0, 0], "epoch": [1, 2], "loss": [1.0, 0.5]}
    order = sort_trials(pd.read_parquet(tmp_path / "trials.parquet"), ONE)
    assert order["number"].tolist() == [2, 0, 3, 1], "the failed one is last, whatever it reached"
    print_trials(pd.read_parquet(tmp_path / "trials.parquet"), ONE)
    shown = capsys.readouterr().out
    assert "failed: loss is not finite" in shown
    assert "0.9000" not in shown
    assert "stopped early" in shown


def test_a_trial_that_died_before_anything_was_told_has_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path)
    study.tell(study.ask(), state=TrialState.FAIL)
    table = write_tables(study, tmp_path, None)
    print_trials(table, ONE)
    with pytest.raises(InputError, match="none of 1 trials came to its end"):
        refuse_all_failed(table, tmp_path)


def test_the_reason_of_failed_trials_is_told_once(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for error in ("no memory", "no memory", "no disk"):
        end(study, 0.5, None, state=TrialState.FAIL, error=error)
    with pytest.raises(InputError, match=r"none of 3 .*: no memory; 1 other reasons") as told:
        refuse_all_failed(write_tables(study, tmp_path, None), tmp_path)
    assert str(told.value).count("no memory") == 1
    end(study, 0.5, {ALL: 0.1})
    refuse_all_failed(write_tables(study, tmp_path, None), tmp_path)


def test_a_search_is_at_its_end_until_more_is_asked_for(tmp_path: Path) -> None:
    study = begin(tmp_path)
    end(study, 1.0, {ALL: 0.6})
    assert concluded(study, 1, [3, 3]) is None
    conclude(study, [3, 3], "nothing better")
    study = begin(tmp_path)
    assert concluded(study, 1, [3, 3]) == "nothing better"
    assert concluded(study, 2, [3, 3]) is None
    assert concluded(study, 1, [3, 5]) is None


def test_finalists_are_the_best_known_point_and_the_best_others(tmp_path: Path) -> None:
    study = begin(tmp_path)
    end(study, 1.0, {ALL: 0.6}, known="click")
    end(study, 0.0, {ALL: 0.7}, known="annotation")
    end(study, 0.3, {ALL: 0.8})
    end(study, 0.3, {ALL: 0.8})  # the same once more
    end(study, 0.4, {ALL: 0.75})
    end(study, 0.5, {ALL: 0.9}, state=TrialState.FAIL)
    end(study, 0.6, {ALL: 0.95}, state=TrialState.PRUNED)
    end(study, 0.7, {ALL: 0.2})
    ranked = rank_trials(study, ONE)
    assert [trial.number for trial in choose_finalists(ranked, 2)] == [1, 2, 4]
    assert [trial.number for trial in choose_finalists(ranked, 9)] == [1, 2, 4, 7]
    assert [trial.number for trial in choose_finalists(ranked, 0)] == [1]


def test_of_several_objectives_the_front_comes_first(tmp_path: Path) -> None:
    study = begin(tmp_path, objectives=2)
    for high, low, overall in ((0.9, 0.1, 0.3), (0.1, 0.9, 0.4), (0.8, 0.05, 0.9)):
        end(study, 0.5, {"nDCG@10_high": high, "nDCG@10_low": low, ALL: overall})
    assert [trial.number for trial in rank_trials(study, FRONT)] == [1, 0, 2]


def judged(tmp_path: Path, gain: float, objective: str = ALL, gained: str = "low") -> Verdict:
    """A search whose trial 1 is better than click by `gain` on each query of a bucket."""
    study = begin(tmp_path)
    trials = [end(study, 1.0, {ALL: 0.6}, known="click"), end(study, 0.3, {ALL: 0.8})]
    queries = [f"q{number}" for number in range(40)]
    buckets = pd.Series(["high", "low"] * 20, index=queries)
    rows = []
    for seed in (1, 2):
        for number, query in enumerate(queries):
            about = {"seed": seed, "query_id": query}
            base = 0.5 + 0.005 * (number % 7) + 0.01 * seed
            more = gain + 0.001 * (number % 3) if buckets[query] == gained else 0.0
            rows.append({"trial": 0, "name": "click", "value": base, **about})
            rows.append({"trial": 1, "name": "trial 1", "value": base + more, **about})
    return judge_finalists(trials, pd.DataFrame(rows), buckets, read_objectives([objective], {}))


def test_better_is_said_with_its_evidence(tmp_path: Path) -> None:
    verdict = judged(tmp_path, 0.1)
    assert verdict.best.number == 1
    assert verdict.said.startswith(
        "trial 1 is better than the best known point (click): +0.0505, 95 % interval +0.0"
    )
    assert "40 validation queries" in verdict.said


def test_no_better_is_said_and_the_known_point_is_taken(tmp_path: Path) -> None:
    verdict = judged(tmp_path, -0.1)
    assert verdict.best.number == 0
    assert verdict.said.startswith("no better than the best known point (click) is shown")


def test_evidence_is_of_the_objective(tmp_path: Path) -> None:
    """What is won on rare queries says nothing of frequent ones."""
    assert judged(tmp_path / "low", 0.1, "nDCG@10_low").best.number == 1
    assert "20 validation queries" in judged(tmp_path / "l2", 0.1, "nDCG@10_low").said
    assert judged(tmp_path / "high", 0.1, "nDCG@10_high").best.number == 0


def test_without_known_points_the_best_mean_is_taken(tmp_path: Path) -> None:
    study = begin(tmp_path)
    trials = [end(study, 1.0, {ALL: 0.6}), end(study, 0.3, {ALL: 0.8})]
    rows = [
        {"trial": number, "name": f"trial {number}", "seed": 1, "query_id": query, "value": value}
        for number, value in enumerate((0.7, 0.2))
        for query in ("a", "b")
    ]
    buckets = pd.Series({"a": "high", "b": "low"})
    verdict = judge_finalists(trials, pd.DataFrame(rows), buckets, ONE)
    assert verdict.best.number == 0
    assert "no known point" in verdict.said


def test_the_best_of_an_earlier_search_is_a_point_of_the_next(tmp_path: Path) -> None:
    study = begin(tmp_path)
    study.enqueue_trial({"kind": "Constant", "Constant.click_weight": 0.3, "labels": "clicks"})
    trial = study.ask()
    trial.suggest_categorical("kind", ["Constant", "Ramp"])
    trial.suggest_float("Constant.click_weight", 0, 1)
    trial.suggest_categorical("labels", ["clicks", "shrunk"])
    told = {"mix": encode_mix(Constant(0.3)), "labels": "clicks", "settings": {}}
    for name, value in (told | {"measures": {ALL: 0.5}}).items():
        trial.set_user_attr(name, value)
    study.tell(trial, 0.5)
    write_tables(study, tmp_path, 0)
    best = {"mix": encode_mix(Constant(0.3)), "training": {}}
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(best))
    space = SearchSpace(mixes=["Constant"])
    assert earlier_best(tmp_path, space, ["clicks"], TrainingSettings()) == {
        "kind": "Constant",
        "Constant.click_weight": 0.3,
        "labels": "clicks",
    }
