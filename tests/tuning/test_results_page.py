"""The commands of docs/tuning_results.md, as they stand there."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ray_jobs.command_line import run_job
from tests.tuning.studies import MEASURES, some_trials, write_epochs, write_study
from tuning.analyse import analyse

PAGE = Path(__file__).parents[2] / "docs" / "tuning_results.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo_output" / "tuning"
    trials = some_trials(11, MEASURES[:1])[:-1]
    write_study(folder, trials)
    write_epochs(folder, trials)
    names = {"number": range(len(trials)), "best": [place == 3 for place in range(len(trials))]}
    pd.DataFrame(names).to_parquet(folder / "trials.parquet")
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, made)
    assert len(made["study"].trials) == len(made["trials"]) == 10
    assert set(made["epochs"]["number"]) == set(range(10))
    [command] = blocks("bash")
    program, script, *arguments = shlex.split(command)
    assert (program, script) == ("python", "ray_jobs/analyse.py")
    monkeypatch.setattr(sys, "argv", [script, *arguments, "--resamples", "20"])
    run_job("analyse", analyse)
    assert (folder / "analysis.html").exists()


def test_the_page_names_every_section() -> None:
    said = re.findall(r"^\| (.*?) \|", PAGE.read_text(), re.MULTILINE)[1:]
    assert said == [
        *("What was found", "Best so far", "Head against tail", "The winner's weights"),
        *("With other seeds", "Learning curves", "What mattered", "Slices"),
        *("Parameters together", "Timeline", "Every trial"),
    ]
