"""Parquet files as columns, a few row groups a shard."""

import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import InputError
from corpus.places import Place, arrow_files
from corpus.readers.log_format import SHARD_BYTES, Shard

ROWS_AT_ONCE = 50_000
BYTES_AT_ONCE = 2**25  # before compression
ROWS_IN_MESSAGES = 1_000


def group_shards(path: Place, of_documents: bool) -> list[Shard]:
    """Ranges of row groups, of `SHARD_BYTES` before compression, or one group that is larger."""
    with open_parquet(path) as parquet:
        sizes = [
            parquet.metadata.row_group(group).total_byte_size
            for group in range(parquet.num_row_groups)
        ]
    shards, start, size = [], 0, 0
    for group, more in enumerate(sizes):
        if group > start and size + more > SHARD_BYTES:
            shards.append(Shard(path, start, group, of_documents))
            start, size = group, 0
        size += more
    return [*shards, Shard(path, start, len(sizes), of_documents)]


def read_parquet_columns(shard: Shard, wanted: set[str], time: str | None) -> Iterator[pa.Table]:
    """Reads the wanted columns of a shard; of searches, which have a time, also contexts.

    Args:
        shard: a range of row groups.
        wanted: names of columns; those of dates are left out, as no id or text is a date.
        time: the name of the column of times, which may be dates.

    Raises:
        InputError: the file is broken, or holds text that is not in UTF-8; naming it and the rows.
    """
    with open_parquet(shard.path) as parquet:
        columns = {
            field.name
            for field in parquet.schema_arrow
            # Some dates of files are beyond Python's.
            if (field.name in wanted and not pa.types.is_temporal(field.type))
            or (field.name == time and _is_moment(field.type))
            or (time is not None and may_be_context(field.type))
        }
        groups = [parquet.metadata.row_group(n) for n in range(parquet.num_row_groups)]
        row = sum(group.num_rows for group in groups[: shard.start])
        own = groups[shard.start : shard.end]
        size = sum(group.total_byte_size for group in own)
        rows = sum(group.num_rows for group in own) * BYTES_AT_ONCE // max(size, 1)
        batches = itertools.chain.from_iterable(
            # Few at a time: what several have is read ahead.
            parquet.iter_batches(
                min(max(rows, 1), ROWS_AT_ONCE),
                row_groups=list(some),
                columns=sorted(columns),
                use_threads=False,
            )
            for some in _runs([group.total_byte_size for group in own], shard.start)
        )
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"{shard.path}: is broken: {error}") from error
            _check_text(batch, shard.path, row)
            row += batch.num_rows
            # Of two columns of one name the last.
            last = {field.name: number for number, field in enumerate(batch.schema)}
            yield pa.table({name: batch.column(number) for name, number in last.items()})


def _runs(sizes: Sequence[int], start: int) -> Iterator[range]:
    """Ranges of row groups, of `BYTES_AT_ONCE` each, or one group that is larger."""
    first, size = 0, 0
    for number, more in enumerate(sizes):
        if number > first and size + more > BYTES_AT_ONCE:
            yield range(start + first, start + number)
            first, size = number, 0
        size += more
    yield range(start + first, start + len(sizes))


def open_parquet(path: Place) -> pq.ParquetFile:
    """Opens a parquet file.

    Raises:
        InputError: it is none.
    """
    files, inside = arrow_files(path)
    try:
        return pq.ParquetFile(inside, filesystem=files)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: is no parquet file: {error}") from error


def may_be_context(kind: pa.DataType) -> bool:
    """Whether a column may be a context of sessions: texts, numbers or truth values."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        holds(kind)
        for holds in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_boolean,
        )
    )


def _check_text(batch: pa.RecordBatch, path: Place, row: int) -> None:
    """Refuses text that is not in UTF-8; `row` is the number of the batch's first row."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for start in range(0, batch.num_rows, ROWS_IN_MESSAGES):
            few = batch.slice(start, ROWS_IN_MESSAGES)
            try:
                few.validate(full=True)
            except pa.ArrowInvalid as error:
                first = row + start
                raise InputError(
                    f"{path}: rows {first} to {first + few.num_rows - 1} hold text that is not in "
                    f"UTF-8 ({error}); write the file anew, with its texts as UTF-8"
                ) from error
        raise


def _is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)
