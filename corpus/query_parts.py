"""Parts of tables that are keyed by query: how rows are packed for a shuffle, unpacked and checked.

Only `corpus.by_query` makes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.refused_rows import refuse_rows
from corpus.row_groups import ROW, Span, read_span
from corpus.schemas import KEYS, SCHEMAS, SESSION_TABLES
from corpus.table_checks import TWICE, repeated_keys

LACKS_QUERY = "names a query that queries.parquet lacks"
LACKS_DOCUMENT = "names a document that documents.parquet lacks"
# Before the name of a table whose keys do not tell its query: they are looked at by themselves.
KEYS_OF = "keys of "
PACKED = pa.schema(
    [
        ("part", pa.int64()),
        ("table", pa.string()),
        ("file", pa.int64()),
        ("first_row", pa.int64()),
        ("content", pa.large_binary()),
    ]
)


@dataclass(frozen=True)
class Origin:
    """Where the rows of a table of a part stand.

    Attributes:
        files: of the table.
        file: of each row, its number in `files`, int64 (rows,).
        row: of each row, its number in the file, int64 (rows,).
    """

    files: Sequence[str]
    file: NDArray[np.int64]
    row: NDArray[np.int64]


@dataclass(frozen=True)
class QueryPart:
    """What the tables hold of some queries.

    Attributes:
        number: of the part, from 0.
        count: how many parts there are; 1 where all is read at once.
        tables: by name, in the order of their files; empty where there is no file.
        origins: of the rows of each table.
    """

    number: int
    count: int
    tables: dict[str, pa.Table]
    origins: dict[str, Origin]

    def refuse(self, name: str, bad: Any, column: str, reason: str) -> None:
        """Refuses rows of a table where a mask is true, naming those of the first file.

        Args:
            name: of the table.
            bad: bool, of each row.
            column: whose value is wrong.
            reason: what is wrong, see `corpus.refused_rows.refuse_rows`.

        Raises:
            TableError: naming the file, the column and the rows.
        """
        rows = np.flatnonzero(np.asarray(bad))
        if len(rows):
            _refuse(self.tables[name], self.origins[name], rows, column, reason)


def wanted_columns(table: pa.Table, name: str, columns: Sequence[str] | None) -> list[str]:
    """The columns of a table that a part has: its key and those asked for, or those of its schema.

    Tables of sessions keep the counts of their rows, too.
    """
    counts = [column for column in ("sessions",) if name in SESSION_TABLES]
    asked = SCHEMAS[name].names if columns is None else columns
    wanted = dict.fromkeys(["query_id", *KEYS[name], *asked, *counts])
    return [column for column in wanted if column in table.column_names]


def pack_span(span: Span, parts: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a span, cut by a hash of their query, as rows of `PACKED`.

    Args:
        span: what to read.
        parts: how many there are.
        columns: see `wanted_columns`.
    """
    key = KEYS[span.table]
    for table in read_span(span):
        wanted = table.select([*wanted_columns(table, span.table, columns), ROW])
        yield _pack(wanted, "query_id", span, span.table, parts)
        if "query_id" not in key:
            yield _pack(table.select([*key, ROW]), key[0], span, KEYS_OF + span.table, parts)


def _pack(table: pa.Table, by: str, span: Span, name: str, parts: int) -> pa.Table:
    part = part_of(table[by], parts)
    order = np.argsort(part, kind="stable")
    cut = table.take(order).combine_chunks()
    numbers, starts = np.unique(part[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    contents = []
    for start, end in zip(starts, ends, strict=True):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, cut.schema) as writer:
            writer.write_table(cut.slice(start, end - start))
        contents.append(sink.getvalue().to_pybytes())
    columns = {
        "part": numbers,
        "table": [name] * len(numbers),
        "file": [span.file] * len(numbers),
        "first_row": cut[ROW].take(pa.array(starts)),
        "content": contents,
    }
    return pa.table(columns, PACKED)


def part_of(query_ids: pa.ChunkedArray, parts: int) -> NDArray[np.int64]:
    """The part that each query is in, int64; the same wherever it is asked."""
    coded = query_ids.combine_chunks().dictionary_encode()
    known = coded.dictionary.to_numpy(zero_copy_only=False)
    hashes = pd.util.hash_array(known, categorize=False)
    part = (hashes % np.uint64(parts)).astype(np.int64)
    return np.asarray(part[coded.indices.to_numpy()])


def unpack(
    packed: pa.Table, files: Mapping[str, Sequence[str]], empty: Mapping[str, pa.Table], parts: int
) -> Iterator[QueryPart]:
    """The checked parts whose rows a block of the shuffle holds, all of each.

    Args:
        packed: rows of `PACKED`.
        files: of each table, by its name.
        empty: what a part has of a table that says nothing of its queries, by name.
        parts: how many there are.

    Raises:
        TableError: a key is there twice, or a query is not among the queries.
    """
    packed = packed.sort_by(
        [(name, "ascending") for name in ("part", "table", "file", "first_row")]
    )
    of_part = packed["part"].to_numpy()
    for number in np.unique(of_part).tolist():
        first, last = np.searchsorted(of_part, [number, number + 1])
        rows = packed.slice(first, last - first)
        tables, origins = dict(empty), {}
        for name in pc.unique(rows["table"]).to_pylist():
            of_table = rows.filter(pc.equal(rows["table"], name))
            contents = [_opened(content) for content in of_table["content"]]
            table = pa.concat_tables(contents)
            lengths = [content.num_rows for content in contents]
            file = np.repeat(of_table["file"].to_numpy(), lengths)
            of_name = files[name.removeprefix(KEYS_OF)]
            origins[name] = Origin(of_name, file, table[ROW].to_numpy())
            tables[name] = table.drop_columns([ROW]).combine_chunks()
        for name, origin in origins.items():
            _refuse_repeated(tables[name], name.removeprefix(KEYS_OF), origin)
        kept = {name: table for name, table in tables.items() if not name.startswith(KEYS_OF)}
        part = QueryPart(number, parts, kept, origins)
        refuse_unknown_queries(part)
        yield part


def _opened(content: pa.Scalar) -> pa.Table:
    return pa.ipc.open_stream(content.as_buffer()).read_all()


def _refuse_repeated(table: pa.Table, name: str, origin: Origin) -> None:
    key = KEYS[name]
    if set(key) <= set(table.column_names):  # of sessions the keys came by themselves
        _refuse(table, origin, repeated_keys(table, key), ", ".join(key), TWICE)


def refuse_unknown_queries(part: QueryPart) -> None:
    """Refuses rows whose query the table `queries` of the part lacks.

    Raises:
        TableError: naming the table's file and the rows.
    """
    known = pc.unique(part.tables["queries"]["query_id"])
    for name, table in part.tables.items():
        if table.num_rows:
            unknown = pc.invert(pc.is_in(table["query_id"], value_set=known))
            part.refuse(name, unknown, "query_id", LACKS_QUERY)


def _refuse(
    table: pa.Table, origin: Origin, rows: NDArray[np.int64], column: str, reason: str
) -> None:
    if len(rows) == 0:
        return
    first = origin.file[rows].min()
    of_file = rows[origin.file[rows] == first]
    numbers = origin.row[of_file].tolist()
    refuse_rows(table, of_file.tolist(), origin.files[first], column, reason, numbers)
