import sys
from typing import Any

import pytest

from ray_jobs.command_line import job_parser, parse
from tests.annotation.conftest import random_model, tokenizer

__all__ = ["random_model", "tokenizer"]


def parse_job(
    monkeypatch: pytest.MonkeyPatch, job: str, function: Any, *arguments: str
) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", [f"{job}.py", *arguments])
    parser = job_parser(job, "")
    parser.add_function_arguments(function, skip={"resume"})
    return parse(parser, job)


def refusal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    function: Any,
    *arguments: str,
) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse_job(monkeypatch, function.__name__, function, *arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message
