"""Contexts of sessions, such as the device: click models are fitted to each one separately."""

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import InputError
from corpus.places import Place, arrow_files, is_there
from corpus.schemas import SCHEMAS


def check_context(path: Place, context: str) -> None:
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
    for file in files_of(path):
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


def files_of(path: Place) -> list[Place]:
    """The files of a table: itself, or those in it where it is a folder; sorted."""
    if not is_there(path):
        return []
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def count_rows(path: Place) -> int:
    """The rows of a table, by the footers of its files; 0 where they cannot be read."""
    store, inside = arrow_files(path)
    try:
        dataset = pq.ParquetDataset(inside, filesystem=store)
        return sum(fragment.count_rows() for fragment in dataset.fragments)
    except (pa.ArrowException, OSError):
        return 0  # what reads them says why


def read_schema(file: Place) -> pa.Schema:
    """Reads the schema of a parquet file.

    Raises:
        InputError: the file is not parquet.
    """
    store, inside = arrow_files(file)
    try:
        return pq.read_schema(inside, filesystem=store)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cannot be read as parquet: {error}") from error
