from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus.errors import InputError
from tuning.objectives import (
    ALL,
    TRAFFIC,
    check_objectives,
    query_weights,
    read_objectives,
    searches_by_bucket,
)

SEARCHES = {"high": 60, "medium": 30, "low": 10}
MEASURES = {ALL: 0.5, "nDCG@10_high": 0.8, "nDCG@10_medium": 0.6, "nDCG@10_low": 0.2}


def test_one_measure_is_one_objective() -> None:
    found = read_objectives([ALL], SEARCHES)
    assert found.single
    assert found.values(MEASURES) == [0.5]
    assert found.measures == [ALL]


def test_several_measures_are_a_front_and_all_chooses_on_it() -> None:
    found = read_objectives(["nDCG@10_high", "nDCG@10_low"], SEARCHES)
    assert not found.single
    assert found.values(MEASURES) == [0.8, 0.2]
    assert found.chosen_by(MEASURES) == 0.5


def test_traffic_weighs_buckets_by_their_searches() -> None:
    assert read_objectives([TRAFFIC], SEARCHES).values(MEASURES) == [
        pytest.approx(0.6 * 0.8 + 0.3 * 0.6 + 0.1 * 0.2)
    ]
    assert read_objectives([TRAFFIC], {"high": 4, "medium": 0, "low": 0}).measures == [
        "nDCG@10_high"
    ]


def test_weights_make_one_score_whatever_they_sum_to() -> None:
    found = read_objectives({"nDCG@10_high": 3.0, "nDCG@10_low": 1.0, ALL: 0.0}, SEARCHES)
    assert found.single
    assert found.values(MEASURES) == [pytest.approx(0.75 * 0.8 + 0.25 * 0.2)]
    assert ALL not in found.measures


@pytest.mark.parametrize(
    ("objectives", "told"),
    [
        ([], "at least one"),
        (["nDCG@10"], "there is no 'nDCG@10'; take nDCG@10_all"),
        ([ALL, ALL], "twice"),
        ({ALL: -1.0}, "at least 0"),
        ({ALL: float("nan")}, "at least 0"),
        ({ALL: 0.0}, "sum to 0"),
    ],
)
def test_impossible_objectives_are_refused(objectives: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_objectives(objectives)


def test_traffic_without_searches_is_refused() -> None:
    with pytest.raises(InputError, match="no searches"):
        read_objectives([TRAFFIC], dict.fromkeys(SEARCHES, 0))


def test_searches_are_counted_by_bucket(tmp_path: Path) -> None:
    """Also of a query that no split lists, in the bucket of its frequency."""
    ids = ["a", "b", "c", "d"]
    tables: dict[str, dict[str, Any]] = {
        "queries": {"query_id": ids, "text": ids, "frequency": [1, 9, 2, 5]},
        "splits": {"query_id": ids[:3], "split": ["train"] * 3, "bucket": ["low", "high", "low"]},
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet")
    counted = searches_by_bucket(tmp_path, connect=lambda: None)
    assert counted == {"high": 9, "medium": 5, "low": 3}


def test_query_weights_make_the_mean_over_queries_the_weighted_sum() -> None:
    buckets = pd.Series({"a": "high", "b": "low", "c": "low", "d": "medium"})
    values = pd.Series({"a": 0.9, "b": 0.1, "c": 0.3, "d": 0.5})
    weights = {ALL: 0.5, "nDCG@10_high": 0.3, "nDCG@10_low": 0.2}
    wanted = 0.5 * values.mean() + 0.3 * 0.9 + 0.2 * 0.2
    assert (values * query_weights(weights, buckets)).mean() == pytest.approx(wanted)
    tail = query_weights({"nDCG@10_low": 1.0}, buckets)
    assert tail.to_dict() == {"b": 1.0, "c": 1.0}
