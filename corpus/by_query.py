"""Tables that are keyed by query, brought together query by query without passing the driver.

Few rows are read here, as one part. Many are read by tasks of Ray Data, checked, and shuffled by a
hash of their query: each part then holds all that the tables say of its queries, and what is made
of it is made where it lies. The driver sees how many rows there are, and what is given back.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from corpus.errors import InputError
from corpus.groups import GroupRules, bucket_floors, splits_of_part
from corpus.places import Place
from corpus.query_parts import (
    Origin,
    QueryPart,
    pack_span,
    refuse_unknown_queries,
    unpack,
    wanted_columns,
)
from corpus.row_groups import Span, TableFiles, read_footers, read_span
from corpus.schemas import empty_table
from corpus.tables import read_table, table_path

if TYPE_CHECKING:
    import ray.data

# Rows of the longest table that are read here; and how many a part has where there are more.
ROWS_AT_ONCE, ROWS_OF_PART = 300_000, 100_000
# Bytes that a task of the shuffle takes; it asks Ray for twice as many.
SHUFFLED_AT_ONCE = 64 * 2**20

Function = Callable[[QueryPart], pa.Table]
Columns = Mapping[str, Sequence[str]]


def by_query(
    sources: Mapping[str, Place],
    function: Function,
    connect: Callable[[], None],
    columns: Columns | None = None,
) -> Iterator[pa.Table]:
    """What a function makes of all queries, part by part.

    A part has each table's key and the columns asked for, in the order of the files. Which part a
    query is in follows from its id and the number of parts alone.

    Args:
        sources: the folder of each table, by its name: `queries`, which must be there, and others
            with a column query_id, which may be missing.
        function: of a part; it is called where the part lies, so Ray must be able to send it. What
            it gives back passes the driver.
        connect: joins or starts a Ray cluster; called where there is more than one part.
        columns: of tables, by name, those that the function wants; by default those of the schema.

    Returns:
        What the function gave back, in no order.

    Raises:
        TableError: a table is missing or broken, a key is there twice, or a query is unknown,
            naming the file and the first rows.
        InputError: from the function.
    """
    columns = columns or {}
    found = table_files(sources)
    if (parts := parts_of(found)) == 1:
        yield function(read_whole(sources, columns))
        return
    connect()
    with tasks_refuse():
        dataset = shuffled(found, parts, function, columns)
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")


def table_files(sources: Mapping[str, Place]) -> dict[str, TableFiles]:
    """The files of those tables that there are, see `by_query`; nothing but footers is read.

    Raises:
        TableError: a table is unreadable or lacks a column, or there are no queries.
    """
    return {
        name: read_footers(folder, name)
        if name == "queries" or table_path(folder, name).exists()
        else TableFiles([], [], 0)
        for name, folder in sources.items()
    }


def parts_of(found: Mapping[str, TableFiles]) -> int:
    """In how many parts tables are brought together; 1 where they are read here, without Ray.

    Args:
        found: from `table_files`.
    """
    rows = max(files.rows for files in found.values())
    return 1 if rows <= ROWS_AT_ONCE else -(-rows // ROWS_OF_PART)


def read_whole(sources: Mapping[str, Place], columns: Columns) -> QueryPart:
    """All queries as one part; arguments as those of `by_query`.

    Raises:
        TableError: see `by_query`.
    """
    tables, origins = {}, {}
    for name, folder in sources.items():
        path = table_path(folder, name)
        table = empty_table(name)
        if name == "queries" or path.exists():
            table = read_table(folder, name)
        tables[name] = table.select(wanted_columns(table, name, columns.get(name)))
        file = np.zeros(table.num_rows, np.int64)
        origins[name] = Origin([str(path)], file, np.arange(table.num_rows))
    part = QueryPart(0, 1, tables, origins)
    refuse_unknown_queries(part)
    return part


def shuffled(
    found: Mapping[str, TableFiles], parts: int, function: Function, columns: Columns
) -> "ray.data.Dataset":
    """What a function makes of many queries, as a data set that Ray Data has yet to make.

    Args:
        found: from `table_files`.
        parts: from `parts_of`.
        function: see `by_query`.
        columns: see `by_query`.
    """
    import ray.data  # what is small needs no Ray

    spans = [asdict(span) for files in found.values() for span in files.spans]
    call = make_call(found, parts, function, columns)
    dataset = (
        ray.data.from_items(spans, override_num_blocks=len(spans))
        .map_batches(
            partial(_pack, parts=parts, columns=columns), batch_size=1, batch_format="pyarrow"
        )
        .repartition(parts, keys=["part"])
        .map_batches(call, batch_size=None, batch_format="pyarrow")
    )
    dataset.context.shuffle_input_batch_bytes = SHUFFLED_AT_ONCE
    dataset.context.enable_progress_bars = False
    return dataset


@contextmanager
def tasks_refuse() -> Iterator[None]:
    """Raises what a task of Ray Data has refused as the InputError that it was there."""
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        # Ray Data keeps only the text of an error.
        if refused := re.search(r"^(?:\S*\.)?(?:InputError|TableError): (.*)$", str(error), re.M):
            raise InputError(refused[1]) from error
        raise


def _pack(span: pa.Table, parts: int, columns: Columns) -> Iterator[pa.Table]:
    one = Span(**span.to_pylist()[0])
    return pack_span(one, parts, columns.get(one.table))


def make_call(
    found: Mapping[str, TableFiles], parts: int, function: Function, columns: Columns
) -> Callable[[pa.Table], Iterator[pa.Table]]:
    """What a task does with the packed rows of some parts; arguments as those of `shuffled`."""
    return partial(
        _call,
        function=function,
        groups=_group_rules(found),
        files={name: of_table.files for name, of_table in found.items()},
        empty={name: _empty(name, columns) for name in found},
        parts=parts,
    )


def _call(
    packed: pa.Table, function: Function, groups: GroupRules | None, **about: Any
) -> Iterator[pa.Table]:
    for part in unpack(packed, **about):
        if groups is not None:
            part.tables["splits"] = splits_of_part(part.tables, groups)
        yield function(part)


def _group_rules(found: Mapping[str, TableFiles]) -> GroupRules | None:
    """What parts need to know of all queries; None where the table `splits` says all of each."""
    if "splits" not in found:
        return None
    queries, splits = found["queries"], found["splits"]
    if splits.rows == queries.rows and not splits.nulls & {"bucket", "supervised"}:
        return None
    counts: Counter[int] = Counter()
    for span in queries.spans:
        for table in read_span(span):
            frequency, searched = np.unique(table["frequency"].to_numpy(), return_counts=True)
            counts.update(dict(zip(frequency.tolist(), searched.tolist(), strict=True)))
    return GroupRules(bucket_floors(counts), splits.rows > 0)


def _empty(name: str, columns: Columns) -> pa.Table:
    table = empty_table(name)
    return table.select(wanted_columns(table, name, columns.get(name)))
