import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from annotation.annotate import annotate
from corpus.preparation import SimulatedWorld, prepare
from rankers.comparison import evaluate
from rankers.mixing import Constant, FrequencySigmoid, Stage, Staged
from rankers.training import train
from ray_jobs.command_line import job_parser, parse
from tuning.search import tune

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS = [path.stem for path in (REPOSITORY / "ray_jobs").glob("*.py") if path.stem[0] != "_"]
JOBS.remove("command_line")


def _parse(
    monkeypatch: pytest.MonkeyPatch, job: str, function: Any, *arguments: str
) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", [f"{job}.py", *arguments])
    parser = job_parser(job, "")
    parser.add_function_arguments(function, skip={"resume"})
    return parse(parser, job)


def _refusal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    function: Any,
    *arguments: str,
) -> str:
    with pytest.raises(SystemExit) as stopped:
        _parse(monkeypatch, function.__name__, function, *arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_mixes_come_from_flags_and_from_yaml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ["--collection", "c", "--output", "o"]
    flags = ["--mix", "FrequencySigmoid", "--mix.midpoint", "7", "--training.epochs", "2"]
    arguments = _parse(monkeypatch, "train", train, *given, *flags)
    assert arguments["mix"] == FrequencySigmoid(midpoint=7)
    assert arguments["training"].epochs == 2
    config = tmp_path / "staged.yaml"
    config.write_text(
        "mix:\n  class_path: Staged\n  init_args:\n    stages:\n"
        "    - {share: 0.3, click_weight: 1}\n    - {share: 0.7, click_weight: 0}\n"
    )
    arguments = _parse(monkeypatch, "train", train, "--config", str(config), *given)
    assert arguments["mix"] == Staged([Stage(0.3, 1.0), Stage(0.7, 0.0)])
    assert arguments["resume"] is False


def test_each_job_reads_its_section_of_a_pipelines_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = ["--config", str(REPOSITORY / "configs" / "demo.yaml")]
    arguments = _parse(monkeypatch, "prepare", prepare, *demo, "--output", "o", "--resume")
    assert isinstance(arguments["source"], SimulatedWorld)
    assert arguments["source"].queries == 400
    assert arguments["resume"] is True
    labels = ["--collection", "c", "--output", "o", "--click_labels", "l", "--annotations", "a"]
    arguments = _parse(monkeypatch, "tune", tune, *demo, *labels)
    assert arguments["training"].workers == 1
    arguments = _parse(monkeypatch, "annotate", annotate, *demo, *labels[:4])
    assert arguments["model"] == "demo-judge"


def test_rankers_to_evaluate_are_named_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ["--collection", "c", "--output", "o", "--rankers.click", "r1", "--rankers.famol", "r2"]
    arguments = _parse(monkeypatch, "evaluate", evaluate, *given)
    assert arguments["rankers"] == {"click": Path("r1"), "famol": Path("r2")}


@pytest.mark.parametrize(
    ("yaml", "wrong", "right"),
    [
        ("training: {epoch: 3}", "epoch", "training.epochs"),
        ("trainning: {epochs: 3}", "trainning.epochs", "training.epochs"),
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
    message = _refusal(monkeypatch, capsys, train, "--config", str(config))
    assert f"'{wrong}" in message
    assert f"did you mean '{right}'?" in message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--collection", "c"], "output"),
        (["--collection", "c", "--output", "o", "--mix", "Sometimes"], "Sometimes"),
        (["--collection", "c", "--output", "o", "--training.epochs", "many"], "many"),
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
    assert told in _refusal(monkeypatch, capsys, train, *arguments)


def test_a_config_that_is_not_yaml_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "broken.yaml"
    config.write_text("a: [1, 2")
    assert "is not YAML" in _refusal(monkeypatch, capsys, train, "--config", str(config))


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


def test_constant_mixes_need_no_other_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--collection", "c", "--output", "o", "--mix", "Constant", "--mix.click_weight", "1"]
    assert _parse(monkeypatch, "train", train, *given)["mix"] == Constant(1.0)


def test_an_empty_argument_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--collection", "c", "--output", "o", "--click_labels", ""]
    assert _parse(monkeypatch, "train", train, *given)["click_labels"] == Path()
