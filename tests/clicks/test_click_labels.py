"""Inverse-propensity labels undo position bias."""

import numpy as np
import pyarrow as pa
import pytest

from clicks import compact_sessions, inverse_propensity_labels
from corpus.errors import InputError
from corpus.tables import SCHEMAS, check_table

PAGES = pa.table(
    {
        "query_id": ["q", "q"],
        "doc_ids": [["a", "b"], ["b", "a"]],
        "impressions": [8, 2],
        "clicks": [[4, 1], [1, 2]],
    }
)


def test_labels_worked_out_by_hand() -> None:
    labels = inverse_propensity_labels(PAGES, np.array([1.0, 0.25]), max_weight=10.0)
    assert check_table(labels, "click_labels", "labels").schema == SCHEMAS["click_labels"]
    assert labels.to_pylist() == [
        {
            "query_id": "q",
            "doc_id": "a",
            "relevance": (4 * 1 + 2 * 4) / 10,
            "impressions": 10,
            "clicks": 6,
            "model": "ipw-pbm",
        },
        {
            "query_id": "q",
            "doc_id": "b",
            "relevance": (1 * 4 + 1 * 1) / 10,
            "impressions": 10,
            "clicks": 2,
            "model": "ipw-pbm",
        },
    ]


def test_weights_are_clipped_but_labels_are_not() -> None:
    clipped = inverse_propensity_labels(PAGES, np.array([1.0, 0.25]), max_weight=2.0)
    assert clipped["relevance"].to_pylist() == [(4 + 2 * 2) / 10, (1 * 2 + 1) / 10]
    once = pa.table(
        {"query_id": ["q"], "doc_ids": [["a", "b"]], "impressions": [1], "clicks": [[0, 1]]}
    )
    labels = inverse_propensity_labels(once, np.array([1.0, 0.1]), max_weight=20.0)
    assert labels["relevance"].to_pylist() == pytest.approx([0.0, 10.0])


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
    labels = inverse_propensity_labels(compact_sessions(sessions), propensities, max_weight=20.0)
    probability = propensities * attractiveness
    error = np.sqrt(probability * (1 - probability) / session_count) / propensities
    assert np.all(np.abs(labels["relevance"].to_numpy() - attractiveness) < 4 * error)


@pytest.mark.parametrize(
    ("propensities", "max_weight", "message"),
    [
        ([1.0, 0.0], 10.0, "above 0"),
        ([1.0, 1.5], 10.0, "at most 1"),
        ([1.0, np.nan], 10.0, "above 0"),
        ([1.0, 0.5], 0.5, "max_weight"),
        ([1.0], 10.0, "2 documents, but there are propensities of 1 positions"),
    ],
)
def test_settings_out_of_range_are_refused(
    propensities: list[float], max_weight: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        inverse_propensity_labels(PAGES, np.array(propensities), max_weight)
