"""The checks that every job relies on: a table has its schema's columns, types, keys and ranges."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.frequency import BUCKETS
from corpus.places import Place
from corpus.refused_rows import (
    UNREADABLE,
    TableError,
    refuse_rows,
    refuse_where,
    show_cell,
    show_rows,
)
from corpus.schemas import (
    KEYS,
    NULLABLE,
    OPTIONAL,
    SCHEMAS,
    SESSION_TABLES,
    SPLITS,
    columns_of,
)

MOST_CODES = 2**62  # of keys, so that products fit into int64
# Grades of human judgments. TREC has grades below 0 for junk; grades below 1 are irrelevant.
LOWEST_GRADE, HIGHEST_GRADE = -10, 10
TWICE = "is a key that stands there more than once"
ROUNDING = 1e-6  # tolerance of bounds, for sums of probabilities
RANGES: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "queries": {"frequency": (0, None)},
    "candidates": {"rank": (1, None), "score": (None, None)},
    "judgments": {"grade": (LOWEST_GRADE, HIGHEST_GRADE)},
    "annotations": {
        "grade": (0, 3),
        "expected_grade": (0, 3),
        "confidence": (None, 1),
        "answered_mass": (0, 1),
    },
    "click_labels": {
        "relevance": (None, None),
        "impressions": (0, None),
        "clicks": (0, None),
        "precision": (0, None),
    },
}


def check_table(
    table: pa.Table, name: str, source: str | Place, check_keys: bool = True
) -> pa.Table:
    """Returns `table` with the columns of schema `name` first, in order and type.

    Integers may be narrower or wider than the schema's, strings large or dictionary-coded, and
    clicks the numbers 0 and 1; anything that a safe cast cannot bring to the schema's type is
    refused. In tables of sessions, a further column `sessions` says how many sessions each row
    stands for.

    Args:
        table: the table to check.
        name: the name of its schema.
        source: the file that errors name.
        check_keys: look for duplicate keys, which takes most of the time of a check.

    Raises:
        TableError: a missing column, a wrong type, a null in a column that must be filled, a
            duplicate key, text that is not UTF-8, a number that is not finite, or a value outside
            its range.
    """
    schema = SCHEMAS[name]
    for column in OPTIONAL.get(name, set()).difference(table.column_names):
        table = table.append_column(column, pa.nulls(table.num_rows, schema.field(column).type))
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise TableError(
            f"{source}: column {missing[0]!r} is missing; the table {name!r} has columns "
            f"{columns_of(name)}, this file has {', '.join(table.column_names) or 'none'}"
        )
    checked = {}
    for field in schema:
        column = table[field.name]
        try:
            checked[field.name] = _cast(column, field.type)
        except pa.ArrowException as error:
            raise TableError(
                f"{source}: column {field.name!r} is {column.type}, which cannot be read as "
                f"{field.type} ({error}); {show_rows(table, _uncastable(column, field.type))}"
            ) from error
        _check_text(table, field.name, source)
        if field.name not in NULLABLE.get(name, set()):
            refuse_where(table, pc.is_null(checked[field.name]), source, field.name, "is null")
    if name in SESSION_TABLES:
        _check_clicks(table, source)
    if name == "splits":
        other = _no_truth(table["supervised"])
        refuse_where(table, other, source, "supervised", "is a number other than 0 and 1")
    result = pa.table(checked)
    if check_keys:
        check_unique(result, name, source)
    _check_values(result, name, source)
    for column in table.column_names:
        if column not in schema.names:
            counts = name in SESSION_TABLES and column == "sessions"
            values = _check_counts(table, source) if counts else table[column]
            result = result.append_column(column, values)
    return result


def check_unique(table: pa.Table, name: str, source: str | Place) -> None:
    """Refuses rows whose key, by schema `name`, stands there more than once.

    Raises:
        TableError: naming the source, the columns and the first offending rows.
    """
    rows = repeated_keys(table, KEYS[name]).tolist()
    refuse_rows(table, rows, source, ", ".join(KEYS[name]), TWICE)


def repeated_keys(table: pa.Table, key: Sequence[str]) -> NDArray[np.int64]:
    """The rows whose key an earlier row has, int64, ascending.

    Args:
        table: with the columns of the key.
        key: names of columns.
    """
    if len(key) == 1 and pc.count_distinct(table[key[0]]).as_py() == table.num_rows:
        return np.array([], np.int64)
    # Sorting in place takes a tenth of the memory of a hash table of the keys.
    ordered = _key_codes(table, key)
    ordered.sort()
    if not np.any(ordered[1:] == ordered[:-1]):
        return np.array([], np.int64)
    return np.flatnonzero(pd.Index(_key_codes(table, key)).duplicated())


def without_repeated(table: pa.Table, name: str, source: str | Place) -> pa.Table:
    """The table without rows that equal an earlier row in all columns.

    Raises:
        TableError: rows have one key, by schema `name`, and differ in another column.
    """
    codes = _key_codes(table, KEYS[name])
    first_of: dict[int, int] = {}
    repeated: list[int] = []
    others: list[int] = []
    for row in np.flatnonzero(pd.Index(codes).duplicated(keep=False)).tolist():
        first = first_of.setdefault(codes[row], row)
        if first != row:
            same = table.slice(row, 1).equals(table.slice(first, 1))
            (repeated if same else others).append(row)
    refuse_rows(table, others, source, ", ".join(KEYS[name]), TWICE)
    if not repeated:
        return table
    return table.take(np.setdiff1d(np.arange(table.num_rows), repeated))


def _cast(values: pa.ChunkedArray | pa.Scalar, wanted: pa.DataType) -> Any:
    if pa.types.is_boolean(values.type) and pa.types.is_string(wanted):
        raise pa.ArrowInvalid("true and false are no ids or texts")
    try:
        return values.cast(wanted)
    except pa.ArrowInvalid:
        text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        if not (text and pa.types.is_integer(wanted)):
            raise
        return values.cast(pa.float64()).cast(wanted)  # "1.0" is a whole number


def _check_text(table: pa.Table, name: str, source: str | Place) -> None:
    """Refuses bytes that are no UTF-8, which files may hold as text, and NaN for an id."""
    column = table[name]
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        rows = [row for row, cell in enumerate(column) if show_cell(cell) == UNREADABLE]
        refuse_rows(table, rows, source, name, "holds text that is not UTF-8")
    if pa.types.is_floating(column.type):
        no_number = pc.and_(pc.is_valid(column), pc.is_nan(column))
        refuse_where(table, no_number, source, name, "is not finite")


def _uncastable(column: pa.ChunkedArray, wanted: pa.DataType) -> Iterator[int]:
    for row, value in enumerate(column):
        try:
            _cast(value, wanted)
        except pa.ArrowException:
            yield row


def _check_clicks(table: pa.Table, source: str | Place) -> None:
    lists = table["clicks"].combine_chunks()
    if pa.types.is_nested(lists.type):
        other = _no_truth(lists.flatten())
        rows = pc.unique(pc.list_parent_indices(lists).filter(other)).to_pylist()
        refuse_rows(table, rows, source, "clicks", "holds a number other than 0 and 1")


def _no_truth(values: Any) -> Any:
    """Where numbers are neither 0 nor 1: Arrow takes every other one for true, too."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return pa.array(np.zeros(len(values), dtype=np.bool_))
    return pc.not_equal(values, values.cast(pa.bool_()).cast(values.type))


def _key_codes(table: pa.Table, key: Sequence[str]) -> NDArray[np.int64]:
    """A number for each row, equal for equal keys; int64, shape (rows,)."""
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


def _check_values(table: pa.Table, name: str, source: str | Place) -> None:
    if name in SESSION_TABLES:
        unequal = pc.not_equal(
            pc.list_value_length(table["doc_ids"]), pc.list_value_length(table["clicks"])
        )
        refuse_where(table, unequal, source, "clicks", "has another length than doc_ids")
        for column in ("doc_ids", "clicks"):
            if any(chunk.flatten().null_count for chunk in table[column].chunks):
                lists = table[column].combine_chunks()
                holed = pc.list_parent_indices(lists).filter(pc.is_null(lists.flatten()))
                refuse_rows(table, pc.unique(holed).to_pylist(), source, column, "holds a null")
    if name == "splits":
        unknown = pc.invert(pc.is_in(table["split"], value_set=pa.array(SPLITS)))
        refuse_where(table, unknown, source, "split", f"is none of {', '.join(SPLITS)}")
        known = pa.array([*BUCKETS, None])
        unknown = pc.invert(pc.is_in(table["bucket"], value_set=known))
        refuse_where(table, unknown, source, "bucket", f"is none of {', '.join(BUCKETS)}")
    for column, (least, most) in RANGES.get(name, {}).items():
        values, slack = table[column], 0.0
        if pa.types.is_floating(values.type):
            refuse_where(table, pc.invert(pc.is_finite(values)), source, column, "is not finite")
            slack = ROUNDING
        if least is not None:
            below = pc.less(values, least - slack)
            refuse_where(table, below, source, column, f"is below {least}")
        if most is not None:
            above = pc.greater(values, most + slack)
            refuse_where(table, above, source, column, f"is above {most}")
    if name == "annotations":
        none = pc.less_equal(table["confidence"], 0)
        refuse_where(table, none, source, "confidence", "is not above 0")


def _check_counts(table: pa.Table, source: str | Place) -> pa.ChunkedArray:
    """The column `sessions` of the table `sessions`, whole numbers from 1."""
    column = table["sessions"]
    try:
        counts = column.cast(pa.int64())
    except pa.ArrowException as error:
        raise TableError(
            f"{source}: column 'sessions' is {column.type}, which cannot be read as int64, the "
            "sessions that each row stands for; give it another name if it is something else; "
            f"{show_rows(table, _uncastable(column, pa.int64()))}"
        ) from error
    hint = "(it counts the sessions of a row; give it another name if it is something else)"
    refuse_where(table, pc.is_null(counts), source, "sessions", f"is null {hint}")
    refuse_where(table, pc.less(counts, 1), source, "sessions", f"is below 1 {hint}")
    return counts
