"""The files of tables as their footers tell of them, and their checked rows, some at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.places import Place, arrow_files, place_of
from corpus.refused_rows import TableError
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table
from corpus.tables import read_table, table_path

# Rows that a task reads, and of these those that are checked at once.
ROWS_OF_TASK, ROWS_OF_CHECK = 250_000, 65_536
ROW = "row in its file"


@dataclass(frozen=True)
class Span:
    """Row groups of a file of a table, which one task reads.

    Attributes:
        table: its name.
        place: of the table.
        path: of the file, in its file system.
        file: its number among those of the table.
        groups: numbers of the row groups.
        first_row: of these, in the file.
    """

    table: str
    place: str
    path: str
    file: int
    groups: list[int]
    first_row: int


@dataclass(frozen=True)
class TableFiles:
    """The files of a table, as their footers tell of them.

    Attributes:
        files: as errors name them.
        spans: all of it, for tasks.
        rows: how many there are.
        nulls: the columns that may lack a value somewhere.
    """

    files: Sequence[str]
    spans: Sequence[Span]
    rows: int
    nulls: frozenset[str] = frozenset()


def read_footers(folder: Place, name: str) -> TableFiles:
    """The files of a table, without what is in them.

    Raises:
        TableError: the table is missing or unreadable, or lacks a column.
    """
    place = table_path(folder, name)
    if not place.exists():
        read_table(folder, name)  # which says so
    system, inside = arrow_files(place)
    files, spans, rows, full = [], [], 0, set(SCHEMAS[name].names)
    try:
        dataset = pq.ParquetDataset(inside, filesystem=system)
        check_table(dataset.schema.empty_table(), name, place)
        for number, fragment in enumerate(dataset.fragments):
            files.append(f"{place}{fragment.path.removeprefix(inside)}")
            told = fragment.metadata
            full &= _full_columns(told)
            sizes = [told.row_group(group).num_rows for group in range(told.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            task = (starts[:-1] // ROWS_OF_TASK).tolist()
            for _, groups in groupby(range(len(sizes)), task.__getitem__):
                of_span = list(groups)
                first = int(starts[of_span[0]])
                spans.append(Span(name, str(place), fragment.path, number, of_span, first))
            rows += told.num_rows
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{place}: cannot be read as parquet: {error}") from error
    return TableFiles(files, spans, rows, frozenset(SCHEMAS[name].names) - full)


def _full_columns(told: pq.FileMetaData) -> set[str]:
    """The columns of a file of which its footer says that they hold no null."""
    full = set(told.schema.to_arrow_schema().names)
    for group in range(told.num_row_groups):
        for number in range(told.num_columns):
            column = told.row_group(group).column(number)
            counted = column.statistics
            if counted is None or not counted.has_null_count or counted.null_count:
                full.discard(column.path_in_schema)
    return full


def read_span(span: Span) -> Iterator[pa.Table]:
    """The checked rows of a span, some at a time, and a column `ROW`."""
    system, inside = arrow_files(place_of(span.place))
    source = f"{span.place}{span.path.removeprefix(inside)}"
    with pq.ParquetFile(span.path, filesystem=system, pre_buffer=False) as file:
        row = span.first_row
        batches = file.iter_batches(ROWS_OF_CHECK, row_groups=span.groups, use_threads=False)
        for batch in batches:
            table = pa.Table.from_batches([batch])
            try:
                table = check_table(table, span.table, source, check_keys=False)
            except TableError:
                # How many rows of the file are wrong, and where they stand, is known from all.
                whole = pq.read_table(span.path, filesystem=system)
                check_table(whole, span.table, source, check_keys=False)
                raise
            rows = pa.array(np.arange(row, row + table.num_rows))
            row += table.num_rows
            yield table.append_column(ROW, rows)
