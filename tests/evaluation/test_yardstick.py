"""What validation measures by: human grades, or labels as they are, or nothing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from corpus.errors import InputError
from evaluation.yardstick import gains_by, name_yardstick, ndcg_of_gains, told_apart
from rankers.training.validation import bucket_means

UNKNOWN = [[None, None], [None, None]]


def lists(click: list[list[float | None]], annotation: list[list[float | None]]) -> pa.Table:
    labels = pa.list_(pa.float64())
    return pa.table(
        {
            "query_id": ["q", "r"],
            "doc_ids": [["a", "b"], ["a", "c"]],
            "click_label": pa.array(click, labels),
            "annotation_label": pa.array(annotation, labels),
        }
    )


def human(*rows: tuple[str, str, int]) -> pa.Table:
    query_id, doc_id, grade = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "query_id": pa.array(query_id, pa.string()),
            "doc_id": pa.array(doc_id, pa.string()),
            "grade": pa.array(grade, pa.int64()),
        }
    )


def choose_yardstick(human: pa.Table, lists: pa.Table) -> pa.Table:
    telling = told_apart(human, lists)
    return gains_by(name_yardstick(telling, lists.num_rows), human, lists)


def test_human_grades_come_first_where_they_tell_candidates_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = human(("q", "a", 1), ("elsewhere", "a", 2))
    chosen = choose_yardstick(given, lists([[0.1, 0.2], [0.1, 0.2]], UNKNOWN))
    assert chosen.to_pylist() == [{"query_id": "q", "doc_id": "a", "grade": 1}]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "grades",
    [
        human(),
        human(("q", "a", 0), ("q", "b", 0), ("r", "a", 0)),
        human(("q", "a", 2), ("q", "b", 2)),
        human(("q", "a", -1), ("q", "b", 0)),
        human(("q", "no candidate", 3)),
        human(("elsewhere", "a", 3)),
    ],
)
def test_where_human_grades_tell_nothing_labels_do_and_it_is_said(
    grades: pa.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = choose_yardstick(grades, lists([[0.02, 0.01], [None, 0.0]], UNKNOWN))
    assert chosen.to_pylist() == [
        {"query_id": "q", "doc_id": "a", "gain": 0.02},
        {"query_id": "q", "doc_id": "b", "gain": 0.01},
        {"query_id": "r", "doc_id": "c", "gain": 0.0},
    ]
    assert "by the click labels of 1" in capsys.readouterr().err


def test_annotations_come_before_click_labels() -> None:
    given = lists([[0.1, 0.2], [None, None]], [[2.5, 0.5], [None, None]])
    assert choose_yardstick(human(), given)["gain"].to_pylist() == [2.5, 0.5]


@pytest.mark.parametrize(
    "labels", [UNKNOWN, [[0.0, 0.0], [0.0, 0.0]], [[0.3, 0.3], [0.2, None]], [[None, 0.3]] * 2]
)
def test_what_tells_no_ranking_apart_stops_before_anything_is_started(
    labels: list[list[float | None]],
) -> None:
    with pytest.raises(InputError, match="nothing tells rankings of the 2 validation queries"):
        choose_yardstick(human(("q", "a", 0)), lists(labels, UNKNOWN))


def run_of(scores: list[float]) -> pd.DataFrame:
    doc_ids = [str(number) for number in range(len(scores))]
    return pd.DataFrame({"query_id": "q", "doc_id": doc_ids, "score": scores, "bucket": 1})


def test_the_order_of_labels_counts_at_a_click_rate_of_two_percent() -> None:
    run = run_of([3.0, 2.0, 1.0])
    gains = run.assign(gain=[0.01, 0.02, 0.0])[["query_id", "doc_id", "gain"]]
    [value] = ndcg_of_gains(run, gains)["value"]
    ideal = 0.02 + 0.01 / np.log2(3)
    assert value == pytest.approx((0.01 + 0.02 / np.log2(3)) / ideal)
    assert bucket_means(run, pa.Table.from_pandas(gains)) == {
        "validation_ndcg": value,
        "validation_ndcg_medium": value,
    }
    better = run_of([2.0, 3.0, 1.0])
    assert ndcg_of_gains(better, gains)["value"].tolist() == [1.0]


def test_what_has_no_label_takes_no_part() -> None:
    run = run_of([4.0, 3.0, 2.0])
    gains = run.assign(gain=[0.0, 0.5, 0.25]).iloc[1:]
    assert ndcg_of_gains(run, gains)["value"].tolist() == [1.0]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.floats(0, 30, width=16)),
        min_size=2,
        max_size=25,
        unique_by=lambda pair: pair[0],
    )
)
def test_values_are_those_of_scikit_learn(pairs: list[tuple[int, float]]) -> None:
    scores, labels = (list(column) for column in zip(*pairs, strict=True))
    run = run_of([float(score) for score in scores])
    values = ndcg_of_gains(run, run.assign(gain=labels))["value"].tolist()
    if len(set(labels)) == 1:
        assert values == []
    else:
        assert values == pytest.approx([ndcg_score([labels], [scores], k=10)], abs=1e-9)
