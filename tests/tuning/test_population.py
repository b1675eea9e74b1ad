"""Whom a population's members take over from, what they go on by, and what a kill leaves of it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from corpus.errors import InputError
from rankers.mixes import Constant, FrequencySigmoid, Mix, Piecewise, TrainingLog
from rankers.mixes.encoding import decode_mix
from rankers.settings import TrainingSettings
from rankers.training import alone
from rankers.training.alone import CHECKPOINTS
from tests.conftest import with_settings
from tests.tuning.own_studies import SETTINGS
from tuning import population
from tuning.exploring import MOVE, choose, explore, follow
from tuning.objectives import ALL, read_objectives
from tuning.outcomes import Search, tell_epoch
from tuning.population_space import check_population, population_space
from tuning.ranges import RANGES
from tuning.space import SearchSpace
from tuning.study import enqueue_known, finished_trials, open_study

EPOCHS = 4
TRAINING = with_settings(TrainingSettings(), epochs=EPOCHS, workers=1)
LABELS = ["clicks", "shrunk"]
RATE = {"optimization.learning_rate": [1e-4, 1e-3]}


def search(folder: Path, **space: Any) -> Search:
    folder.mkdir(exist_ok=True)
    objectives = read_objectives([ALL], {})
    study = open_study(folder, None, SETTINGS, objectives.names, seed=0)
    log = TrainingLog(np.array([1, 5, 9]), np.array([1.0, 2.0, 3.0]))
    searched = population_space(SearchSpace(**space))
    inputs: Any = SimpleNamespace(log=log)
    return Search(study, folder, objectives, searched, TRAINING, LABELS, inputs)


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    known=st.sets(st.integers(0, 19)),
    seed=st.integers(0, 99),
)
def test_the_worse_take_over_from_the_best_quarter_and_known_points_from_nobody(
    values: list[float], known: set[int], seed: int
) -> None:
    named = dict(enumerate(values))
    chosen = choose(named, known, np.random.default_rng(seed))
    quarter = max(1, len(values) // 4)
    assert len(chosen) <= quarter
    assert not chosen.keys() & known
    least = sorted(values, reverse=True)[quarter - 1]
    for child, parent in chosen.items():
        assert named[child] < least <= named[parent]
        assert parent not in chosen
    assert chosen == choose(named, known, np.random.default_rng(seed))


@given(seed=st.integers(0, 999), kind=st.sampled_from(["Constant", "FrequencySigmoid", "Product"]))
@settings(max_examples=60, deadline=None)
def test_what_a_member_goes_on_by_is_in_the_space_with_its_labels_and_settings(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    begun = search(tmp_path_factory.mktemp("out"), ranges=RATE)
    point: dict[str, Any] = {"kind": kind, "labels": "shrunk", "optimization.learning_rate": 4e-4}
    given: dict[str, Any] = {"Constant.click_weight": 0.0, "FrequencySigmoid.steepness": 1.0}
    given |= {"FrequencySigmoid.midpoint_quantile": 0.5, "Product.progress": "Constant"}
    given |= {"Product.traffic": "ByBucket", "Product.Constant.click_weight": 0.9}
    given |= {f"Product.ByBucket.{name}": 0.5 for name in ("high", "medium", "low")}
    point |= {name: value for name, value in given.items() if name.startswith(f"{kind}.")}
    proposal, moved = explore(point, begun, np.random.default_rng(seed))
    assert (moved["labels"], proposal.labels) == ("shrunk", "shrunk")
    assert moved["optimization.learning_rate"] == 4e-4
    assert proposal.training.optimization.learning_rate == 4e-4
    assert type(proposal.mix).__name__ == moved["kind"]
    assert moved["kind"] not in ("Staged", "Ramp")
    assert json.loads(json.dumps(moved)) == moved
    _, again = explore(point, begun, np.random.default_rng(seed))
    assert again == moved


def test_parameters_are_moved_by_a_fifth_of_their_range_or_drawn_anew(tmp_path: Path) -> None:
    begun = search(tmp_path, mixes=["FrequencySigmoid"])
    point = {"kind": "FrequencySigmoid", "labels": "clicks", "FrequencySigmoid.steepness": 1.0}
    point["FrequencySigmoid.midpoint_quantile"] = 0.99
    moves = [explore(point, begun, np.random.default_rng(seed))[1] for seed in range(400)]
    steepness = np.array([moved["FrequencySigmoid.steepness"] for moved in moves])
    steps = np.abs(np.log(steepness)) / np.log(4 / 0.25)
    assert np.isclose(steps, MOVE).mean() == pytest.approx(0.75, abs=0.07)
    quantile = np.array([moved["FrequencySigmoid.midpoint_quantile"] for moved in moves])
    assert quantile.max() == 0.99, "no further than the range"
    assert quantile.min() < 0.5


def test_one_mix_follows_another_until_training_ends() -> None:
    mix: Mix = Constant(0.5)
    for epoch in (1, 3):
        mix = follow(mix, FrequencySigmoid(epoch), epoch / 4)
    assert mix == Piecewise([Constant(0.5), FrequencySigmoid(1), FrequencySigmoid(3)], [0.25, 0.75])


def test_a_population_has_no_mix_that_changes_by_itself() -> None:
    kinds = population_space(SearchSpace()).mixes
    assert kinds is not None
    assert {"Constant", "Product", "Evidence"} <= set(kinds)
    assert not {"Staged", "Ramp", "Piecewise"} & set(kinds)
    assert population_space(SearchSpace()).ranges == {"Product.progress": "Constant"}
    assert population_space(SearchSpace(mixes="ByBucket")).ranges == {}
    refused = [
        SearchSpace(mixes=["Constant", "Ramp"]),
        SearchSpace(ranges={"Product.progress": {"choices": ["Constant", "Staged"]}}),
    ]
    for space in refused:
        with pytest.raises(InputError, match="a population finds by itself when weights change"):
            population_space(space)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trials": 3}, "trials must be at least 4, not 3"),
        ({"grace_epochs": 4}, r"optimization.epochs \(4\) must be above grace_epochs \(4\)"),
        ({"training": with_settings(TRAINING, patience=1)}, "patience must be 0"),
        ({"training": with_settings(TRAINING, workers=2)}, "workers must be 1"),
        ({"checkpoints": "s3://bucket"}, "checkpoints left out"),
        ({"training": with_settings(TRAINING, heads="two")}, "heads must be shared"),
        ({"space": SearchSpace(ranges={"model.heads": {"choices": ["two"]}})}, "heads"),
        ({"objectives": ["nDCG@10_high", "nDCG@10_low"]}, "objectives must be one"),
    ],
)
def test_settings_without_a_population_are_refused(changes: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"trials": 4, "grace_epochs": 2, "objectives": [ALL]}
    given |= {"space": SearchSpace(), "training": TRAINING, "checkpoints": None}
    check_population(**given)
    with pytest.raises(InputError, match=f"population: {named}|population: .*{named}"):
        check_population(**(given | changes))


def values_of(epoch: int, number: int) -> float:
    """Members 0 to 2 are known points; 4 is best, and 7 worst."""
    return 0.1 * epoch + [0.2, 0.1, 0.15, 0.3, 0.5, 0.25, 0.35, 0.12][number]


def reach(begun: Search, members: list[Any], epoch: int) -> None:
    """Members come to the end of an epoch, with checkpoints that say whose they are."""
    for trial in members:
        metrics = {"epoch": epoch, "validation_ndcg": values_of(epoch, trial.number)}
        tell_epoch(begun, trial, metrics, {})
        for name in ("best", "last"):
            folder = begun.output / trial.user_attrs["folder"] / CHECKPOINTS / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "weights").write_text(f"{trial.number} after {epoch}")


def weights(begun: Search, number: int) -> str:
    folder = begun.output / "trials" / f"{number:04d}" / CHECKPOINTS
    found = {(folder / name / "weights").read_text() for name in ("best", "last")}
    assert len(found) == 1
    return found.pop()


def test_a_kill_while_checkpoints_are_handed_over_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        name: {"kind": "Constant", "labels": "clicks", "Constant.click_weight": weight}
        for name, weight in {"click": 1.0, "annotation": 0.0, "one half": 0.5}.items()
    }
    begun = search(tmp_path / "out", mixes=["Constant"])
    enqueue_known(begun.study, points)
    members = population._begin(begun, 8)
    assert [trial.number for trial in members] == list(range(8))
    assert [trial.user_attrs.get("known") for trial in members[:4]] == [*points, None]
    reach(begun, members, 1)
    decision = population._decide(begun, members, 1, seed=0)
    assert decision == population._decide(begun, members, 1, seed=0)
    assert set(decision["members"]) == {"5", "7"}, "1 and 2 are worse, and known"
    begun.study.set_user_attr(population.DECISION, decision)
    replace_folder = alone.replace_folder

    def killed(folder: Path, source: Path) -> None:
        replace_folder(folder, source)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(alone, "replace_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            population._carry_out(begun, members, decision)

    again = search(tmp_path / "out", mixes=["Constant"])
    members = population._begin(again, 8)
    assert population._carried_out(again.study) == 0
    population._carry_out(again, members, again.study.user_attrs[population.DECISION])
    assert population._carried_out(again.study) == 1
    for number in (5, 7):
        told = members[number].user_attrs
        parent = told["taken_over"]["1"]
        assert parent in (4, 6)
        assert weights(again, number) == f"{parent} after 1"
        assert told["measures"] == {ALL: values_of(1, parent)}
        before = decode_mix(members[parent].user_attrs["mix"])
        after = Constant(told["point"]["Constant.click_weight"])
        assert decode_mix(told["mix"]) == Piecewise([before, after], [1 / EPOCHS])
    for number in (0, 1, 2, 3, 4, 6):
        assert weights(again, number) == f"{number} after 1"
        assert "taken_over" not in members[number].user_attrs
    assert finished_trials(again.study) == []
    assert {trial.state for trial in again.study.trials} == {TrialState.RUNNING}


def test_members_that_a_kill_left_without_a_mix_get_one(tmp_path: Path) -> None:
    begun = search(tmp_path / "out")
    begun.study.ask()
    members = population._begin(search(tmp_path / "out"), 4)
    assert len(members) == 4
    assert all(trial.user_attrs["point"]["kind"] in RANGES_KINDS for trial in members)


RANGES_KINDS = {name.partition(".")[0] for name in RANGES}
