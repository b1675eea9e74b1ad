"""Contexts of sessions, such as the device: click models are fitted to each one separately."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clicks.log.distinct import session_counts
from corpus.errors import InputError
from corpus.schemas import SCHEMAS


def check_context(path: Path, context: str) -> None:
    """Refuses a column that cannot name contexts, before the table is read.

    Args:
        path: the table sessions, a parquet file or a folder of them.
        context: the name of the column.

    Raises:
        InputError: a file has no such column, or it is one of those that make up a session, or
            holds lists or the like.
    """
    if context in (*SCHEMAS["sessions"].names, "sessions"):
        raise InputError(
            f"{path}: column {context!r} is a part of each session; contexts are told by a further "
            "column, such as the device"
        )
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    for file in files:
        schema = read_schema(file)
        if context not in schema.names:
            raise InputError(
                f"{file}: there is no column {context!r} to tell contexts by; there are "
                f"{', '.join(schema.names)}"
            )
        if pa.types.is_nested(schema.field(context).type):
            raise InputError(
                f"{file}: column {context!r} is {schema.field(context).type}; a context is one "
                "text or number"
            )


def read_schema(file: Path) -> pa.Schema:
    """Reads the schema of a parquet file.

    Raises:
        InputError: the file is not parquet.
    """
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read as parquet: {error}") from error


def split_by_context(sessions: pa.Table, context: str, path: Path) -> dict[str, pa.Table]:
    """Splits sessions by context; those with a null context are set aside, counted and printed.

    Args:
        sessions: the table sessions of a collection, with the column `context`.
        context: the name of the column.
        path: the file or folder that error messages name.

    Returns:
        The sessions of each context, by the context's name, sorted.

    Raises:
        InputError: no session has a context.
    """
    values = sessions[context]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    missing = pc.is_null(values, nan_is_null=True)
    without = int(session_counts(sessions) @ missing.to_numpy())
    if without:
        print(f"{without:,} sessions without a {context} are set aside")
    kept = pc.unique(values.filter(pc.invert(missing))).to_pylist()
    if not kept:
        raise InputError(f"{path}: column {context!r} is null in every session")
    parts = {}
    for value in sorted(kept):
        part = sessions.filter(pc.equal(values, pa.scalar(value, values.type)))
        if np.any(pc.list_value_length(part["doc_ids"]).to_numpy()):
            parts[str(value)] = part
        else:
            print(f"no session of {context} {value} shows a document: set aside")
    return parts
