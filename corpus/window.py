"""Parts a log by time: the window that is learned from, and the traffic after it, held out."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.free_memory import give_back_free_memory
from corpus.frequency import count_frequency
from corpus.in_tasks import call_each
from corpus.mapped_arrays import slices
from corpus.places import Place, arrow_files, remove
from corpus.schemas import SESSION_TABLES
from corpus.session_parts import read_session_part, write_session_part
from corpus.tables import Collection, table_path

TIME = "time"
LAST_SECOND = 2**62
NUMBERS_AND_TEXTS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
)
WINDOW, LATER, TIMELESS = 0, 1, 2
FEW_PARTS = 32  # that tasks are not worth their beginning for
MOVED = pa.schema([("query_id", pa.string()), ("searches", pa.int64())])


def seconds_of(value: Any) -> int | None:
    """The time that a value of a log tells, in seconds; None where it tells none.

    Numbers, also as text, are taken as they are; texts of ISO 8601, without an offset in UTC, are
    seconds since 1970. Sessions are ordered by these alone, so that numbers may be in any unit.

    >>> [seconds_of(value) for value in (7, "7.5", "1970-01-01T00:01:00Z", "noon", True, None)]
    [7, 7, 60, None, None, None]
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                moment = datetime.fromisoformat(value.strip())
            except ValueError:
                return None
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return math.floor(value) if abs(value) < LAST_SECOND else None


def part_by_time(
    time: NDArray[np.int64] | None,
    known: NDArray[np.bool_] | None,
    sessions: NDArray[np.int64],
    share: float,
) -> NDArray[np.int8]:
    """Says of each row of a log whether it lies in the window or after it.

    Args:
        time: of each row, in any unit, shape (rows,); None for the order of the rows. Rows of equal
            time are in their order.
        known: where the time is known; others are `TIMELESS`, as they may be later than the window.
        sessions: how many sessions each row stands for, at least 1, shape (rows,).
        share: share of the sessions to hold out, in [0, 1); what is held out is rounded down.

    Returns:
        `WINDOW`, `LATER` or `TIMELESS` for each row, shape (rows,).
    """
    parts = np.full(len(sessions), WINDOW, dtype=np.int8)
    rows = np.arange(len(sessions))
    if time is not None and known is not None:
        parts[~known] = TIMELESS
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(time[rows], kind="stable")]
    most = share * int(sessions[rows].sum())
    later = held_out = 0
    for some in reversed([*slices(len(rows))]):  # from the end, few in memory at a time
        ending = held_out + np.cumsum(sessions[rows[some]][::-1])
        fitting = int(np.searchsorted(ending, most, side="right"))
        later, held_out = later + fitting, ending[-1]
        if fitting < len(ending):
            break
    parts[rows[len(rows) - later :]] = LATER
    return parts


def hold_out(collection: Collection, share: float, source: str | Place) -> Collection:
    """Moves the last sessions of a collection to `held_out_sessions`.

    Frequencies that are the counts of the sessions are counted anew, in the window alone; a team's
    own, as of a log of which the sessions are a sample, are kept. A collection with held-out
    sessions of its own is left as it is.

    Args:
        collection: with or without sessions, and with or without their column `time`.
        share: share of the sessions to hold out, in [0, 1).
        source: the folder of the sessions, which errors name.

    Raises:
        InputError: the column `time` holds neither numbers nor times.
    """
    sessions, queries = collection.sessions, collection.queries
    if not share or not sessions.num_rows or collection.held_out_sessions.num_rows:
        return collection
    if TIME in sessions.column_names:
        place = sessions.schema.get_field_index(TIME)
        times = _as_times(sessions[TIME], table_path(source, "sessions"))
        sessions = sessions.set_column(place, TIME, times)
    parts = _part(_seconds(sessions), _counts(sessions), share)
    window, later = (sessions.filter(pa.array(parts == part)) for part in (WINDOW, LATER))
    counted = count_frequency(queries["query_id"], collection.sessions)
    if pc.all(pc.equal(queries["frequency"], counted)).as_py():
        place = queries.schema.get_field_index("frequency")
        frequency = count_frequency(queries["query_id"], window)
        queries = queries.set_column(place, "frequency", frequency)
    elif later.num_rows:
        print(f"{source}: frequencies are not the counts of its sessions, and are kept")
    return replace(collection, queries=queries, sessions=window, held_out_sessions=later)


def hold_out_parts(folder: Place, share: float) -> pa.Table:
    """Moves the last sessions of a log in parts to `held_out_sessions`, with few in memory.

    Args:
        folder: the folder of the collection, with the table sessions in parts, whose column `time`,
            where they have one, is int64.
        share: share of the sessions to hold out, in [0, 1).

    Returns:
        query_id and searches (int64): how many sessions of each query are no longer in the window.
    """
    paths = sorted(table_path(folder, "sessions").glob("*.parquet")) if share else []
    seconds, lengths = _times_of_parts(paths)
    one_each = np.broadcast_to(np.int64(1), sum(lengths))
    parts = _part(seconds, one_each, share) if share else np.zeros(0)
    ends = zip(paths, np.cumsum(lengths), lengths, strict=True)
    of_paths = [(path, parts[end - length : end]) for path, end, length in ends]
    calls = [(path, part) for path, part in of_paths if part.any()]
    moved = [MOVED.empty_table(), *call_each(_hold_out_part, folder, calls, FEW_PARTS, False)]
    summed = pa.concat_tables(moved).group_by("query_id").aggregate([("searches", "sum")])
    give_back_free_memory()
    return summed.rename_columns(MOVED.names)


def _hold_out_part(folder: Place, path: Place, part: NDArray[np.int8]) -> pa.Table:
    """Moves sessions of a part; returns how many of each query are no longer in the window."""
    give_back_free_memory()  # of the part before
    table = read_session_part(path)
    counted = table["query_id"].filter(pa.array(part != WINDOW)).value_counts()
    for name, wanted in zip(SESSION_TABLES, (WINDOW, LATER), strict=True):
        rows, place = table.filter(pa.array(part == wanted)), table_path(folder, name)
        if rows.num_rows:
            write_session_part(rows, place / path.name)
        else:
            remove(place / path.name)
    columns = [counted.field(0).dictionary_decode(), counted.field(1)]
    return pa.table(columns, schema=MOVED)


def open_parquet(path: Place) -> pq.ParquetFile:
    """Opens a parquet file wherever it is; it is to be closed."""
    files, inside = arrow_files(path)
    return pq.ParquetFile(inside, filesystem=files)


def _times_of_parts(paths: Sequence[Place]) -> tuple[pa.ChunkedArray | None, list[int]]:
    """The column `time` of all parts, None where they have none; and the rows of each part."""
    timed = False
    chunks: list[pa.Array] = []
    lengths = []
    for path in paths:
        with open_parquet(path) as file:
            lengths.append(file.metadata.num_rows)
            timed = TIME in file.schema_arrow.names
            if timed:
                chunks += file.read([TIME])[TIME].chunks
    return pa.chunked_array(chunks, pa.int64()) if timed else None, lengths


def _part(
    time: pa.ChunkedArray | None, sessions: NDArray[np.int64], share: float
) -> NDArray[np.int8]:
    """Parts a log by a column of times that may be null; prints what became of it."""
    seconds = known = None
    if time is not None and time.null_count < len(time):
        seconds = pc.fill_null(time, 0).to_numpy()
        known = pc.is_valid(time).to_numpy()
    parts = part_by_time(seconds, known, sessions, share)
    later, timeless = (int(sessions[parts == part].sum()) for part in (LATER, TIMELESS))
    if timeless:
        print(f"set aside: {timeless:,} searches without a time, which others have")
    if later:
        order = "the order of the log, which has no times" if seconds is None else "time"
        timed = int(sessions.sum()) - timeless
        print(f"held out: {later:,} of {timed:,} sessions, the last by {order}")
    return parts


def _counts(sessions: pa.Table) -> NDArray[np.int64]:
    if "sessions" in sessions.column_names:
        return np.asarray(sessions["sessions"].to_numpy(), dtype=np.int64)
    return np.ones(sessions.num_rows, dtype=np.int64)


def _seconds(sessions: pa.Table) -> pa.ChunkedArray | None:
    return sessions[TIME].cast(pa.int64()) if TIME in sessions.column_names else None


def _as_times(column: pa.ChunkedArray, path: Place) -> pa.ChunkedArray:
    """A column of numbers, times, dates or texts as int64, or as times in microseconds."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    column = column.cast(kind)
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), pa.int64())])
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Nanoseconds are cut; other units can be beyond what microseconds hold.
        cut = pa.types.is_timestamp(kind) and kind.unit == "ns"
        try:
            return column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=not cut)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{path}: column {TIME!r} holds times out of range: {error}"
            ) from error
    if any(holds(kind) for holds in NUMBERS_AND_TEXTS):
        times = pa.array([seconds_of(value) for value in column.to_pylist()], pa.int64())
        if times.null_count < len(times):
            return pa.chunked_array([times])
    raise InputError(
        f"{path}: column {TIME!r} is {kind}, which tells no times; give numbers, dates or texts of "
        "ISO 8601, or give the column another name, or prepare with held_out 0"
    )
