"""The pages name tests, files and metrics that there are."""

import re
from pathlib import Path

from cluster.metrics import COUNTERS, GAUGES

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_test_that_the_page_of_faults_names_is_there() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    named = re.findall(r"([\w/]+\.py)((?:(?:, )?::test_\w+)+)", text)
    assert len(named) > 20
    for path, tests in named:
        source = (REPOSITORY / "tests" / path).read_text()
        for name in re.findall(r"test_\w+", tests):
            assert f"def {name}(" in source, (path, name)


def test_the_page_of_clusters_names_every_metric_and_files_that_are_there() -> None:
    text = (REPOSITORY / "docs" / "deploy.md").read_text()
    assert set(re.findall(r"`(tandem_\w+)`", text)) == COUNTERS.keys() | GAUGES.keys()
    for path in re.findall(r"(?<![\w./])deploy/[\w.]+\w", text):
        assert (REPOSITORY / path).exists(), path
