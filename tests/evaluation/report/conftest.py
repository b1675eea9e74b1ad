"""A page with every section that a report can have, written once."""

from pathlib import Path

import pytest

from evaluation.report.page import write_report
from tests.evaluation.report.frames import HOSTILE, all_sections


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the page, below which its tables lie."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(all_sections(), path, HOSTILE, [HOSTILE])
