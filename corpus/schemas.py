"""The schemas of the tables of a collection, and of what is made of it."""

import pyarrow as pa

SCHEMAS: dict[str, pa.Schema] = {
    "queries": pa.schema(
        [("query_id", pa.string()), ("text", pa.string()), ("frequency", pa.int64())]
    ),
    "documents": pa.schema(
        [("doc_id", pa.string()), ("title", pa.string()), ("body", pa.string())]
    ),
    "candidates": pa.schema(
        [
            ("query_id", pa.string()),
            ("doc_id", pa.string()),
            ("rank", pa.int64()),
            ("score", pa.float64()),
        ]
    ),
    # What a system ranks, in the order of its file; no table of a collection.
    "runs": pa.schema(
        [
            ("query_id", pa.string()),
            ("doc_id", pa.string()),
            ("rank", pa.int64()),
            ("score", pa.float64()),
        ]
    ),
    "sessions": pa.schema(
        [
            ("session_id", pa.string()),
            ("query_id", pa.string()),
            ("doc_ids", pa.list_(pa.string())),
            ("clicks", pa.list_(pa.bool_())),
        ]
    ),
    "judgments": pa.schema(
        [("query_id", pa.string()), ("doc_id", pa.string()), ("grade", pa.int64())]
    ),
    "splits": pa.schema(
        [
            ("query_id", pa.string()),
            ("split", pa.string()),
            ("bucket", pa.string()),
            ("supervised", pa.bool_()),
        ]
    ),
    "annotations": pa.schema(
        [
            ("query_id", pa.string()),
            ("doc_id", pa.string()),
            ("annotator", pa.string()),
            ("strategy", pa.string()),
            ("prompt_id", pa.string()),
            ("grade", pa.int64()),
            ("expected_grade", pa.float64()),
            ("confidence", pa.float64()),
            ("answered_mass", pa.float64()),
            ("reasoning", pa.string()),
            ("error", pa.string()),
        ]
    ),
    "click_labels": pa.schema(
        [
            ("query_id", pa.string()),
            ("doc_id", pa.string()),
            ("relevance", pa.float64()),
            ("impressions", pa.int64()),
            ("clicks", pa.int64()),
            ("model", pa.string()),
            ("precision", pa.float64()),
        ]
    ),
}

KEYS: dict[str, list[str]] = {
    "queries": ["query_id"],
    "documents": ["doc_id"],
    "candidates": ["query_id", "doc_id"],
    "runs": ["query_id", "rank"],
    "sessions": ["session_id"],
    "judgments": ["query_id", "doc_id"],
    "splits": ["query_id"],
    "annotations": ["query_id", "doc_id", "annotator", "strategy", "prompt_id"],
    "click_labels": ["query_id", "doc_id", "model"],
}

# Columns that a table may lack; where it does, they are read as nulls.
OPTIONAL: dict[str, set[str]] = {
    "splits": {"bucket", "supervised"},
    "annotations": {"answered_mass", "reasoning"},
    "click_labels": {"precision"},
}

NULLABLE: dict[str, set[str]] = {
    "splits": OPTIONAL["splits"],
    "annotations": {"grade", "expected_grade", "confidence", "error"} | OPTIONAL["annotations"],
    "click_labels": OPTIONAL["click_labels"],
}

SPLITS = ("train", "validation", "test")

# Tables of sessions: those of the log window, and those after it.
SESSION_TABLES = ("sessions", "held_out_sessions")
SCHEMAS["held_out_sessions"], KEYS["held_out_sessions"] = SCHEMAS["sessions"], KEYS["sessions"]


def empty_table(name: str) -> pa.Table:
    """The table `name` with its schema and no rows."""
    return SCHEMAS[name].empty_table()


def columns_of(name: str) -> str:
    """The columns of schema `name`, as errors list them."""
    return ", ".join(SCHEMAS[name].names)
