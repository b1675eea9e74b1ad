"""Memory-mapped tables, for jobs whose memory must not grow with the tables."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.places import Place, arrow_files
from corpus.refused_rows import TableError
from corpus.table_checks import check_table, check_unique
from corpus.tables import read_table, table_path

BATCH_ROWS = 4096
BUFFER_BYTES = 2**16


def map_table(folder: str | Place, name: str) -> pa.Table:
    """Reads and checks as `corpus.tables.read_table` does, with few rows in memory at a time.

    The table lies, uncompressed, in a nameless file on the disk of temporary files (`TMPDIR`), of
    which a kill leaves nothing; the system drops its pages from memory as it needs room. Where that
    disk is full, and where parts differ in their columns, the table is read whole after all.
    `take_rows` finds rows; pyarrow's own `take` first joins the many chunks in memory.

    Raises:
        TableError: the file is missing or unreadable, or breaks the schema.
    """
    path = table_path(folder, name)
    files, inside = arrow_files(path)
    try:
        dataset = pq.ParquetDataset(inside, filesystem=files)
        no_rows = check_table(dataset.schema.empty_table(), name, path)
        table = _map_batches(_read_batches(dataset, name, path), no_rows.schema)
        check_unique(table, name, path)
    except (TableError, pa.ArrowException, OSError):
        # How many rows are wrong, and which come first, is known once all are seen.
        table = read_table(folder, name)
    pa.default_memory_pool().release_unused()
    return table


def take_rows(table: pa.Table, rows: NDArray[np.integer]) -> pa.Table:
    """`table.take(rows)`, but only these rows are copied, however many chunks the table has.

    Args:
        table: the table to take rows from.
        rows: indices of rows, from 0, in any order and with repetitions; shape (rows,).
    """
    batches = table.to_batches()
    begins = np.cumsum([0, *(batch.num_rows for batch in batches)])
    order = np.argsort(rows, kind="stable")
    found = rows[order]
    holder = np.searchsorted(begins, found, side="right") - 1
    numbers, starts = np.unique(holder, return_index=True)
    taken = [
        batches[number].take(found[start:end] - begins[number])
        for number, start, end in zip(numbers, starts, [*starts[1:], len(found)], strict=False)
    ]
    return pa.Table.from_batches(taken, table.schema).take(np.argsort(order))


def _read_batches(dataset: pq.ParquetDataset, name: str, path: Place) -> Iterator[pa.RecordBatch]:
    for file in dataset.files:
        with pq.ParquetFile(
            file, buffer_size=BUFFER_BYTES, pre_buffer=False, filesystem=dataset.filesystem
        ) as part:
            if part.schema_arrow != dataset.schema:
                raise TableError(f"{path}: has parts of different columns")
            for batch in part.iter_batches(BATCH_ROWS, use_threads=False):
                rows = pa.Table.from_batches([batch])
                yield from check_table(rows, name, path, check_keys=False).to_batches()


def _map_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    with tempfile.TemporaryFile() as file:
        with pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()
