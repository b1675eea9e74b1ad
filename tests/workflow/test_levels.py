"""The worlds of a study of sensitivity: its levels, what each changes, what is refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.groups import query_groups
from corpus.prepare import prepare
from corpus.simulation.world import simulate_world
from corpus.sources import SimulatedWorld
from corpus.tables import Collection, read_collection, read_table, write_collection
from tests.conftest import REPOSITORY
from workflow.cases import DEFAULT, Case
from workflow.conditions import headline_conditions
from workflow.levels import Levels, cases_of, levels_of, own_rankers
from workflow.simulated_annotations import DEMO_JUDGE_ERROR, SimulatedJudge, annotate_simulated

WORLD = SimulatedWorld(queries=80, documents=60, candidates_per_query=5)


def levels(**given: list[float]) -> Levels:
    return Levels(**{name: given.get(name, []) for name in vars(Levels())})


def test_each_setting_has_the_default_worlds_level_among_its_own() -> None:
    given = levels(searches_per_query=[64, 2, 3.97], share_annotated=[0.1])
    lines = levels_of(given, WORLD)
    assert lines == {
        "searches_per_query": {
            2.0: "searches_per_query_2.0",
            3.97: DEFAULT,
            64.0: "searches_per_query_64.0",
        },
        "share_annotated": {0.1: "share_annotated_0.1", 1.0: DEFAULT},
    }
    cases = cases_of(lines, Case(WORLD))
    assert cases[DEFAULT] == Case(WORLD, SimulatedJudge(DEMO_JUDGE_ERROR, 1.0))
    assert cases["searches_per_query_2.0"].world.sessions == 160
    assert cases["share_annotated_0.1"] == Case(WORLD, SimulatedJudge(share=0.1))
    assert len(cases) == 4
    crowded = levels_of(given, SimulatedWorld(queries=80, sessions=800))
    assert crowded["searches_per_query"][10.0] == DEFAULT


def test_a_ranker_is_trained_where_a_setting_changes_what_it_learns_from() -> None:
    headline = headline_conditions()
    conditions = {name: headline[name] for name in ("click", "annotation", "famol", "fusion")}
    lines = levels_of(levels(click_noise=[0.5], judge_error=[0.3], searches_per_query=[2]), WORLD)
    assert own_rankers(lines, conditions) == {
        DEFAULT: ["click", "annotation", "famol", "fusion"],
        "searches_per_query_2.0": ["click", "annotation", "famol", "fusion"],
        "click_noise_0.5": ["click", "famol", "fusion"],
        "judge_error_0.3": ["annotation", "famol", "fusion"],
    }


@pytest.mark.parametrize("change", [{"click_noise": 0.5}, {"position_bias": 2.0}])
def test_settings_of_clicks_change_nothing_else_in_a_world(change: dict[str, float]) -> None:
    # So that a ranker of annotations alone need not be trained again.
    default, changed = (
        simulate_world(3, **asdict(WORLD) | differs).collection for differs in ({}, change)
    )
    for name in ("queries", "documents", "candidates", "judgments"):
        assert getattr(changed, name).equals(getattr(default, name)), name
    shown = [table.drop_columns("clicks") for table in (default.sessions, changed.sessions)]
    assert shown[0].equals(shown[1])
    assert not changed.sessions.equals(default.sessions)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"searches_per_query": [0.5]}, "searches_per_query must be at least 1, not 0.5"),
        ({"searches_per_query": [float("nan")]}, "searches_per_query must be at least 1"),
        ({"click_noise": [1.5]}, "click_noise is a probability"),
        ({"position_bias": [-1]}, "position_bias is an exponent"),
        (
            {"judge_error": [0.5]},
            "levels.judge_error: a judge's error is from 0 to below 0.5",
        ),
        (
            {"share_annotated": [0]},
            "levels.share_annotated: a share annotated is above 0, up to 1",
        ),
    ],
)
def test_levels_that_cannot_be_are_refused(wrong: dict[str, list[float]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        cases_of(levels_of(levels(**wrong), WORLD), Case(WORLD))


def test_the_default_error_is_that_of_the_judge_which_is_shipped() -> None:
    report = REPOSITORY / "annotation" / "demo_judge" / "checkpoint" / "judge_report.json"
    accuracy = json.loads(report.read_text())["accuracy"]
    assert pytest.approx(1 - accuracy) == DEMO_JUDGE_ERROR


def test_a_smaller_share_is_annotated_within_a_larger_one(tmp_path: Path) -> None:
    collection = tmp_path / "collection"
    prepare(collection, WORLD, seed=1)
    annotations: dict[float, pa.Table] = {}
    for share in (1.0, 0.25):
        place = tmp_path / str(share)
        annotate_simulated(collection, place, SimulatedJudge(0.0, share), seed=1)
        annotations[share] = read_table(place, "annotations")
    groups = query_groups(read_collection(collection))
    supervised = set(groups.filter(groups["supervised"])["query_id"].to_pylist())
    whole, part = (set(table["query_id"].to_pylist()) for table in annotations.values())
    assert whole == supervised
    assert part < whole
    assert len(part) == round(0.25 * len(whole))
    pair = ["query_id", "doc_id"]
    topical = simulate_world(1, **asdict(WORLD)).topical_grades.to_pandas()
    read = annotations[1.0].to_pandas().merge(topical, on=pair, suffixes=("", "_topical"))
    assert len(read) == 5 * len(supervised)
    assert (read["expected_grade"] == read["grade_topical"]).all(), "a judge who never errs"
    annotate_simulated(collection, tmp_path / "poor", SimulatedJudge(0.4), seed=1)
    poor = read_table(tmp_path / "poor", "annotations").to_pandas().merge(topical, on=pair)
    assert (poor["grade_x"] != poor["grade_y"]).mean() == pytest.approx(0.4, abs=0.08)


def test_elsewhere_a_judge_reads_human_grades_as_parts_of_the_highest(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    # The grades are 3 and 1 of q1's two candidates, and 2 of one of q2's.
    write_collection(tiny_collection, tmp_path / "collection")
    annotate_simulated(tmp_path / "collection", tmp_path / "read", SimulatedJudge(0.0), seed=0)
    read = read_table(tmp_path / "read", "annotations").to_pydict()
    graded = zip(read["query_id"], read["doc_id"], read["grade"], strict=True)
    assert list(graded) == [("q1", "d1", 3), ("q1", "d2", 1)], "of supervised queries alone"


def test_without_grades_a_simulated_judge_is_refused(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    unjudged = replace(tiny_collection, judgments=tiny_collection.judgments.slice(0, 0))
    write_collection(unjudged, tmp_path / "collection")
    with pytest.raises(InputError, match="no pair has a grade above 0"):
        annotate_simulated(tmp_path / "collection", tmp_path / "read", SimulatedJudge(), seed=0)
    assert not (tmp_path / "read").exists()
