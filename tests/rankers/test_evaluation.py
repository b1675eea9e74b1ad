import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from rankers.evaluation import mean_by_bucket, measure_run, query_buckets


def _run(scores: dict[str, list[float]]) -> pd.DataFrame:
    rows = [(q, f"d{i}", score) for q, listed in scores.items() for i, score in enumerate(listed)]
    return pd.DataFrame(rows, columns=["query_id", "doc_id", "score"])


def _judgments(grades: dict[str, list[int]]) -> pa.Table:
    rows = [(q, f"d{i}", grade) for q, listed in grades.items() for i, grade in enumerate(listed)]
    return pa.Table.from_pandas(pd.DataFrame(rows, columns=["query_id", "doc_id", "grade"]))


def _value(values: pd.DataFrame, measure: str) -> float:
    return float(values["value"][values["measure"] == measure].item())


def test_measures_by_hand() -> None:
    values = measure_run(_run({"q": [1.0, 3.0, 2.0]}), _judgments({"q": [3, 0, 1]}))
    ideal = 3 + 1 / math.log2(3)
    assert _value(values, "nDCG@1") == 0
    assert _value(values, "nDCG@10") == pytest.approx((1 / math.log2(3) + 3 / 2) / ideal)
    assert _value(values, "RR") == 0.5
    assert _value(values, "AP") == pytest.approx((1 / 2 + 2 / 3) / 2)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-1000, 1000)),
        min_size=2,
        max_size=12,
        unique_by=lambda pair: pair[1],
    )
)
def test_ndcg_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    grades, scores = zip(*pairs, strict=True)
    values = measure_run(_run({"q": list(map(float, scores))}), _judgments({"q": list(grades)}))
    if not any(grades):
        assert values.empty
        return
    expected = ndcg_score(np.array([grades]), np.array([scores]), k=10)
    assert _value(values, "nDCG@10") == pytest.approx(expected)


def test_means_are_over_the_queries_of_each_bucket() -> None:
    run = _run({"head": [2.0, 1.0], "tail": [1.0, 2.0], "unanswerable": [1.0, 2.0]})
    judgments = _judgments({"head": [1, 0], "tail": [1, 0], "unanswerable": [0, 0]})
    buckets = pd.Series({"head": "high", "tail": "low", "unanswerable": "low"})
    means = mean_by_bucket(measure_run(run, judgments), buckets)
    shown = means[means["measure"] == "nDCG@1"].set_index("bucket")
    assert shown["value"].to_dict() == {"high": 1.0, "low": 0.0, "all": 0.5}
    assert shown["queries"].to_dict() == {"high": 1, "low": 1, "all": 2}


def test_buckets_follow_the_frequency_of_all_queries() -> None:
    queries = pa.table(
        {"query_id": list("abcdefghij"), "frequency": [1, 9, 8, 7, 6, 5, 4, 3, 2, 10]}
    )
    buckets = query_buckets(queries, (3, 7))
    assert buckets[["j", "b", "c", "d", "a"]].tolist() == ["high", "high", "high", "medium", "low"]
