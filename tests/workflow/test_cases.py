"""Studies that change one thing at a time, from the world to the tables; and what cases share."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from corpus.errors import InputError
from corpus.sources import SimulatedWorld
from rankers.settings import TrainingSettings
from tests.conftest import with_settings
from workflow.ablate import ablate
from workflow.ablations import Ablations, changes_of
from workflow.cases import DEFAULT, Case, places_of
from workflow.conditions import headline_conditions
from workflow.levels import Levels
from workflow.sensitivity import sensitivity

WORLD = SimulatedWorld(queries=90, documents=80, candidates_per_query=5)
ONE_LEVEL = Levels([], [], [0.4], [], [])
ONE_STRATEGY = Ablations(["selection"], [], [], [], [], [], [])
CONDITIONS = {name: headline_conditions()[name] for name in ("click", "annotation")}
TRAINING = with_settings(TrainingSettings(), epochs=1, lists_per_step=4, max_length=32)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_tells_where_click_and_annotation_cross(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "study"
    sensitivity(output, WORLD, ONE_LEVEL, CONDITIONS, TRAINING)
    said = capfd.readouterr().out
    assert "3 rankers" in said, "the ranker of clicks does not depend on the judge"
    assert (output / "seed-0" / "judge_error_0.4" / "rankers" / "annotation").exists()
    assert not (output / "seed-0" / "judge_error_0.4" / "rankers" / "click").exists()
    assert not (output / "seed-0" / "judge_error_0.4" / "collection").exists()
    rows = pd.read_parquet(output / "sensitivity.parquet")
    assert set(rows["setting"]) == {"judge error"}
    of_all = rows[rows["bucket"] == "all"].set_index(["level", "ranker"])["value"]
    assert set(of_all.index) == {(a, b) for a in (0.044, 0.4) for b in ("click", "annotation")}
    assert of_all[0.044, "click"] == of_all[0.4, "click"]
    differences = pd.read_parquet(output / "differences.parquet").set_index(["level", "bucket"])
    for level in (0.044, 0.4):
        difference = of_all[level, "click"] - of_all[level, "annotation"]
        assert differences.loc[(level, "all"), "difference"] == pytest.approx(difference)
    assert differences["p_holm"].notna().sum() > 2
    crossings = (output / "crossings.md").read_text()
    assert crossings in said
    assert "| judge error | all |" in crossings
    assert "Where click and annotation cross" in (output / "report.html").read_text()

    others = {"click": CONDITIONS["click"], "annotation": headline_conditions()["one half"]}
    with pytest.raises(InputError, match="was begun with conditions"):
        sensitivity(output, WORLD, ONE_LEVEL, others, TRAINING, resume=True)
    sensitivity(output, WORLD, ONE_LEVEL, CONDITIONS, TRAINING, resume=True)
    assert "trained," not in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_makes_again_what_a_change_touches_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = {"annotation": headline_conditions()["annotation"]}
    ablate(tmp_path / "study", WORLD, ONE_STRATEGY, alone, TRAINING)
    said = capfd.readouterr().out
    assert "2 rankers" in said
    cases = tmp_path / "study" / "seed-0"
    made = {case.name: {path.name for path in case.iterdir()} for case in cases.iterdir()}
    own = {"annotations", "shrunk", "fusion", "rankers", "evaluation"}
    assert made == {"default": own | {"collection", "clicks", "tokens"}, "strategy_selection": own}
    differences = pd.read_parquet(tmp_path / "study" / "differences.parquet")
    assert set(differences["setting"]) == {"strategy"}
    assert "all" in set(differences["bucket"])
    assert "| strategy | selection | 1 | annotation |" in said


def test_what_two_cases_have_in_common_is_made_once(tmp_path: Path) -> None:
    given = replace(ONE_STRATEGY, heads=["two"])
    cases = {name: change.case for name, change in changes_of(given, Case(WORLD)).items()}
    cases = {DEFAULT: Case(WORLD), **cases, "crowded": Case(replace(WORLD, sessions=900))}
    folder = tmp_path / "seed-3"
    places = {place.name: place for place in places_of(tmp_path, cases, seed=3)}
    made = {name: (place.world.name, place.judged.name) for name, place in places.items()}
    assert made == {
        DEFAULT: (DEFAULT, DEFAULT),
        "strategy_selection": (DEFAULT, "strategy_selection"),
        "heads_two": (DEFAULT, DEFAULT),
        "crowded": ("crowded", "crowded"),
    }
    assert places["heads_two"].folder == folder / "heads_two"
