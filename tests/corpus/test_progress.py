"""What is seen of a work's progress where no terminal is, as in the log of a Ray job."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from corpus import progress
from corpus.progress import Progress


def test_without_a_terminal_a_line_is_printed_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 100, 4))  # seconds, one look at it at the begin and one a step
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with Progress() as bars:
        task = bars.add_task("score pairs", total=6000, note="")
        for step in range(6):
            bars.update(task, advance=1000, note=f"{step} a second")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "score pairs: 3,000 of 6,000 (50 %), 2 a second",
        "score pairs: 6,000 of 6,000 (100 %), 5 a second",
    ]


def test_work_that_is_done_at_once_needs_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as bars:
        bars.update(bars.add_task("score pairs", total=2), advance=2)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_it_is_richs_own_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(console=Console(force_terminal=True)) as bars:
        bars.update(bars.add_task("score pairs", total=2), advance=2)
    assert "100%" in capsys.readouterr().out
