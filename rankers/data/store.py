"""Lists on disk or in a store: written once, then read in any order by every worker."""

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.local_copies import local_copy
from corpus.places import Place, whole_file, write_whole

LISTS_PER_BATCH = 256
PARTS = "parts.json"
# Parts that are open, and so mapped into memory or copied to the node, at once.
OPEN_AT_ONCE = 64


def write_lists(tables: Iterable[pa.Table], place: Place) -> None:
    """Writes lists as an Arrow file, which appears under its name only when it is whole.

    Args:
        tables: of one schema, at least one of them with rows.
        place: of the file.
    """
    with whole_file(place) as file:
        writer = None
        for table in tables:
            if writer is None:
                writer = pa.ipc.new_file(str(file), table.schema)
            writer.write_table(table.combine_chunks(), max_chunksize=LISTS_PER_BATCH)
        assert writer is not None
        writer.close()


def write_counts(counts: Mapping[str, int], folder: Place) -> None:
    """Makes of files from `write_lists` in a folder one file of lists, for `ListFile`.

    Args:
        counts: lists of each of the files, by name; in this order they have their rows.
        folder: that the files are in.
    """
    write_whole(folder / PARTS, json.dumps(counts))


@dataclass(frozen=True)
class _Part:
    """A file of lists, mapped into memory.

    Attributes:
        source: the mapped file.
        reader: of its batches.
        ends: the number of lists up to and with each batch, int64 (batches,).
    """

    source: pa.MemoryMappedFile
    reader: pa.RecordBatchFileReader
    ends: NDArray[np.int64]

    def slices(self, rows: NDArray[np.int64]) -> list[pa.RecordBatch]:
        """The lists of some rows, in their order."""
        numbers = np.searchsorted(self.ends, rows, side="right")
        return [
            self.reader.get_batch(number).slice(row - (self.ends[number - 1] if number else 0), 1)
            for number, row in zip(numbers.tolist(), rows.tolist(), strict=True)
        ]


class ListFile:
    """Lists of a file from `write_lists`, or of a folder of such.

    What is not read costs nothing; files of a store are copied to the node when they are first
    read.

    Args:
        place: of the file or of the folder.

    Attributes:
        counts: lists of each file.
    """

    def __init__(self, place: Place) -> None:
        self._open: OrderedDict[int, _Part] = OrderedDict()
        self._traffic: OrderedDict[tuple[int, tuple[str, ...]], pa.Table] = OrderedDict()
        if place.is_dir():
            told: dict[str, int] = json.loads((place / PARTS).read_text(encoding="utf-8"))
            self._places, self.counts = [place / name for name in told], list(told.values())
        else:
            self._places = [place]
            self.counts = [int(self._part(0).ends[-1])]
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """The lists of some rows, in their order."""
        if len(rows) == 0:
            return self._part(0).reader.schema.empty_table()
        of_part, inside = self._locate(rows)
        lists: list[pa.RecordBatch] = [None] * len(rows)
        for number in np.unique(of_part).tolist():
            at = np.flatnonzero(of_part == number)
            for slot, found in zip(at, self._part(number).slices(inside[at]), strict=True):
                lists[slot] = found
        return pa.Table.from_batches(lists).combine_chunks()

    def columns(self, names: list[str], rows: NDArray[np.int64]) -> pa.Table:
        """Some columns of some lists, those of the names that there are; kept for the next ones."""
        of_part, inside = self._locate(rows)
        numbers = np.unique(of_part).tolist() or [0]
        if len(numbers) == 1:
            return self._columns(numbers[0], tuple(names)).take(inside)
        at = [np.flatnonzero(of_part == number) for number in numbers]
        tables = [
            self._columns(number, tuple(names)).take(inside[some])
            for number, some in zip(numbers, at, strict=True)
        ]
        return pa.concat_tables(tables).take(np.argsort(np.concatenate(at)))

    def _locate(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The file of each row, and its row in it."""
        of_part = np.searchsorted(self._ends, rows, side="right")
        return of_part, rows - np.append(0, self._ends)[of_part]

    def _part(self, number: int) -> _Part:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        source = pa.memory_map(str(local_copy(self._places[number])))
        reader = pa.ipc.open_file(source)
        batches = (reader.get_batch(batch) for batch in range(reader.num_record_batches))
        part = _Part(source, reader, np.cumsum([batch.num_rows for batch in batches]))
        self._open[number] = part
        if len(self._open) > OPEN_AT_ONCE:
            self._open.popitem(last=False)
        return part

    def _columns(self, number: int, names: tuple[str, ...]) -> pa.Table:
        key = number, names
        if key not in self._traffic:
            part = self._part(number)
            schema = part.reader.schema
            fields = [schema.get_field_index(name) for name in names if name in schema.names]
            options = pa.ipc.IpcReadOptions(included_fields=fields)
            table = pa.ipc.open_file(part.source, options=options).read_all().combine_chunks()
            self._traffic[key] = table
            if len(self._traffic) > OPEN_AT_ONCE:
                self._traffic.popitem(last=False)
        return self._traffic[key]
