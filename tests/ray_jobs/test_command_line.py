import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse._util import get_import_path

from annotation.annotate import annotate
from annotation.engines.base import EngineChoice
from annotation.engines.endpoint import Endpoint
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld, Source
from rankers.evaluate import evaluate
from rankers.mixes import Constant, FrequencySigmoid, Mix, Product, Ramp, Stage, Staged
from rankers.mixes.encoding import encode_mix
from rankers.train import train
from ray_jobs.command_line import job_parser, parse, run
from tuning.tune import tune

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS = [path.stem for path in (REPOSITORY / "ray_jobs").glob("*.py") if path.stem[0] != "_"]
JOBS.remove("command_line")
# What takes seconds to import.
HEAVY = ("ray", "torch", "transformers", "vllm")


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
    flags = ["--mix", "FrequencySigmoid", "--mix.midpoint", "7"]
    flags += ["--training.optimization.epochs", "2"]
    arguments = _parse(monkeypatch, "train", train, *given, *flags)
    assert arguments["mix"] == FrequencySigmoid(midpoint=7)
    assert arguments["training"].optimization.epochs == 2
    config = tmp_path / "staged.yaml"
    config.write_text(
        "mix:\n  class_path: Staged\n  init_args:\n    stages:\n"
        "    - {share: 0.3, click_weight: 1}\n    - {share: 0.7, click_weight: 0}\n"
    )
    arguments = _parse(monkeypatch, "train", train, "--config", str(config), *given)
    assert arguments["mix"] == Staged([Stage(0.3, 1.0), Stage(0.7, 0.0)])
    assert arguments["resume"] is False


@pytest.mark.parametrize(
    "mix",
    [
        Product([FrequencySigmoid(7.0), Product([Ramp("cosine", 0.1)])]),
        Staged([Stage(0.3, 1.0), Stage(0.7, 0.0, ["high", "low"])]),
    ],
)
def test_a_mix_in_a_file_is_a_setting_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mix: Mix
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"collection": "c", "output": "o", "mix": encode_mix(mix)}))
    assert _parse(monkeypatch, "train", train, "--config", str(config))["mix"] == mix


def test_each_job_reads_its_section_of_a_pipelines_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = ["--config", str(REPOSITORY / "configs" / "demo.yaml")]
    arguments = _parse(monkeypatch, "prepare", prepare, *demo, "--output", "o", "--resume")
    assert isinstance(arguments["source"], SimulatedWorld)
    assert arguments["source"].queries == 400
    assert arguments["resume"] is True
    labels = ["--collection", "c", "--output", "o", "--click_labels", "l", "--annotations", "a"]
    arguments = _parse(monkeypatch, "tune", tune, *demo, *labels)
    assert arguments["training"].resources.workers == 1
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
    message = _refusal(monkeypatch, capsys, train, "--config", str(config))
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
    assert _parse(monkeypatch, "train", train, *given)["mix"] == Constant(1.0)


def test_an_empty_argument_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--collection", "c", "--output", "o", "--click_labels", ""]
    assert _parse(monkeypatch, "train", train, *given)["click_labels"] == Path()


GIVEN = ["--collection", "c", "--output", "o"]
REQUIRED = {"Endpoint": "{url: http://localhost}", "Product": "{mixes: [{class_path: Ramp}]}"}
REQUIRED |= dict.fromkeys(("BeirFolder", "TablesFolder"), "{path: p}")
REQUIRED |= {"TianGong": "{sessions: s}", "BaiduUltr": "{parts: p}"}
REQUIRED |= {"OwnLogFiles": "{sessions: s, documents: d}"}


def _subclasses(base: type) -> set[type]:
    below: list[type] = base.__subclasses__()
    return {made for own in below for made in (own, *_subclasses(own))}


@pytest.mark.parametrize(
    ("function", "setting", "base", "given"),
    [
        (train, "mix", Mix, GIVEN),
        (prepare, "source", Source, GIVEN[2:]),
        (annotate, "engine", EngineChoice, GIVEN),
    ],
)
def test_each_class_of_tandems_own_can_be_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    function: Any,
    setting: str,
    base: type,
    given: list[str],
) -> None:
    config = tmp_path / "settings.yaml"
    own = {sub for sub in _subclasses(base) if not sub.__abstractmethods__}  # type: ignore[attr-defined]
    own = {sub for sub in own if not sub.__module__.startswith("tests")}
    assert len(own) > 1
    for sub in own:
        shortest = get_import_path(sub)  # what a parser makes of a name alone
        for name in (sub.__name__, f"{sub.__module__}.{sub.__name__}", shortest):
            init_args = REQUIRED.get(sub.__name__, "{}")
            config.write_text(f"{setting}: {{class_path: {name}, init_args: {init_args}}}\n")
            job = function.__name__
            made = _parse(monkeypatch, job, function, "--config", str(config), *given)
            assert type(made[setting]) is sub


@pytest.mark.parametrize(
    "yaml",
    [
        "mix: {class_path: intruder.Mix}",
        "mix: intruder.Mix",
        "mix: {class_path: Product, init_args: {mixes: [{class_path: intruder.Mix}]}}",
        "mix: {class_path: Staged, init_args: {stages: [{class_path: intruder.Mix}]}}",
        "training: {class_path: intruder.Mix}",
        "mix: {class_path: rankers.mixes.by_progress.torch.hub.load}",
        "mix: {class_path: rankers.mixes.by_progress.math}",
        "mix: {class_path: rankers.mixes.by_progress.Constant.__init__.__globals__}",
        "mix: {class_path: rankers.mixes.encoding.decode_mix, init_args: {encoded: {}}}",
        "mix: {class_path: rankers.mixes.encoding.read_heads_mix, init_args: {ranker: .}}",
        "mix: {class_path: os.system, init_args: {command: touch done}}",
        "mix: !!python/object/apply:os.system [touch done]",
        "mix: {class_path: [intruder.Mix]}",
        "mix: {class_path: 3}",
        "mix: {class_path: Constant, dict_kwargs: {a: 1}}",
        "mix: {class_path: Constant, __class__: intruder.Mix}",
    ],
)
def test_no_other_class_is_made_nor_its_module_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, yaml: str
) -> None:
    (tmp_path / "intruder.py").write_text("open('done', 'w')\nclass Mix: pass\n")
    (tmp_path / "settings.yaml").write_text(yaml + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    message = _refusal(monkeypatch, capsys, train, "--config", "settings.yaml", *GIVEN)
    assert message.startswith("error: ")
    assert not (tmp_path / "done").exists()
    assert "intruder" not in sys.modules


def test_a_class_in_a_free_field_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kept.log").write_text("precious")
    (tmp_path / "more.yaml").write_text("read: this file")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("""
engine:
  class_path: Endpoint
  init_args:
    url: http://localhost/v1
    fields:
      a: {class_path: logging.FileHandler, init_args: {filename: kept.log, mode: w}}
      b: [{class_path: ctypes.CDLL, init_args: {name: libc.so.6}}]
      c: {class_path: annotation.engines.endpoint.Endpoint, init_args: {url: http://elsewhere}}
      d: more.yaml
      e: "${HOME}"
""")
    arguments = _parse(monkeypatch, "annotate", annotate, "--config", "settings.yaml", *GIVEN)
    engine = arguments["engine"]
    assert isinstance(engine, Endpoint)
    assert engine.fields["a"]["class_path"] == "logging.FileHandler"
    assert engine.fields["b"][0]["class_path"] == "ctypes.CDLL"
    assert engine.fields["c"]["class_path"] == "annotation.engines.endpoint.Endpoint"
    assert (engine.fields["d"], engine.fields["e"]) == ("more.yaml", "${HOME}")
    assert (tmp_path / "kept.log").read_text() == "precious"


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("", "holds no settings"),
        ("- a\n- b\n", "holds no settings"),
        ("training: {resources: {workers: null}}", "training.resources.workers is null"),
        ("mix: null", "mix is null"),
        ("mix: {class_path: Ramp, init_args: {shape: null}}", "linear or cosine, not None"),
        ("training: null\nmix: Constant", "training needs settings of its own, not None"),
        ("training: [1]", "training needs settings of its own, not [1]"),
        ("mix: " + "[" * 600 + "]" * 600, "nested too deep"),
        ("mix: &a [*a]", "anchors of anchors"),
        (
            "a: &a [x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{name}: &{name} [{', '.join([f'*{last}'] * 8)}]\n"
                for last, name in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "anchors of anchors",
        ),
    ],
)
def test_settings_that_are_none_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    yaml: str,
    told: str,
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(yaml)
    assert told in _refusal(monkeypatch, capsys, train, "--config", str(config), *GIVEN)


def test_settings_with_a_byte_order_mark_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("train: {mix: Constant}", encoding="utf-8-sig")
    arguments = _parse(monkeypatch, "train", train, "--config", str(config), *GIVEN)
    assert arguments["mix"] == Constant()


@pytest.mark.parametrize(
    ("error", "status"), [(InputError, 2), (RuntimeError, 1), (UnicodeError, 1)]
)
def test_what_is_told_of_an_error_neither_moves_the_terminal_nor_betrays(
    capsys: pytest.CaptureFixture[str], error: type[Exception], status: int
) -> None:
    def work() -> None:
        raise error("server: \x1b]0;owned\x07 \x9b2J \ud800 https://me:hunter2@host?sig=hunter2")

    with pytest.raises(SystemExit) as stopped:
        run(work)
    assert stopped.value.code == status
    shown = capsys.readouterr().err
    assert r"server: \x1b]0;owned\x07 \x9b2J \ud800 https://***@host?sig=***" in shown
    assert ("Traceback" in shown) == (status == 1)


def test_a_wrong_setting_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--training.optimization.epochs", "http://me:hunter2@host\x1b[2J"]
    message = _refusal(monkeypatch, capsys, train, *GIVEN, *given)
    assert r"http://***@host\x1b[2J" in message
