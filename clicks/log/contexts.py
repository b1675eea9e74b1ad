"""The contexts of sessions, such as the device, that are learned from one by one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clicks.log.distinct import sessions_of
from corpus.errors import InputError
from corpus.schemas import SCHEMAS


def check_context(path: Path, context: str) -> None:
    """Refuses a column that cannot tell contexts apart, before anything is read.

    Args:
        path: of the table `sessions`, a file or a folder of parts.
        context: the column.

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
    """The schema of a parquet file; an InputError says that it is none."""
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read as parquet: {error}") from error


def split_by_context(sessions: pa.Table, context: str, path: Path) -> dict[str, pa.Table]:
    """The sessions of each context, by its name; those without one are set aside and counted.

    Args:
        sessions: the table `sessions`.
        context: one of its columns.
        path: what errors call the table.

    Raises:
        InputError: no session has a context.
    """
    values = sessions[context]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    missing = pc.is_null(values, nan_is_null=True)
    without = int(sessions_of(sessions) @ missing.to_numpy())
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
