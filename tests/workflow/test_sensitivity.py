"""The study of sensitivity: what it makes and leaves, and what it refuses before it begins."""

from pathlib import Path

import pandas as pd
import pytest

from corpus.errors import InputError
from corpus.sources import SimulatedWorld
from rankers.settings import TrainingSettings
from tests.conftest import REPOSITORY, with_settings
from tests.ray_jobs.conftest import parse_job
from workflow.conditions import headline_conditions
from workflow.levels import Levels
from workflow.sensitivity import sensitivity

WORLD = SimulatedWorld(queries=90, documents=80, candidates_per_query=5)
ONE = Levels([], [], [0.4], [], [])
CONDITIONS = {name: headline_conditions()[name] for name in ("click", "annotation")}
TRAINING = with_settings(TrainingSettings(), epochs=1, lists_per_step=4, max_length=32)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_tells_where_click_and_annotation_cross(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "study"
    sensitivity(output, WORLD, ONE, CONDITIONS, TRAINING)
    said = capfd.readouterr().out
    assert "3 rankers" in said, "the ranker of clicks does not depend on the judge"
    assert (output / "seed-0" / "judge_error_0.4" / "rankers" / "annotation").exists()
    assert not (output / "seed-0" / "judge_error_0.4" / "rankers" / "click").exists()
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
        sensitivity(output, WORLD, ONE, others, TRAINING, resume=True)
    sensitivity(output, WORLD, ONE, CONDITIONS, TRAINING, resume=True)
    assert "trained," not in capfd.readouterr().out


def test_the_settings_that_are_shipped_are_those_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = str(REPOSITORY / "configs" / "sensitivity.yaml")
    arguments = parse_job(monkeypatch, "sensitivity", sensitivity, "--config", config)
    assert arguments["levels"] == Levels()
    assert arguments["world"] == SimulatedWorld()
    assert arguments["training"].optimization.epochs == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"levels": Levels([], [], [], [], [])}, "levels are all empty"),
        ({"levels": Levels(click_noise=[2.0])}, "click_noise is a probability"),
        ({"conditions": {"click": CONDITIONS["click"]}}, "conditions lack 'annotation'"),
        ({"world": SimulatedWorld(judged=0.0)}, "judged must be above 0"),
        ({"world": SimulatedWorld(queries=0)}, "at least one query"),
        ({"seeds": 0}, "seeds and at_once must be at least 1"),
        ({"training": with_settings(TRAINING, epochs=0)}, "epochs must be at least 1"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_begins(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason):
        sensitivity(tmp_path / "study", **change)
    assert not (tmp_path / "study").exists()
