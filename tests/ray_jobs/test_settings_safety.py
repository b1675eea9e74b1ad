"""What settings may name, and what errors may show."""

import sys
from pathlib import Path
from typing import Any

import pytest
from jsonargparse._util import get_import_path

from annotation.annotate import annotate
from annotation.engines.base import EngineChoice
from annotation.engines.endpoint import Endpoint
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import Source
from rankers.mixes import Constant, Mix
from rankers.train import train
from ray_jobs.command_line import run
from tests.ray_jobs.conftest import parse_job, refusal

GIVEN = ["--collection", "c", "--output", "o"]
REQUIRED = {"Endpoint": "{url: http://localhost}", "Product": "{mixes: [{class_path: Ramp}]}"}
REQUIRED["Piecewise"] = "{mixes: [{class_path: Ramp}], switches: []}"
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
            made = parse_job(monkeypatch, job, function, "--config", str(config), *given)
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
    message = refusal(monkeypatch, capsys, train, "--config", "settings.yaml", *GIVEN)
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
    arguments = parse_job(monkeypatch, "annotate", annotate, "--config", "settings.yaml", *GIVEN)
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
    assert told in refusal(monkeypatch, capsys, train, "--config", str(config), *GIVEN)


def test_settings_with_a_byte_order_mark_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("train: {mix: Constant}", encoding="utf-8-sig")
    arguments = parse_job(monkeypatch, "train", train, "--config", str(config), *GIVEN)
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
    message = refusal(monkeypatch, capsys, train, *GIVEN, *given)
    assert r"http://***@host\x1b[2J" in message
