"""Memory-mapped tables, for jobs whose memory must not grow with the tables."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.free_memory import give_back_free_memory
from corpus.mapped_arrays import IdRows, chunks_of, repeated_rows
from corpus.places import Place, arrow_files
from corpus.refused_rows import TableError
from corpus.schemas import KEYS, SESSION_TABLES
from corpus.table_checks import check_table, check_unique
from corpus.tables import (
    Collection,
    check_collection,
    pages_with_repeats,
    read_collection,
    read_table,
    table_path,
)

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
        repeated = repeated_rows(table, KEYS[name])
        if len(repeated):
            check_unique(take_rows(table, repeated), name, path)
    except (TableError, pa.ArrowException, OSError):
        # How many rows are wrong, and which come first, is known once all are seen.
        table = read_table(folder, name)
    give_back_free_memory()
    return table


def map_collection(folder: str | Place) -> Collection:
    """Reads and checks a collection as `corpus.tables.read_collection` does, by `map_table`.

    Raises:
        TableError: see `corpus.tables.read_collection`.
    """
    return read_collection(folder, map_table, _check_references)


def _check_references(collection: Collection, folder: str | Place) -> None:
    known = {
        "query_id": IdRows(collection.queries["query_id"]),
        "doc_id": IdRows(collection.documents["doc_id"]),
    }
    sound = min(collection.queries.num_rows, collection.documents.num_rows) > 0
    for name in ("candidates", *SESSION_TABLES, "judgments", "splits"):
        table = getattr(collection, name)
        for column in set(known) & set(table.column_names):
            for _, ids in chunks_of(table[column]):
                sound &= bool(np.all(known[column].find(ids) >= 0))
        if name in SESSION_TABLES:
            for _, shown in chunks_of(table["doc_ids"]):
                ids = pa.chunked_array([pc.list_flatten(shown.combine_chunks())])
                sound &= bool(np.all(known["doc_id"].find(ids) >= 0))
                sound &= not pages_with_repeats(shown)
    if not sound:
        # How many rows are wrong, and which come first, is known once all are seen.
        check_collection(collection, folder)


def take_rows(table: pa.Table, rows: NDArray[np.integer]) -> pa.Table:
    """`table.take(rows)`, see `MappedRows`."""
    return MappedRows(table).take(rows)


class MappedRows:
    """Takes rows of a table of many chunks without joining these, as pyarrow's `take` would.

    Args:
        table: the table to take rows from.
    """

    def __init__(self, table: pa.Table) -> None:
        self._schema, self._batches = table.schema, table.to_batches()
        self._begins = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def take(self, rows: NDArray[np.integer]) -> pa.Table:
        """Copies rows.

        Args:
            rows: indices of rows, from 0, in any order and with repetitions; shape (rows,).
        """
        order = np.argsort(rows, kind="stable")
        found = rows[order]
        holders, first = np.unique(
            np.searchsorted(self._begins, found, side="right") - 1, return_index=True
        )
        taken = [
            self._batches[holder].take(pa.array(some - self._begins[holder]))
            for holder, some in zip(holders, np.split(found, first)[1:], strict=True)
        ]
        return pa.Table.from_batches(taken, self._schema).take(np.argsort(order))


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
