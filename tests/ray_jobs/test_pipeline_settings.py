"""A pipeline looks through all its settings before it writes anything."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from annotation.engines.endpoint import Endpoint
from corpus.errors import InputError
from rankers.mixes import Constant, Evidence, FrequencySigmoid, Stage, Staged
from rankers.settings import TrainingSettings
from rankers.training.storage import claim_store, place_within
from ray_jobs.command_line import job_parser, parse
from tests.conftest import with_settings
from workflow.pipeline import STAGES, better_signal, default_arms, run_pipeline
from workflow.settings_checks import check_stages

REPOSITORY = Path(__file__).resolve().parents[2]


changed = partial(with_settings, TrainingSettings())


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        (
            {"train": {"training": changed(backbone="./no/backbone")}},
            r"train: ./no/backbone",
        ),
        (
            {"train": {"training": changed(learning_rate=-1.0)}},
            "train: .*learning_rate",
        ),
        (
            {"train": {"training": changed(epochs=0)}},
            r"train: training\..*epochs",
        ),
        ({"train": {"checkpoints": "nowhere://a/b"}}, "train: checkpoints: nowhere://"),
        (
            {"tune": {"training": changed(backbone="./no/backbone")}},
            "tune: ./no/backbone",
        ),
        ({"tune": {"trials": 0}}, "tune: trials"),
        (
            {
                "fit_clicks": {"context": "device"},
                "tune": {
                    "training": with_settings(
                        TrainingSettings(), click_objective="propensity_ratio"
                    )
                },
            },
            "tune: click_objective propensity_ratio .* by device",
        ),
        ({"tune": {"grace_epochs": 0}}, "tune: grace_epochs"),
        ({"annotate": {"model": "./no/judge"}}, "annotate: ./no/judge"),
        ({"annotate": {"prompt": Path("no/prompt.jinja")}}, "annotate: no/prompt.jinja"),
        ({"annotate": {"examples": Path("no/examples.yaml")}}, "annotate: no/examples.yaml"),
        ({"annotate": {"criterion": "beauty"}}, "annotate: beauty"),
        ({"annotate": {"batch_size": 0}}, "annotate: batch_size"),
        ({"annotate": {"buckets": "high,lwo"}}, "annotate: .*lwo"),
        ({"annotate": {"engine": Endpoint("http://localhost")}}, "annotate: give --model"),
        ({"fit_clicks": {"max_weight": 0.5}}, "fit_clicks: max_weight"),
        ({"fit_clicks": {"resamples": -1}}, "fit_clicks: resamples"),
        ({"evaluate": {"scorers": 0}}, "evaluate: scorers"),
        ({"evaluate": {"baseline": "clicks"}}, "evaluate: the baseline 'clicks' is none of first"),
        (
            {"evaluate": {"runs": {"famol": Path("a.run")}}},
            "evaluate: 'famol' names a ranker and a",
        ),
        ({"prepare": {"bucket_cuts": (7, 3)}}, "prepare: bucket_cuts"),
        ({"prepare": {"held_out": 1.5}}, "prepare: held_out"),
    ],
)
def test_a_setting_that_cannot_be_right_is_found_first(
    tmp_path: Path, stages: dict[str, dict[str, Any]], told: str
) -> None:
    with pytest.raises(InputError, match=f"^{told}"):
        run_pipeline(tmp_path / "out", stages=stages)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["../../escaped"], "the arm name"),
        (["a/b"], "the arm name"),
        ([""], "the arm name"),
        (["a b", "a_b"], "become one file name"),
        (["Tuned"], "become one file name"),
        (["first stage"], "become one file name"),
        (["tuned"], "made by the pipeline"),
    ],
)
def test_arms_without_a_folder_of_their_own_are_refused(
    tmp_path: Path, names: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run_pipeline(tmp_path / "out", dict.fromkeys(names, Constant(1.0)), stages={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("job", "place"), [("train", "click"), ("tune", "tuning")])
def test_checkpoints_of_another_training_are_found_first(
    tmp_path: Path, job: str, place: str
) -> None:
    store = str(tmp_path / "store")
    claim_store(place_within(store, place), job, {"seed": 1})
    with pytest.raises(InputError, match=rf"^{job}: {store}/{place}: holds the checkpoints"):
        run_pipeline(tmp_path / "out", stages={job: {"checkpoints": store}})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("at_once", "train", "told"),
    [
        (0, {}, "arms_at_once must be at least 1, not 0"),
        (2, {"training": changed(use_gpu=True)}, "train.training.resources.use_gpu asks for"),
        (2, {"checkpoints": "store"}, "train.checkpoints asks for what arms side by side"),
    ],
)
def test_arms_side_by_side_are_refused_what_one_process_cannot_do(
    tmp_path: Path, at_once: int, train: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        run_pipeline(tmp_path / "out", arms_at_once=at_once, stages={"train": train})
    assert list(tmp_path.iterdir()) == []


def test_each_arm_is_looked_at(tmp_path: Path) -> None:
    arms = {"click": Constant(1.0), "evidence": Evidence()}
    stages = {"train": {"training": changed(heads="two")}}
    with pytest.raises(InputError, match=r"^train: two heads .* Evidence"):
        run_pipeline(tmp_path / "out", arms, stages=stages)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("config", ["demo.yaml", "cranfield.yaml"])
def test_the_settings_of_the_configs_can_be_right(
    monkeypatch: pytest.MonkeyPatch, cranfield: Path, config: str
) -> None:
    path = REPOSITORY / "configs" / config
    arguments = ["--config", str(path), "--train.training.model.backbone", "small-bert"]
    arguments += ["--tune.training.model.backbone", "small-bert"]
    if config == "cranfield.yaml":
        arguments += ["--prepare.source.path", str(cranfield)]
    monkeypatch.setattr(sys, "argv", ["pipeline.py", *arguments])
    parser = job_parser("pipeline", "")
    parser.add_function_arguments(run_pipeline, skip={"stages", "resume"})
    for stage, (job, wired) in STAGES.items():
        parser.add_function_arguments(job, stage, skip=wired)
    stages = {name: value for name, value in parse(parser, "pipeline").items() if name in STAGES}
    jobs = {name: job for name, (job, _) in STAGES.items()}
    check_stages(jobs, stages, default_arms(), {"train": ["famol"], "tune": []}, False, False)


def test_the_arms_by_default() -> None:
    """Each signal alone, one after the other, and by frequency."""
    assert default_arms() == {
        "click": Constant(1.0),
        "annotation": Constant(0.0),
        "schedule": Staged([Stage(0.5, 0.0), Stage(0.5, 1.0)]),
        "famol": FrequencySigmoid(midpoint=None, steepness=1.0),
    }


def test_mixes_are_compared_with_the_signal_that_validates_best(tmp_path: Path) -> None:
    histories = {"click": [0.5, 0.8], "annotation": [0.7, 0.6], "schedule": [0.9], "famol": [0.9]}
    for name, values in histories.items():
        (tmp_path / name).mkdir()
        history = [{"epoch": epoch, "validation_ndcg": value} for epoch, value in enumerate(values)]
        (tmp_path / name / "history.json").write_text(json.dumps([*history, {"epoch": 9}]))
    folders = {name: tmp_path / name for name in histories}
    assert better_signal(default_arms(), folders) == "click"
    assert better_signal({"famol": FrequencySigmoid()}, folders) is None
