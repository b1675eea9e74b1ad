"""Rows of every table that follow its schema, and how the tests check them."""

from collections.abc import Callable
from typing import Any

import pytest

from corpus.refused_rows import TableError

Columns = dict[str, Any]
ROWS: dict[str, Columns] = {
    "queries": {"query_id": ["q1", "q2"], "text": ["fox", "bread"], "frequency": [3, 0]},
    "documents": {"doc_id": ["d1", "d2"], "title": ["a", ""], "body": ["b", "c"]},
    "candidates": {
        "query_id": ["q1", "q1"],
        "doc_id": ["d1", "d2"],
        "rank": [1, 2],
        "score": [2.5, 1.0],
    },
    "runs": {
        "query_id": ["q1", "q1"],
        "doc_id": ["d1", "d2"],
        "rank": [1, 2],
        "score": [2.5, 1.0],
    },
    "sessions": {
        "session_id": ["s1", "s2"],
        "query_id": ["q1", "q1"],
        "doc_ids": [["d1", "d2"], ["d2"]],
        "clicks": [[True, False], [False]],
    },
    "judgments": {"query_id": ["q1", "q1"], "doc_id": ["d1", "d2"], "grade": [3, 0]},
    "held_out_sessions": {
        "session_id": ["s3", "s4"],
        "query_id": ["q2", "q1"],
        "doc_ids": [["d2", "d1"], ["d1"]],
        "clicks": [[False, True], [False]],
    },
    "splits": {
        "query_id": ["q1", "q2"],
        "split": ["train", "test"],
        "bucket": ["medium", "low"],
        "supervised": [True, False],
    },
    "annotations": {
        "query_id": ["q1", "q1"],
        "doc_id": ["d1", "d2"],
        "annotator": ["judge", "judge"],
        "strategy": ["pointwise", "pointwise"],
        "prompt_id": ["relevance", "relevance"],
        "grade": [3, None],
        "expected_grade": [2.7, None],
        "confidence": [0.9, None],
        "error": [None, "too long"],
        "answered_mass": [0.98, None],
        "reasoning": ["both are of foxes", None],
    },
    "click_labels": {
        "query_id": ["q1", "q1"],
        "doc_id": ["d1", "d2"],
        "relevance": [0.5, 0.25],
        "impressions": [10, 4],
        "clicks": [5, 1],
        "model": ["pbm", "pbm"],
        "precision": [12.5, 6.0],
    },
}


def refusal(action: Callable[[], Any]) -> str:
    """The message of the TableError that `action` must end in."""
    with pytest.raises(TableError) as caught:
        action()
    return str(caught.value)
