"""JSON lines as columns, many lines at once; what Arrow does not take comes as rows."""

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from corpus.places import Place
from corpus.readers.ids import EXACT_FLOATS
from corpus.text_lines import (
    NO_OBJECT,
    TOO_LONG,
    decode_line,
    json_object,
    line_number,
    read_blocks,
)

PIECES = 16  # that a block is cut into where Arrow refuses it, to keep what it refuses small
FEW_BYTES = 2**16  # that are read line by line
MOST_NESTED = 200  # Arrow's own stack ends at some ten thousand
END = ord("\n")
BUT_OPENINGS = bytes(range(256)).translate(None, b"[{\n")

Rows = list[dict[str, Any]]


def read_json_columns(
    path: Place, start: int, end: int | None, aside: Counter[str]
) -> Iterator[pa.Table | Rows]:
    """Reads the JSON objects of the lines that begin in a range of a file's bytes.

    Args:
        path: a file of JSON lines.
        start: first byte of the range.
        end: the byte behind its last; None for all the rest.
        aside: counter, by reason, of lines that are no JSON object or too long.

    Yields:
        Parts of them in their order: a table, where all values of a column have one type, or a
        list of objects. A table holds no dates and no numbers that are not exact.

    Raises:
        InputError: the file cannot be read, or a line is not in UTF-8; naming it.
    """
    texts: dict[str, pa.DataType] = {}
    for at, block in read_blocks(path, start, end):
        if block is None:
            aside[TOO_LONG] += 1
        else:
            yield from _read(block, at, path, texts, aside)


def _read(
    block: bytes, at: int, path: Place, texts: dict[str, pa.DataType], aside: Counter[str]
) -> Iterator[pa.Table | Rows]:
    if (table := _table(block, texts)) is not None:
        yield table
    elif len(block) <= FEW_BYTES:
        yield _rows(block, at, path, aside)
    else:
        begin = 0
        while begin < len(block):
            cut = block.find(b"\n", begin + len(block) // PIECES) + 1 or len(block)
            piece = block[begin:cut]
            if len(piece) == len(block):
                yield _rows(block, at, path, aside)
            else:
                yield from _read(piece, at + begin, path, texts, aside)
            begin = cut


def _table(block: bytes, texts: dict[str, pa.DataType]) -> pa.Table | None:
    """The objects of a block as a table; None where it may not tell what the lines say.

    Args:
        block: whole lines.
        texts: columns that are texts, though they look like dates; it is added to.
    """
    # The brackets and braces that each line opens are at least as many as it is nested deep.
    openings = block.translate(None, BUT_OPENINGS)
    ends = np.flatnonzero(np.frombuffer(openings, dtype=np.uint8) == END)
    lines = _object_lines(block, len(ends))
    opened = np.diff(ends, prepend=-1, append=len(openings)) - 1
    if lines is None or opened.max() > MOST_NESTED:
        return None
    try:
        block.decode()
        table = _parse(block, texts)
        if dates := {field.name: kind for field in table.schema if (kind := _undated(field.type))}:
            texts |= dates
            table = _parse(block, texts)
        # Arrow gives lists that begin with nulls too few items, and then they are not valid.
        table.validate(full=True)
    except (pa.ArrowException, ValueError):
        texts.clear()  # of other files, in which the columns are numbers
        return None
    if table.num_rows != lines or not all(map(_is_exact, table.columns)):
        return None
    return table


def _parse(block: bytes, texts: dict[str, pa.DataType]) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(block),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema(texts)),
    )


def _object_lines(block: bytes, ends: int) -> int | None:
    """How many lines, of which so many end, are not blank; None where one is surely no object.

    Arrow takes two objects on one line, and one on two lines. Where each line begins and ends with
    a brace, an object on two lines is impossible.
    """
    lines = ends + (not block.endswith(b"\n"))
    whole = block.startswith(b"{") and block.endswith((b"}", b"}\n"))
    if whole and block.count(b"}\n{") == lines - 1:
        return lines
    lines = 0
    for line in block.split(b"\n"):
        if stripped := line.strip():
            lines += 1
            if stripped[:1] != b"{" or stripped[-1:] != b"}":
                return None
    return lines or None


def _undated(kind: pa.DataType) -> pa.DataType | None:
    """The type of texts for a type of dates, which Arrow sees in texts; None for others."""
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_list(kind) and pa.types.is_temporal(kind.value_type):
        return pa.list_(pa.string())
    return None


def _is_exact(column: pa.ChunkedArray) -> bool:
    """Whether a column has no float that may stand for several whole numbers."""
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    if not pa.types.is_floating(column.type):
        return True
    values = np.abs(column.to_numpy())
    return not np.any(values >= EXACT_FLOATS)


def _rows(block: bytes, at: int, path: Place, aside: Counter[str]) -> Rows:
    rows: Rows = []
    for line in io.BytesIO(block):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = decode_line(line.rstrip(b"\r\n"), path, line_number(path, at), "JSON")
        at += len(line)
        if not text.strip():
            continue
        if isinstance(row := json_object(text), dict):
            rows.append(row)
        else:
            aside[NO_OBJECT] += 1
    return rows
