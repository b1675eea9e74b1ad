"""The metrics' names, and the board that draws them; that they can be scraped is shown
by the tests of the jobs that use tests/scraping.py."""

import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from annotation.told import told
from cluster import metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def test_the_board_draws_every_metric_and_no_other() -> None:
    board = json.loads((DEPLOY / "grafana_tandem.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    drawn = set(re.findall(r"ray_(\w+)\{", " ".join(queries)))
    # Prometheus's counters end with _total.
    shown = {f"{name}_total" for name in metrics.COUNTERS} | set(metrics.GAUGES)
    assert drawn == shown
    tags = {
        tag
        for query in queries
        for by in re.findall(r"by \(([^)]*)\)", query)
        for tag in by.split(", ")
    }
    assert tags <= set(metrics.TAGS)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_without_a_cluster_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    metrics.count("tandem_pairs", 3, "train", "ranker")
    metrics.gauge("tandem_loss", 0.5, "train", "ranker")
    assert "ray" not in sys.modules


def test_annotate_tells_of_pairs_tokens_and_each_kind_of_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: dict[tuple[str, str], float] = {}
    left: list[float] = []

    def count(name: str, amount: float, job: str, output: str, kind: str = "") -> None:
        assert (job, output) == ("annotate", "mine")
        assert name in metrics.COUNTERS
        counted[name, kind] = counted.get((name, kind), 0) + amount

    monkeypatch.setattr("annotation.told.count", count)
    monkeypatch.setattr(
        "annotation.told.gauge", lambda name, value, job, output: left.append(value)
    )
    batch = pa.table(
        {
            "error": [None, "engine: no answer", "empty query"],
            "prompt_tokens": [10.0, 12.0, 0.0],
            "cached_tokens": [4.0, 8.0, 0.0],
            "answer_tokens": [1.0, 0.0, 0.0],
        }
    )
    assert list(told([batch, batch], "mine", pairs=7)) == [batch, batch]
    assert counted == {
        ("tandem_pairs", ""): 6,
        ("tandem_failed_pairs", "engine"): 2,
        ("tandem_failed_pairs", "empty query"): 2,
        ("tandem_prompt_tokens", ""): 44,
        ("tandem_cached_tokens", ""): 24,
        ("tandem_answer_tokens", ""): 2,
    }
    assert left == [7, 4, 1]
