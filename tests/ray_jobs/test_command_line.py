import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import EndpointConnectionError

from annotation.annotate import annotate
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from rankers.evaluate import evaluate
from rankers.mixes import Constant, FrequencySigmoid, Mix, Piecewise, Product, Ramp, Stage, Staged
from rankers.mixes.encoding import encode_mix
from rankers.train import train
from ray_jobs.command_line import run
from tests.ray_jobs.conftest import parse_job, refusal
from tuning.tune import tune
from workflow.conditions import Condition
from workflow.reproduce import reproduce

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS = [path.stem for path in (REPOSITORY / "ray_jobs").glob("*.py") if path.stem[0] != "_"]
JOBS.remove("command_line")
# What takes seconds to import.
HEAVY = ("ray", "torch", "transformers", "vllm")


def test_a_place_is_a_folder_or_a_url_that_something_serves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse_job(monkeypatch, "prepare", prepare, "--output", "runs/x")
    assert arguments["output"] == Path("runs/x")
    arguments = parse_job(monkeypatch, "prepare", prepare, "--output", "s3://bucket/x")
    assert str(arguments["output"]) == "s3://bucket/x"
    told = refusal(monkeypatch, capsys, prepare, "--output", "hdf5://bucket/x")
    assert "nothing serves hdf5://" in told


def test_mixes_come_from_flags_and_from_yaml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ["--collection", "c", "--output", "o"]
    flags = ["--mix", "FrequencySigmoid", "--mix.midpoint", "7"]
    flags += ["--training.optimization.epochs", "2"]
    arguments = parse_job(monkeypatch, "train", train, *given, *flags)
    assert arguments["mix"] == FrequencySigmoid(midpoint=7)
    assert arguments["training"].optimization.epochs == 2
    config = tmp_path / "staged.yaml"
    config.write_text(
        "mix:\n  class_path: Staged\n  init_args:\n    stages:\n"
        "    - {share: 0.3, click_weight: 1}\n    - {share: 0.7, click_weight: 0}\n"
    )
    arguments = parse_job(monkeypatch, "train", train, "--config", str(config), *given)
    assert arguments["mix"] == Staged([Stage(0.3, 1.0), Stage(0.7, 0.0)])
    assert arguments["resume"] is False


@pytest.mark.parametrize(
    "mix",
    [
        Product([FrequencySigmoid(7.0), Product([Ramp("cosine", 0.1)])]),
        Piecewise([Constant(1e-5), Product([Ramp()]), Constant(1.0)], [1 / 3, 2 / 3]),
        Staged([Stage(0.3, 1.0), Stage(0.7, 0.0, ["high", "low"])]),
    ],
)
def test_a_mix_in_a_file_is_a_setting_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mix: Mix
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"collection": "c", "output": "o", "mix": encode_mix(mix)}))
    assert parse_job(monkeypatch, "train", train, "--config", str(config))["mix"] == mix


def test_each_job_reads_its_section_of_a_pipelines_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = ["--config", str(REPOSITORY / "configs" / "demo.yaml")]
    arguments = parse_job(monkeypatch, "prepare", prepare, *demo, "--output", "o", "--resume")
    assert isinstance(arguments["source"], SimulatedWorld)
    assert arguments["source"].queries == 900
    assert arguments["resume"] is True
    labels = ["--collection", "c", "--output", "o", "--click_labels", "l", "--annotations", "a"]
    arguments = parse_job(monkeypatch, "tune", tune, *demo, *labels)
    assert arguments["training"].resources.workers == 1
    arguments = parse_job(monkeypatch, "annotate", annotate, *demo, *labels[:4])
    assert arguments["model"] == "demo-judge"


def test_rankers_to_evaluate_are_named_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["--collection", "c", "--output", "o", "--rankers.click", "r1", "--rankers.famol", "r2"]
    arguments = parse_job(monkeypatch, "evaluate", evaluate, *given)
    assert arguments["rankers"] == {"click": Path("r1"), "famol": Path("r2")}


@pytest.mark.parametrize(
    ("yaml", "wrong", "right"),
    [
        (
            "training: {optimization: {epoch: 3}}",
            "optimization.epoch",
            "training.optimization.epochs",
        ),
        ("training: {epochs: 3}", "epochs", "training.optimization.epochs"),
        (
            "trainning: {optimization: {epochs: 3}}",
            "trainning.optimization",
            "training.optimization.epochs",
        ),
        ("click_label: x", "click_label", "click_labels"),
    ],
)
def test_an_unknown_setting_is_named_with_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    yaml: str,
    wrong: str,
    right: str,
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(f"collection: c\noutput: o\n{yaml}\n")
    message = refusal(monkeypatch, capsys, train, "--config", str(config))
    assert f"'{wrong}" in message
    assert f"did you mean '{right}'?" in message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--collection", "c"], "output"),
        (["--collection", "c", "--output", "o", "--mix", "Sometimes"], "Sometimes"),
        (["--collection", "c", "--output", "o", "--training.optimization.epochs", "many"], "many"),
        (
            ["--collection", "c", "--output", "o", "--mix", "Constant", "--mix.click_weight", "2"],
            "click_weight must be between 0 and 1, not 2.0",
        ),
    ],
)
def test_wrong_arguments_end_in_one_clear_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    assert told in refusal(monkeypatch, capsys, train, *arguments)


def test_a_config_that_is_not_yaml_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "broken.yaml"
    config.write_text("a: [1, 2")
    assert "is not YAML" in refusal(monkeypatch, capsys, train, "--config", str(config))


@pytest.mark.parametrize("job", JOBS)
def test_help_explains_every_setting(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{job}.py", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "ray_jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code in (None, 0)
    shown = capsys.readouterr().out
    settings = re.split(r"\n  (?=--)", shown)[1:]
    assert len(settings) > 4
    unexplained = [
        setting.splitlines()[0]
        for setting in settings
        if not re.search(r"[a-z]{2}", re.sub(r"\(.*?\)", "", setting.split(maxsplit=2)[-1]))
    ]
    assert unexplained == []


def test_help_imports_nothing_that_takes_seconds() -> None:
    shows = f"""
import runpy, sys
for job in {JOBS}:
    sys.argv = [job, "--help"]
    try:
        runpy.run_path(f"ray_jobs/{{job}}.py", run_name="__main__")
    except SystemExit:
        print(job, *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", shows],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert ended.stderr.splitlines() == JOBS


def test_constant_mixes_need_no_other_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--collection", "c", "--output", "o", "--mix", "Constant", "--mix.click_weight", "1"]
    assert parse_job(monkeypatch, "train", train, *given)["mix"] == Constant(1.0)


def test_an_empty_argument_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--collection", "c", "--output", "o", "--click_labels", ""]
    assert parse_job(monkeypatch, "train", train, *given)["click_labels"] == Path()


def test_conditions_of_a_study_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    mix = {"class_path": "FrequencySigmoid", "init_args": {"midpoint": 7.0}}
    given = {
        "famol": {"mix": mix},
        "fusion": {"mix": {"class_path": "Constant"}, "labels": "fusion"},
    }
    flags = ["--output", "out", "--conditions", json.dumps(given)]
    assert parse_job(monkeypatch, "reproduce", reproduce, *flags)["conditions"] == {
        "famol": Condition(FrequencySigmoid(7.0)),
        "fusion": Condition(Constant(), "fusion"),
    }


def test_a_store_that_is_away_ends_a_job_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    with pytest.raises(SystemExit) as stopped:
        run(work)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        'error: Could not connect to the endpoint URL: "http://127.0.0.1:9"; once the store '
        "answers, the same command with --resume goes on\n"
    )
