"""Lists on disk: tokenized once, then read in any order by every worker."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.places import Place, whole_file

LISTS_PER_BATCH = 256


def write_lists(tables: Iterable[pa.Table], path: Place) -> None:
    """Writes lists as an Arrow file, which appears under its name only when it is whole.

    Args:
        tables: of one schema, at least one of them with rows.
        path: of the file.
    """
    with whole_file(path) as file:
        writer = None
        for table in tables:
            if writer is None:
                writer = pa.ipc.new_file(str(file), table.schema)
            writer.write_table(table.combine_chunks(), max_chunksize=LISTS_PER_BATCH)
        assert writer is not None
        writer.close()


class ListFile:
    """Lists of a file from `write_lists`, mapped into memory: what is not read costs nothing.

    Args:
        path: of the file, on this node.
    """

    def __init__(self, path: Path) -> None:
        self._source = pa.memory_map(str(path))
        self._reader = pa.ipc.open_file(self._source)
        batches = range(self._reader.num_record_batches)
        self._ends = np.cumsum([self._reader.get_batch(number).num_rows for number in batches])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """The lists of some rows, in their order."""
        numbers = np.searchsorted(self._ends, rows, side="right")
        lists = [
            self._reader.get_batch(number).slice(row - (self._ends[number - 1] if number else 0), 1)
            for number, row in zip(numbers.tolist(), rows.tolist(), strict=True)
        ]
        return pa.Table.from_batches(lists, schema=self._reader.schema).combine_chunks()

    def columns(self, names: list[str]) -> pa.Table:
        """Some columns of all lists, those of the names that there are."""
        schema = self._reader.schema
        numbers = [schema.get_field_index(name) for name in names if name in schema.names]
        reader = pa.ipc.open_file(
            self._source, options=pa.ipc.IpcReadOptions(included_fields=numbers)
        )
        return reader.read_all()
