"""Inverse-propensity labels undo position bias."""

import numpy as np
import pyarrow as pa
import pytest

from clicks import PositionBasedModel, inverse_propensity_labels
from clicks.labels import relevance_labels
from corpus.errors import InputError
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table

AB, BA = ["a", "b"], ["b", "a"]
# Page a, b: 8 sessions with 4 clicks on a and 1 on b; page b, a: 2 with 1 click on b and 2 on a.
SESSIONS = pa.table(
    {
        "session_id": ["1", "2", "3", "4", "5"],
        "query_id": ["q"] * 5,
        "doc_ids": [AB, AB, AB, BA, BA],
        "clicks": [[True, True], [True, False], [False, False], [True, True], [False, True]],
        "sessions": [1, 3, 4, 1, 1],
    }
)


def test_labels_worked_out_by_hand() -> None:
    labels = inverse_propensity_labels([(SESSIONS, np.array([1.0, 0.25]))], max_weight=10.0)
    assert check_table(labels, "click_labels", "labels").schema == SCHEMAS["click_labels"]
    assert labels.to_pylist() == [
        {
            "query_id": "q",
            "doc_id": "a",
            "relevance": (4 * 1 + 2 * 4) / 10,
            "impressions": 10,
            "clicks": 6,
            "model": "ipw-em",
        },
        {
            "query_id": "q",
            "doc_id": "b",
            "relevance": (1 * 4 + 1 * 1) / 10,
            "impressions": 10,
            "clicks": 2,
            "model": "ipw-em",
        },
    ]


def test_weights_are_clipped_but_labels_are_not() -> None:
    clipped = inverse_propensity_labels([(SESSIONS, np.array([1.0, 0.25]))], max_weight=2.0)
    assert clipped["relevance"].to_pylist() == [(4 + 2 * 2) / 10, (1 * 2 + 1) / 10]
    once = pa.table([["1"], ["q"], [AB], [[False, True]]], schema=SCHEMAS["sessions"])
    labels = inverse_propensity_labels([(once, np.array([1.0, 0.1]))], max_weight=20.0)
    assert labels["relevance"].to_pylist() == pytest.approx([0.0, 10.0])


def test_results_at_a_position_of_unknown_propensity_are_left_out() -> None:
    labels = inverse_propensity_labels([(SESSIONS, np.array([1.0, np.nan]))], max_weight=10.0)
    assert labels["impressions"].to_pylist() == [8, 2]
    assert labels["relevance"].to_pylist() == [4 / 8, 1 / 2]
    # Where nothing was clicked, there is nothing to weigh.
    unclicked = pa.table([["1"], ["q"], [AB], [[True, False]]], schema=SCHEMAS["sessions"])
    labels = inverse_propensity_labels([(unclicked, np.array([1.0, np.nan]))], max_weight=10.0)
    assert labels["relevance"].to_pylist() == [1.0, 0.0]


def test_labels_are_unbiased_where_click_rates_are_not() -> None:
    rng = np.random.default_rng(0)
    propensities, attractiveness = np.array([1.0, 0.5, 0.2]), np.array([0.3, 0.6, 0.5])
    session_count = 40_000
    # One order only: the bias that a click-through rate cannot undo.
    clicks = rng.random((session_count, 3)) < propensities * attractiveness
    sessions = pa.table(
        [
            [str(row) for row in range(session_count)],
            ["q"] * session_count,
            [["a", "b", "c"]] * session_count,
            clicks.tolist(),
        ],
        schema=SCHEMAS["sessions"],
    )
    labels = inverse_propensity_labels([(sessions, propensities)], max_weight=20.0)
    probability = propensities * attractiveness
    error = np.sqrt(probability * (1 - probability) / session_count) / propensities
    assert np.all(np.abs(labels["relevance"].to_numpy() - attractiveness) < 4 * error)


@pytest.mark.parametrize(
    ("propensities", "max_weight", "message"),
    [
        ([1.0, 0.0], 10.0, "above 0"),
        ([1.0, 1.5], 10.0, "at most 1"),
        ([1.0, 0.5], 0.5, "max_weight"),
        ([1.0], 10.0, "2 documents, but there are propensities of 1 positions"),
    ],
)
def test_settings_out_of_range_are_refused(
    propensities: list[float], max_weight: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        inverse_propensity_labels([(SESSIONS, np.array(propensities))], max_weight)


def test_each_context_has_weights_of_its_own() -> None:
    parts = [
        (SESSIONS.slice(0, 3), np.array([1.0, 0.5])),
        (SESSIONS.slice(3), np.array([1.0, 0.25])),
    ]
    labels = inverse_propensity_labels(parts, max_weight=10.0)
    assert labels["relevance"].to_pylist() == [(4 + 2 * 4) / 10, (1 * 2 + 1) / 10]


def test_labels_of_a_click_model_are_its_relevance() -> None:
    model = PositionBasedModel().fit(SESSIONS)
    labels = relevance_labels(model, SESSIONS)
    assert check_table(labels, "click_labels", "labels").schema == SCHEMAS["click_labels"]
    assert labels["doc_id"].to_pylist() == AB
    assert labels["relevance"].to_pylist() == model.relevance()["relevance"].to_pylist()
    assert labels["impressions"].to_pylist() == [10, 10]
    assert labels["clicks"].to_pylist() == [6, 2]
    assert set(labels["model"].to_pylist()) == {"PositionBasedModel"}
