"""The tables of a collection: their schemas, and the checks that every job relies on.

A collection is a folder of parquet tables. The table NAME is ``NAME.parquet``, either one file
or a folder of parts, as pandas, pyarrow, Spark and Ray Data all read it. Columns beyond the
schema are kept, so a team's own columns travel along.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.errors import InputError

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
    "splits": pa.schema([("query_id", pa.string()), ("split", pa.string())]),
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
        ]
    ),
}

KEYS: dict[str, list[str]] = {
    "queries": ["query_id"],
    "documents": ["doc_id"],
    "candidates": ["query_id", "doc_id"],
    "sessions": ["session_id"],
    "judgments": ["query_id", "doc_id"],
    "splits": ["query_id"],
    "annotations": ["query_id", "doc_id", "annotator", "strategy", "prompt_id"],
    "click_labels": ["query_id", "doc_id", "model"],
}

NULLABLE: dict[str, set[str]] = {
    "annotations": {"grade", "expected_grade", "confidence", "error"},
}

SPLITS = ("train", "validation", "test")
FIRST_ROWS = 3
MOST_CODES = 2**62


class TableError(InputError):
    """A table that breaks its schema; the message names file, column and the first bad rows."""


@dataclass(frozen=True)
class Collection:
    """What is given: the tables that every job reads. A table that a user lacks is empty.

    Attributes:
        queries: query_id, text, frequency (searches in the log window).
        documents: doc_id, title, body.
        candidates: query_id, doc_id, rank (from 1), score of the first-stage ranker: what is
            annotated, trained on and reranked.
        sessions: session_id, query_id, doc_ids by position, clicks by position.
        judgments: query_id, doc_id, grade, from humans; for evaluation only, never for training.
        splits: query_id and the split it is in (train, validation or test).
    """

    queries: pa.Table
    documents: pa.Table
    candidates: pa.Table
    sessions: pa.Table
    judgments: pa.Table
    splits: pa.Table


def empty_table(name: str) -> pa.Table:
    """The table `name` with its schema and no rows."""
    return SCHEMAS[name].empty_table()


def table_path(folder: str | Path, name: str) -> Path:
    """Where the table `name` of `folder` lies."""
    return Path(folder) / f"{name}.parquet"


def read_table(folder: str | Path, name: str) -> pa.Table:
    """Reads and checks the table `name` of `folder`.

    Raises:
        TableError: the file is missing or unreadable, or breaks the schema.
    """
    path = table_path(folder, name)
    if not path.exists():
        raise TableError(f"{path}: there is no such table; expected columns {_columns(name)}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: cannot be read as parquet: {error}") from error
    return check_table(table, name, path)


def write_table(table: pa.Table, folder: str | Path, name: str) -> Path:
    """Checks `table` and writes it whole or not at all; returns its path.

    Raises:
        TableError: the table breaks the schema.
    """
    path = table_path(folder, name)
    write_parquet(check_table(table, name, path), path)
    return path


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a parquet file so that a kill leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(table, partial)
    os.replace(partial, path)


def check_table(
    table: pa.Table, name: str, source: str | Path, check_keys: bool = True
) -> pa.Table:
    """Returns `table` with the columns of schema `name` first, in order and type.

    Integers may be narrower or wider than the schema's, strings large or dictionary-coded, and
    clicks the numbers 0 and 1; anything that a safe cast cannot bring to the schema's type is
    refused.

    Args:
        table: to check.
        name: of its schema.
        source: what errors call it.
        check_keys: look for duplicate keys; it takes most of the time of a check.

    Raises:
        TableError: a missing column, a wrong type, a null in a column that must be filled, a
            duplicate key, or a value outside its range.
    """
    schema = SCHEMAS[name]
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise TableError(
            f"{source}: column {missing[0]!r} is missing; the table {name!r} has columns "
            f"{_columns(name)}, this file has {', '.join(table.column_names) or 'none'}"
        )
    checked = {}
    for field in schema:
        column = table[field.name]
        try:
            checked[field.name] = column.cast(field.type)
        except pa.ArrowException as error:
            raise TableError(
                f"{source}: column {field.name!r} is {column.type}, which cannot be read as "
                f"{field.type} ({error}); {_show_rows(table, _uncastable(column, field.type))}"
            ) from error
        if field.name not in NULLABLE.get(name, set()):
            _refuse(table, pc.is_null(checked[field.name]), source, field.name, "is null")
    if name == "sessions":
        _check_clicks(table, source)
    result = pa.table(checked)
    if check_keys:
        check_unique(result, name, source)
    _check_values(result, name, source)
    for column in table.column_names:
        if column not in schema.names:
            result = result.append_column(column, table[column])
    return result


def check_unique(table: pa.Table, name: str, source: str | Path) -> None:
    """Refuses rows whose key, by schema `name`, stands there more than once.

    Raises:
        TableError: naming the source, the columns and the first offending rows.
    """
    key = KEYS[name]
    if len(key) == 1 and pc.count_distinct(table[key[0]]).as_py() == table.num_rows:
        return
    # Sorting in place takes a tenth of the memory of a hash table of the keys.
    ordered = _key_codes(table, key)
    ordered.sort()
    if np.any(ordered[1:] == ordered[:-1]):
        rows = np.flatnonzero(pd.Index(_key_codes(table, key)).duplicated()).tolist()
        reason = "is a key that stands there more than once"
        _refuse_rows(table, rows, source, ", ".join(key), reason)


def read_collection(
    folder: str | Path, read: Callable[[str | Path, str], pa.Table] = read_table
) -> Collection:
    """Reads a collection and checks its tables and the references between them.

    Queries and documents must be there and filled; the other tables may be missing.

    Args:
        folder: of the collection.
        read: reads and checks a table, given the folder and its name.

    Raises:
        TableError: see `check_table` and `check_collection`.
    """
    if not Path(folder).is_dir():
        raise TableError(f"{folder}: there is no such folder; a collection is a folder of parquet")
    tables = {}
    for name in (field.name for field in fields(Collection)):
        required = name in ("queries", "documents")
        exists = table_path(folder, name).exists()
        tables[name] = read(folder, name) if required or exists else empty_table(name)
    collection = Collection(**tables)
    check_collection(collection, folder)
    return collection


def write_collection(collection: Collection, folder: str | Path) -> None:
    """Checks a collection and then writes its tables into `folder`.

    Raises:
        TableError: see `check_table` and `check_collection`.
    """
    names = [field.name for field in fields(Collection)]
    checked = Collection(
        **{n: check_table(getattr(collection, n), n, table_path(folder, n)) for n in names}
    )
    check_collection(checked, folder)
    for name in names:
        write_parquet(getattr(checked, name), table_path(folder, name))


def check_collection(collection: Collection, folder: str | Path) -> None:
    """Refuses an empty collection and references to queries or documents that are not there.

    Raises:
        TableError: naming the table's file, the column and the first offending rows.
    """
    for name in ("queries", "documents"):
        if getattr(collection, name).num_rows == 0:
            raise TableError(f"{table_path(folder, name)}: has no rows; the collection is empty")
    for name in ("candidates", "sessions", "judgments", "splits"):
        table, path = getattr(collection, name), table_path(folder, name)
        unknown = _not_in(table["query_id"], collection.queries["query_id"])
        _refuse(table, unknown, path, "query_id", "names a query that queries.parquet lacks")
    for name in ("candidates", "judgments"):
        table, path = getattr(collection, name), table_path(folder, name)
        unknown = _not_in(table["doc_id"], collection.documents["doc_id"])
        _refuse(table, unknown, path, "doc_id", "names a document that documents.parquet lacks")
    shown = collection.sessions["doc_ids"]
    unknown = _not_in(pc.list_flatten(shown), collection.documents["doc_id"])
    if pc.any(unknown).as_py():
        _refuse_rows(
            collection.sessions,
            pc.unique(pc.list_parent_indices(shown).filter(unknown)).to_pylist(),
            table_path(folder, "sessions"),
            "doc_ids",
            "names a document that documents.parquet lacks",
        )


def _uncastable(column: pa.ChunkedArray, wanted: pa.DataType) -> Iterator[int]:
    for row, value in enumerate(column):
        try:
            value.cast(wanted)
        except pa.ArrowException:
            yield row


def _check_clicks(table: pa.Table, source: str | Path) -> None:
    # Arrow takes every number but 0 for true: a count of clicks or a rating would pass for a click.
    lists = table["clicks"].combine_chunks()
    if not pa.types.is_nested(lists.type):
        return
    values = lists.flatten()
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        other = pc.not_equal(values, values.cast(pa.bool_()).cast(values.type))
        rows = pc.unique(pc.list_parent_indices(lists).filter(other)).to_pylist()
        _refuse_rows(table, rows, source, "clicks", "holds a number other than 0 and 1")


def _key_codes(table: pa.Table, key: Sequence[str]) -> NDArray[np.int64]:
    """A number for each row, equal where the keys are."""
    code, distinct = np.zeros(table.num_rows, dtype=np.int64), 1
    for column in key:
        encoded = table[column].dictionary_encode().combine_chunks()
        distinct *= max(len(encoded.dictionary), 1)
        if distinct > MOST_CODES:
            known, code = np.unique(code, return_inverse=True)
            distinct = len(known) * len(encoded.dictionary)
        code *= len(encoded.dictionary)
        code += encoded.indices.to_numpy()
    return code


def _check_values(table: pa.Table, name: str, source: str | Path) -> None:
    if name == "sessions":
        unequal = pc.not_equal(
            pc.list_value_length(table["doc_ids"]), pc.list_value_length(table["clicks"])
        )
        _refuse(table, unequal, source, "clicks", "has another length than doc_ids")
        for column in ("doc_ids", "clicks"):
            lists = table[column].combine_chunks()
            values = lists.flatten()
            if values.null_count:
                holed = pc.list_parent_indices(lists).filter(pc.is_null(values))
                _refuse_rows(table, pc.unique(holed).to_pylist(), source, column, "holds a null")
    if name == "splits":
        unknown = pc.invert(pc.is_in(table["split"], value_set=pa.array(SPLITS)))
        _refuse(table, unknown, source, "split", f"is none of {', '.join(SPLITS)}")
    for column, least in (("frequency", 0), ("rank", 1), ("impressions", 0), ("clicks", 0)):
        if column in SCHEMAS[name].names and pa.types.is_integer(table[column].type):
            _refuse(table, pc.less(table[column], least), source, column, f"is below {least}")


def _refuse(
    table: pa.Table, bad: pa.ChunkedArray, source: str | Path, column: str, reason: str
) -> None:
    rows = pc.indices_nonzero(bad).to_pylist() if pc.any(bad).as_py() else []
    _refuse_rows(table, rows, source, column, reason)


def _refuse_rows(
    table: pa.Table, rows: Sequence[int], source: str | Path, column: str, reason: str
) -> None:
    if rows:
        raise TableError(
            f"{source}: column {column!r} {reason} in {len(rows):,} of {table.num_rows:,} rows; "
            f"{_show_rows(table, rows)}"
        )


def _not_in(values: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(values, value_set=pc.unique(known)))


def _show_rows(table: pa.Table, rows: Iterable[int]) -> str:
    shown = []
    for row in islice(rows, FIRST_ROWS):
        cells = {
            name: str(table[name][row].as_py())[:60]
            for name in table.column_names
            if name not in ("text", "title", "body")
        }
        shown.append(f"row {row}: {cells}")
    return "; ".join(shown) or "the table has no rows"


def _columns(name: str) -> str:
    return ", ".join(SCHEMAS[name].names)
