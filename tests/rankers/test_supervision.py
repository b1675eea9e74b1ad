"""What training is given is refused before anything is started where it cannot be used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.tables import Collection, write_collection, write_table
from rankers.mixes import Constant, Mix
from rankers.settings import TrainingSettings
from rankers.settings_checks import check_training_settings
from rankers.supervision import SupervisedLists, read_supervised_lists
from tests.conftest import make_table, with_settings

CLICKED = {("q1", "d1"): 0.02, ("q1", "d2"): 0.0, ("q2", "d3"): 0.01, ("q2", "d4"): 0.03}


def read(
    folder: Path,
    collection: Collection,
    labels: dict[tuple[str, str], float],
    mix: Mix | None = None,
    **settings: Any,
) -> SupervisedLists:
    """From click labels alone: q1 is for training, q2 for validation."""
    write_collection(collection, folder / "collection")
    rows = [(*pair, label, 100, 2, "ipw", None) for pair, label in labels.items()]
    write_table(make_table("click_labels", rows), folder / "clicks", "click_labels")
    training = with_settings(TrainingSettings(), workers=1, **settings)
    check_training_settings(training, mix)
    return read_supervised_lists(
        folder / "collection", folder / "clicks", None, mix or Constant(1.0), training
    )


def graded(collection: Collection, grade: int) -> Collection:
    judgments = collection.judgments
    grades = pa.array([grade] * judgments.num_rows, judgments["grade"].type)
    place = judgments.schema.get_field_index("grade")
    return replace(collection, judgments=judgments.set_column(place, "grade", grades))


def test_human_grades_select_the_epoch(tmp_path: Path, tiny_collection: Collection) -> None:
    yardstick = read(tmp_path, tiny_collection, CLICKED).yardstick
    assert yardstick.to_pylist() == [{"query_id": "q2", "doc_id": "d3", "grade": 2}]


def test_where_all_grades_are_zero_the_labels_select_and_it_is_said(
    tmp_path: Path, tiny_collection: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    yardstick = read(tmp_path, graded(tiny_collection, 0), CLICKED).yardstick
    assert yardstick["gain"].to_pylist() == [0.01, 0.03]
    assert "chosen by the click labels" in capsys.readouterr().err


def test_clicks_alone_are_measured_as_every_trial_of_a_search_is(
    tmp_path: Path, tiny_collection: Collection
) -> None:
    """Else `train` would take another epoch of the same ranker."""
    read(tmp_path, graded(tiny_collection, 0), CLICKED)
    grades = {("q1", "d1"): 2, ("q2", "d3"): 3, ("q2", "d4"): 1}
    rows = [
        (*pair, "a", "pointwise", "p", g, float(g), 1.0, 1.0, None, None)
        for pair, g in grades.items()
    ]
    write_table(make_table("annotations", rows), tmp_path / "llm", "annotations")
    folders = tmp_path / "collection", tmp_path / "clicks", tmp_path / "llm"
    training = with_settings(TrainingSettings(), workers=1)
    alone, searched = (
        read_supervised_lists(*folders, mix, training).yardstick for mix in (Constant(1.0), None)
    )
    assert alone.equals(searched)
    assert alone["gain"].to_pylist() == [3.0, 1.0]


def test_training_that_could_not_select_an_epoch_is_refused(
    tmp_path: Path, tiny_collection: Collection
) -> None:
    labels = CLICKED | {("q2", "d3"): 0.0, ("q2", "d4"): 0.0}
    with pytest.raises(InputError, match="collection: nothing tells rankings of the 1 validation"):
        read(tmp_path, graded(tiny_collection, 0), labels)


def test_judged_queries_of_the_log_train_in_production_and_their_grades_only_validate(
    tmp_path: Path, tiny_collection: Collection
) -> None:
    supervised = tiny_collection.splits.set_column(3, "supervised", pa.array([True, True, False]))
    production = replace(tiny_collection, splits=supervised)
    # Clicks and human grades of q2 disagree: training gets the one, validation the other.
    other = make_table("judgments", [("q1", "d1", 3), ("q2", "d3", 0), ("q2", "d4", 3)])
    lists = read(tmp_path, replace(production, judgments=other), CLICKED)
    assert lists.training["query_id"].to_pylist() == ["q1", "q2"]
    assert lists.training["click_label"].to_pylist() == [[0.02, 0.0], [0.01, 0.03]]
    assert lists.validation["query_id"].to_pylist() == ["q2"]
    assert lists.yardstick["grade"].to_pylist() == [0, 3]
    held = set(lists.training.column_names)
    assert held.isdisjoint({"grade", "gain", "judgments"})


def test_under_strict_nothing_of_other_queries_trains(
    tmp_path: Path, tiny_collection: Collection
) -> None:
    lists = read(tmp_path, tiny_collection, CLICKED)
    assert lists.training["query_id"].to_pylist() == ["q1"]
    pages = read(tmp_path / "pages", tiny_collection, CLICKED, click_objective="naive").training
    assert pages["query_id"].to_pylist() == ["q1"]
    nobody = tiny_collection.splits.set_column(3, "supervised", pa.array([False] * 3))
    with pytest.raises(InputError, match="no query that training may read has candidates"):
        read(tmp_path / "none", replace(tiny_collection, splits=nobody), CLICKED)


@pytest.mark.parametrize("labels", [{}, dict.fromkeys(CLICKED, 0.0), {("q2", "d3"): 1.0}])
def test_training_that_could_learn_from_nothing_is_refused(
    labels: dict[tuple[str, str], float], tmp_path: Path, tiny_collection: Collection
) -> None:
    with pytest.raises(InputError, match=r"clicks: no click label of a candidate .* is above 0"):
        read(tmp_path, tiny_collection, labels)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("gradient_clip", 0.0),
        ("weight_decay", -0.1),
        ("weight_decay", float("nan")),
        ("cpus_per_worker", 0.0),
    ],
)
def test_settings_by_which_nothing_would_be_learned_are_refused(
    name: str, value: float, tmp_path: Path, tiny_collection: Collection
) -> None:
    with pytest.raises(InputError, match=rf"training\.\w+\.{name} must be"):
        read(tmp_path, tiny_collection, CLICKED, **{name: value})


@pytest.mark.parametrize("max_length", [3, 513])
def test_a_length_that_the_small_bert_does_not_take_is_refused_before_it_is_built(
    max_length: int,
) -> None:
    for taken in (4, 512):
        check_training_settings(with_settings(TrainingSettings(), max_length=taken), None)
    said = rf"small-bert takes pairs of 4 to 512 tokens.*max_length is {max_length}"
    with pytest.raises(InputError, match=said):
        check_training_settings(with_settings(TrainingSettings(), max_length=max_length), None)
