import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

from corpus.errors import InputError
from rankers.mixes import Constant, FrequencySigmoid, Mix, Piecewise, TrainingLog
from rankers.mixes.encoding import encode_mix
from rankers.settings import OptimizationSettings, TrainingSettings
from tuning.known_points import earlier_best, known_points
from tuning.space import SearchSpace, propose
from workflow.conditions import headline_conditions, labels_beside_annotations
from workflow.pipeline import FUSION, default_arms

LABELS = ("clicks", "shrunk", "fusion")
USUAL = TrainingSettings()
LOG = TrainingLog(np.array([1, 2, 4, 9, 100]), np.array([0.0, 1.0, 2.0, 4.0, 8.0]))


def proposed(
    space: SearchSpace, labels: tuple[str, ...] = LABELS, training: TrainingSettings = USUAL
) -> dict[str, tuple[Mix, str, TrainingSettings]]:
    """What an Optuna study proposes of the known points, which are put in its queue."""
    study = optuna.create_study()
    points = known_points(space, labels, training)
    for point in points.values():
        study.enqueue_trial(point)
    found = {}
    for name, point in points.items():
        trial = study.ask()
        proposal = propose(trial, space, LOG, training, labels)
        assert trial.params == point
        found[name] = (proposal.mix, proposal.labels, proposal.training)
    return found


def test_known_points_are_what_the_pipeline_and_the_study_have_under_their_names() -> None:
    expected = {
        name: (mix.settled(LOG), labels_beside_annotations(mix), USUAL)
        for name, mix in default_arms().items()
    }
    conditions = headline_conditions()
    for name in ("click", "annotation", "one half", "staged by frequency", "famol", "fusion"):
        condition = conditions[name]
        of_name = (condition.mix.settled(LOG), condition.labels, USUAL)
        assert expected.setdefault(name, of_name) == of_name
    found = proposed(SearchSpace())
    assert found == expected
    assert found["famol"][0] == FrequencySigmoid(4.0)
    assert found[FUSION] == (Constant(1.0), "fusion", USUAL)
    assert found["schedule"][:2] == (conditions["annotation then click"].mix, "clicks")


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (SearchSpace(mixes=["Ramp"]), []),
        (SearchSpace(mixes=["FrequencySigmoid", "Ramp"]), ["famol"]),
        (
            SearchSpace(ranges={"Constant.click_weight": [0, 0.4], "Staged.switch": [0.6, 0.9]}),
            ["annotation", "famol"],
        ),
        (SearchSpace(mixes="Constant", ranges={"Constant.click_weight": 0.5}), ["one half"]),
        (SearchSpace(mixes="Constant", labels="fusion"), ["fusion"]),
        (
            SearchSpace(mixes="Staged", ranges={"Staged.click_buckets": "high"}),
            ["staged by frequency"],
        ),
    ],
)
def test_only_points_of_the_space_are_known(space: SearchSpace, names: list[str]) -> None:
    assert list(proposed(space)) == names


def test_where_there_is_one_kind_of_labels_all_learn_from_it() -> None:
    found = proposed(SearchSpace(), labels=("mine",))
    assert {labels for _, labels, _ in found.values()} == {"mine"}
    assert "fusion" not in found
    assert len(found) == 6


def test_known_points_have_the_trainings_settings_or_the_nearest() -> None:
    training = TrainingSettings(optimization=OptimizationSettings(learning_rate=5e-4))
    ranges: dict[str, Any] = {"optimization.learning_rate": [1e-4, 1e-3]}
    for _, _, found in proposed(SearchSpace(ranges=ranges), training=training).values():
        assert found == training
    ranges = {"optimization.learning_rate": [1e-5, 1e-4], "objective.loss": "listmle"}
    for _, _, found in proposed(SearchSpace(ranges=ranges), training=training).values():
        assert found.optimization.learning_rate == 1e-4
        assert found.objective.loss == "listmle"


BEST = FrequencySigmoid(9.0, 2.0)
PARAMETERS = {
    "kind": "FrequencySigmoid",
    "labels": "shrunk",
    "FrequencySigmoid.midpoint_quantile": 0.75,
    "FrequencySigmoid.steepness": 2.0,
}


def earlier(
    folder: Path, parameters: dict[str, Any] = PARAMETERS, training: TrainingSettings = USUAL
) -> Path:
    """What a search leaves of three trials, two of them with the best mix."""
    folder.mkdir()
    best = {"mix": encode_mix(BEST), "training": training.deciding}
    (folder / "best.yaml").write_text(yaml.safe_dump(best))
    mix = json.dumps(encode_mix(BEST))
    other = {"kind": "Constant", "labels": "clicks", "Constant.click_weight": 1.0}
    rows = [
        parameters | {"number": 0, "mix": mix, "nDCG@10_all": 0.5},
        other | {"number": 1, "mix": json.dumps(encode_mix(Constant(1.0))), "nDCG@10_all": 0.9},
        parameters | {"number": 2, "mix": mix, "labels": "clicks", "nDCG@10_all": None},
    ]
    pd.DataFrame(rows).to_parquet(folder / "trials.parquet")
    return folder


def test_the_best_of_an_earlier_search_is_a_point_of_this_one(tmp_path: Path) -> None:
    point = earlier_best(earlier(tmp_path / "old"), SearchSpace(), LABELS, USUAL)
    assert point == PARAMETERS
    study = optuna.create_study()
    study.enqueue_trial(point)
    proposal = propose(study.ask(), SearchSpace(), LOG, USUAL, LABELS)
    assert (proposal.mix, proposal.labels) == (BEST, "shrunk")


def test_what_an_earlier_search_did_not_choose_it_was_trained_with(tmp_path: Path) -> None:
    training = TrainingSettings(optimization=OptimizationSettings(learning_rate=5e-4))
    space = SearchSpace(ranges={"optimization.learning_rate": [1e-4, 1e-3]})
    point = earlier_best(earlier(tmp_path / "old", training=training), space, LABELS, USUAL)
    assert point == PARAMETERS | {"optimization.learning_rate": 5e-4}


@pytest.mark.parametrize(
    ("space", "labels", "told"),
    [
        (SearchSpace(mixes="Ramp"), LABELS, "kind is FrequencySigmoid, and the space has Ramp"),
        (SearchSpace(), ("clicks",), "labels is shrunk, and the space has clicks"),
        (
            SearchSpace(ranges={"FrequencySigmoid.steepness": [0.5, 1.5]}),
            LABELS,
            "FrequencySigmoid.steepness is 2.0, and the space has 0.5 to 1.5",
        ),
        (
            SearchSpace(ranges={"optimization.learning_rate": [1e-5, 1e-4]}),
            LABELS,
            "optimization.learning_rate is 0.001, and the space has 1e-05 to 0.0001",
        ),
    ],
)
def test_a_best_trial_outside_of_the_space_is_refused(
    tmp_path: Path, space: SearchSpace, labels: tuple[str, ...], told: str
) -> None:
    with pytest.raises(InputError, match="is not in the space of this search") as refused:
        earlier_best(earlier(tmp_path / "old"), space, labels, USUAL)
    assert told in str(refused.value)
    assert str(tmp_path / "old") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_finished_search_is_refused(tmp_path: Path) -> None:
    def told(folder: Path) -> str:
        with pytest.raises(InputError) as refused:
            earlier_best(folder, SearchSpace(), LABELS, USUAL)
        assert str(folder) in str(refused.value)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    assert "holds no finished search" in told(tmp_path / "nowhere")
    broken = earlier(tmp_path / "broken")
    (broken / "trials.parquet").write_bytes(b"no parquet")
    assert "holds no finished search" in told(broken)
    for text in ("mix: [", "- 1", "mix: 3", "\x00"):
        (broken / "best.yaml").write_text(text)
        told(broken)
    without = earlier(tmp_path / "without", {"kind": "FrequencySigmoid", "labels": "clicks"})
    assert "nothing tells its FrequencySigmoid.midpoint_quantile" in told(without)
    changed = earlier(tmp_path / "changed")
    best = {"mix": encode_mix(Constant(0.3)), "training": {"optimization": 3}}
    (changed / "best.yaml").write_text(yaml.safe_dump(best))
    assert "none of its trials has the mix of its best.yaml" in told(changed)
    best["mix"] = encode_mix(Piecewise([Constant(0.3), BEST], [0.5]))
    (changed / "best.yaml").write_text(yaml.safe_dump(best))
    assert "a schedule that a population found" in told(changed)
    best["mix"] = encode_mix(BEST)
    (changed / "best.yaml").write_text(yaml.safe_dump(best))
    assert earlier_best(changed, SearchSpace(), LABELS, USUAL) == PARAMETERS
