"""Annotations made of rows, for the tests of agreement and of merging."""

import pyarrow as pa

from corpus.schemas import SCHEMAS


def annotations_of(rows: list[tuple[str, str, str, int | None]]) -> pa.Table:
    columns = [
        {
            "query_id": query_id,
            "doc_id": doc_id,
            "annotator": annotator,
            "strategy": "pointwise",
            "prompt_id": "p",
            "grade": grade,
            "expected_grade": None if grade is None else float(grade),
            "confidence": None if grade is None else 0.75,
            "error": "engine: gone" if grade is None else None,
        }
        for query_id, doc_id, annotator, grade in rows
    ]
    return pa.Table.from_pylist(columns, SCHEMAS["annotations"])
