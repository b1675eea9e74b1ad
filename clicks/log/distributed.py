"""Counts distinct sessions of logs that exceed one machine, with Ray Data."""

import re
from functools import partial
from pathlib import Path

import pyarrow as pa
import ray
import ray.data

from clicks.log.contexts import check_context, read_schema
from clicks.log.distinct import distinct_sessions
from cluster.connection import connect
from corpus.errors import InputError
from corpus.schemas import SCHEMAS

PARTS = 64


def count_sessions(folder: Path, by: str | None = None) -> pa.Table:
    """Counts equal sessions over all files of a folder.

    Each file is counted where it is read; the counts are shuffled by query and counted again. Only
    distinct sessions are sent between nodes and returned.

    Args:
        folder: parquet files with the columns of the table sessions, readable on every node. A
            column `sessions` (int64) says how many sessions each row stands for.
        by: a further column that equal sessions must share.

    Returns:
        The table that `distinct_sessions` returns for all files together, except for the order of
        rows and for which of several equal sessions gives its session_id.

    Raises:
        InputError: there is no file, no session, or a file breaks the schema.
    """
    files = sorted(str(path) for path in folder.glob("*.parquet"))
    if not files:
        raise InputError(f"{folder}: there is no parquet file in it")
    if by is not None:
        check_context(folder, by)
    connect()
    columns = [*SCHEMAS["sessions"].names, *([by] if by else [])]
    if "sessions" in read_schema(Path(files[0])).names:
        columns.append("sessions")
    compact = partial(distinct_sessions, by=by)
    try:
        counted = (
            ray.data.read_parquet(files, columns=columns)
            .map_batches(compact, batch_format="pyarrow", batch_size=None)
            .repartition(min(PARTS, len(files)), keys=["query_id"])
            .map_batches(compact, batch_format="pyarrow", batch_size=None)
        )
        tables = [table for table in ray.get(counted.to_arrow_refs()) if table.num_rows]
    except ray.exceptions.RayTaskError as error:
        # Ray Data keeps only the text of an error.
        refused = re.search(r"(?:InputError|TableError): (.*)", str(error))
        if refused:
            raise InputError(f"{folder}: {refused[1]}") from error
        raise
    if not tables:
        raise InputError(f"{folder}: there are no sessions in it")
    return pa.concat_tables(tables)
