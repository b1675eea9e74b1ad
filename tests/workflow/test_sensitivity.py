"""The study of sensitivity: its settings as shipped, and what it refuses before it begins."""

from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.sources import SimulatedWorld
from rankers.settings import TrainingSettings
from tests.conftest import REPOSITORY, with_settings
from tests.ray_jobs.conftest import parse_job
from workflow.conditions import headline_conditions
from workflow.levels import Levels
from workflow.sensitivity import sensitivity

CONDITIONS = {name: headline_conditions()[name] for name in ("click", "annotation")}
TRAINING = with_settings(TrainingSettings(), epochs=1, lists_per_step=4, max_length=32)


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
