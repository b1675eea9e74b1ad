"""Counts and encodes the sessions of logs that exceed one machine, with Ray Data."""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import ray
import ray.data

from clicks.log.contexts import check_context, count_rows, files_of, read_schema
from clicks.log.log_parts import LogPart, distinct_or_empty, encode_part
from cluster.connection import connect
from corpus.errors import InputError
from corpus.places import Place, arrow_files
from corpus.schemas import SCHEMAS

PARTS, ROWS_OF_PART = 64, 100_000


def count_sessions(folder: Place, by: str | None = None) -> pa.Table:
    """Counts equal sessions over all files of a folder.

    Each file is counted where it is read; the counts are shuffled by query and counted again. Only
    distinct sessions are sent between nodes and returned.

    Args:
        folder: parquet files with the columns of the table sessions, or one such file, readable on
            every node. A column `sessions` (int64) says how many sessions each row stands for.
        by: a further column that equal sessions must share.

    Returns:
        The table that `distinct_sessions` returns for all files together, except for the order of
        rows and for which of several equal sessions gives its session_id.

    Raises:
        InputError: there is no file, no session, or a file breaks the schema.
    """
    with _refusals(folder):
        refs = _counted(folder, by).to_arrow_refs()
        tables = [table for table in ray.get(refs) if table.num_rows]
    if not tables:
        raise InputError(f"{folder}: there are no sessions in it")
    return pa.concat_tables(tables)


def encode_parts(
    folder: Place, by: str | None, withheld: pa.Array, summed: bool
) -> Iterator[LogPart]:
    """Encodes the sessions of all files, each query in one part; arguments as of `encode_part`.

    Parts are encoded where they lie, so that this process gets numbers, and each id once.

    Raises:
        InputError: there is no file, no session, or a file breaks the schema.
    """

    def encode(sessions: pa.Table) -> pa.Table:
        parts = [encode_part(sessions, by, withheld, summed)] if sessions.num_rows else []
        return pa.table({"part": pa.array(map(pickle.dumps, parts), pa.large_binary())})

    with _refusals(folder):
        encoded = _counted(folder, by).map_batches(encode, batch_format="pyarrow", batch_size=None)
        for block in encoded.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from (pickle.loads(part.as_buffer()) for part in block["part"])


def _counted(folder: Place, by: str | None) -> ray.data.Dataset:
    """The distinct sessions of all files, those of a query in one block."""
    files = files_of(folder)
    if not files:
        raise InputError(f"{folder}: there is no parquet file in it")
    if by is not None:
        check_context(folder, by)
    connect()
    columns = [*SCHEMAS["sessions"].names, *([by] if by else [])]
    if "sessions" in read_schema(files[0]).names:
        columns.append("sessions")
    compact = partial(distinct_or_empty, by=by)
    store, _ = arrow_files(folder)
    paths = [arrow_files(file)[1] for file in files]
    parts = max(min(PARTS, len(files)), count_rows(folder) // ROWS_OF_PART)
    return (
        ray.data.read_parquet(paths, filesystem=store, columns=columns)
        .map_batches(compact, batch_format="pyarrow", batch_size=None)
        .repartition(parts, keys=["query_id"])
        .map_batches(compact, batch_format="pyarrow", batch_size=None)
    )


@contextmanager
def _refusals(folder: Place) -> Iterator[None]:
    """Raises what a task has refused as the InputError that it was there."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        # Ray Data keeps only the text of an error.
        refused = re.search(r"(?:InputError|TableError): (.*)", str(error))
        if refused:
            raise InputError(f"{folder}: {refused[1]}") from error
        raise
