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
    table: pa.Table,
    rows: Sequence[int],
    source: str | Place,
    column: str,
    reason: str,
    numbers: Sequence[int] | None = None,
) -> None:
    """Refuses rows of a table, where there are any.

    Args:
        table: that holds them.
        rows: their indices in it.
        source: the file that it was read from.
        column: whose value is wrong.
        reason: what is wrong.
        numbers: of these rows in the file, where the table is a part of it.

    Raises:
        TableError: naming the source, the column, the reason and the first rows.
    """
    if rows:
        of_all = f" of {table.num_rows:,}" if numbers is None else ""
        raise TableError(
            f"{source}: column {column!r} {reason} in {len(rows):,}{of_all} rows; "
            f"{show_rows(table, rows, numbers)}"
        )


def show_rows(table: pa.Table, rows: Iterable[int], numbers: Iterable[int] | None = None) -> str:
    """The first of some rows in a line, without their texts; by other numbers, where given."""
    rows = list(islice(rows, FIRST_ROWS))
    shown = []
    for row, number in zip(rows, rows if numbers is None else numbers, strict=False):
        cells = {
            name: show_cell(table[name][row])
            for name in table.column_names
            if name not in ("text", "title", "body")
        }
        shown.append(f"row {number}: {cells}")
    return "; ".join(shown) or "the table has no rows"


def show_cell(cell: pa.Scalar) -> str:
    """A cell in at most 60 characters, `UNREADABLE` where Python cannot hold it."""
    try:
        return str(cell.as_py())[:60]
    except (ValueError, OverflowError):  # bytes that are no UTF-8, dates beyond Python's
        return UNREADABLE
