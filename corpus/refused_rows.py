"""How rows of a table are refused: in a line that names the first of them."""

from collections.abc import Iterable, Sequence
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from corpus.places import Place

FIRST_ROWS = 3  # rows that an error shows
UNREADABLE = "?"


class TableError(InputError):
    """A table that breaks its schema; the message names file, column and the first bad rows."""


def refuse_where(
    table: pa.Table, bad: pa.ChunkedArray, source: str | Place, column: str, reason: str
) -> None:
    """Refuses rows where a mask is true; see `refuse_rows`."""
    rows = pc.indices_nonzero(bad).to_pylist() if pc.any(bad).as_py() else []
    refuse_rows(table, rows, source, column, reason)


def refuse_rows(
    table: pa.Table, rows: Sequence[int], source: str | Place, column: str, reason: str
) -> None:
    """Refuses rows of a table, where there are any.

    Raises:
        TableError: naming the source, the column, the reason and the first rows.
    """
    if rows:
        raise TableError(
            f"{source}: column {column!r} {reason} in {len(rows):,} of {table.num_rows:,} rows; "
            f"{show_rows(table, rows)}"
        )


def show_rows(table: pa.Table, rows: Iterable[int]) -> str:
    """The first of some rows in a line, without their texts."""
    shown = []
    for row in islice(rows, FIRST_ROWS):
        cells = {
            name: show_cell(table[name][row])
            for name in table.column_names
            if name not in ("text", "title", "body")
        }
        shown.append(f"row {row}: {cells}")
    return "; ".join(shown) or "the table has no rows"


def show_cell(cell: pa.Scalar) -> str:
    """A cell in at most 60 characters, `UNREADABLE` where Python cannot hold it."""
    try:
        return str(cell.as_py())[:60]
    except (ValueError, OverflowError):  # bytes that are no UTF-8, dates beyond Python's
        return UNREADABLE
