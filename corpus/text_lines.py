"""Lines of text files, plain or gzipped, with a limit of length so that none fills the memory."""

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from rich.console import Console
from rich.progress import wrap_file

from corpus.errors import InputError
from corpus.places import Place

MOST_BYTES = 2**24  # of a line; a few kilobytes of gzip unpack to gigabytes without an end of line
NO_OBJECT = "lines that are no JSON object"
TOO_LONG = f"lines longer than {MOST_BYTES // 2**20} MiB"
UTF_8_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = {  # that of UTF-32 begins with that of UTF-16
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
GZIP_MARK = b"\x1f\x8b"
READ_BYTES = 2**17
BLOCK_BYTES = 2**24  # of whole lines that are read at once


def no_terminal() -> bool:
    """Whether standard output is no terminal, where a progress bar would leave blank lines."""
    return not Console().is_terminal


@contextmanager
def open_bytes(path: Place, start: int = 0) -> Iterator[BinaryIO]:
    """Opens a file for reading, decompressed where it is gzipped, with a progress bar.

    Args:
        path: the file.
        start: byte to begin at, which a gzipped file does not have.

    Raises:
        InputError: there is no such file, or it cannot be read or unpacked.
    """
    with (
        reaching_file(path),
        _open_at(path, start) as file,
        wrap_file(
            file,
            path.stat().st_size,
            description=path.name,
            transient=True,
            disable=no_terminal(),
        ) as packed,
        io.BufferedReader(cast(io.RawIOBase, packed), READ_BYTES) as plain,
    ):
        if not start and (path.suffix == ".gz" or plain.peek(2)[:2] == GZIP_MARK):
            with gzip.open(plain, "rb") as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield cast(BinaryIO, plain)


@contextmanager
def reaching_file(path: Place) -> Iterator[None]:
    """Turns what opening, reading or unpacking a file raises into a line that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: is no whole gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_lines(path: Place) -> Iterator[tuple[int, bytes | None]]:
    """Yields the number, from 1, and the bytes of each line without its end.

    A line longer than MOST_BYTES is None.

    A mark of UTF-8 (BOM) at the beginning is no part of the first line.

    Raises:
        InputError: the file is missing, cannot be read, or is in UTF-16 or UTF-32.
    """
    with open_bytes(path) as file:
        number = 0
        while line := file.readline(MOST_BYTES + 1):
            number += 1
            if number == 1:
                line = without_mark(line, path)
            if len(line) <= MOST_BYTES:
                yield number, line.rstrip(b"\r\n")
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_BYTES)
            yield number, None


def read_blocks(
    path: Place, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, bytes | None]]:
    """Yields whole lines, many at once: all that begin in a range of bytes.

    Args:
        path: a file of lines; one that is gzipped has no ranges.
        start: first byte of the range.
        end: the byte behind its last; None for all the rest.

    Yields:
        The byte at which a block begins in the (unpacked) file, and the block, at most 16 MiB and
        a line; or None for a line longer than MOST_BYTES.

    Raises:
        InputError: the file is missing, cannot be read, or is in UTF-16 or UTF-32.
    """
    size = min(BLOCK_BYTES, MOST_BYTES)
    with open_bytes(path, max(start - 1, 0)) as file:
        at = start - 1 + _skip_line(file) if start else 0
        while end is None or at < end:
            block = file.read(size if end is None else min(size, end - at))
            if not block:
                return
            if not block.endswith(b"\n"):
                rest = file.readline(MOST_BYTES + 1)
                begun = len(block) - block.rfind(b"\n") - 1
                if begun + len(rest) > MOST_BYTES:
                    kept = len(block) - begun
                    if kept:
                        yield at, block[:kept]
                    yield at + kept, None
                    at += len(block) + len(rest)
                    at += 0 if rest.endswith(b"\n") else _skip_line(file)
                    continue
                block += rest
            plain = block if at else without_mark(block, path)
            at += len(block)
            yield at - len(plain), plain


def line_number(path: Place, at: int) -> int:
    """The number, from 1, of the line that begins at a byte of the (unpacked) file."""
    number = 1
    with open_bytes(path) as file:
        while at > 0 and (read := file.read(min(at, BLOCK_BYTES))):
            number += read.count(b"\n")
            at -= len(read)
    return number


def is_gzipped(path: Place) -> bool:
    """Whether a file is to be unpacked.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    with reaching_file(path), path.open("rb") as file:
        return path.suffix == ".gz" or file.read(2) == GZIP_MARK


def without_mark(begin: bytes, path: Place) -> bytes:
    """The beginning of a file without a mark of UTF-8 (BOM).

    Raises:
        InputError: it has the mark of UTF-16 or UTF-32.
    """
    for mark, other in OTHER_MARKS.items():
        if begin.startswith(mark):
            raise InputError(
                f"{path}: is in {other}, not UTF-8; convert it with iconv -f {other} -t UTF-8"
            )
    return begin.removeprefix(UTF_8_MARK)


def _skip_line(file: BinaryIO) -> int:
    """Reads to behind the end of a line; returns how many bytes that took."""
    skipped = 0
    while line := file.readline(MOST_BYTES):
        skipped += len(line)
        if line.endswith(b"\n"):
            break
    return skipped


def _open_at(path: Place, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return cast(BinaryIO, file)


def decode_line(line: bytes | None, path: Place, number: int, kind: str = "text") -> str:
    """The text of a line from `read_lines`.

    Raises:
        InputError: the line is too long, or not in UTF-8; naming it and its first wrong byte.
    """
    if line is None:
        raise InputError(
            f"{path}: line {number} is longer than {MOST_BYTES // 2**20} MiB; "
            "shorten it, or take it out"
        )
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line {number} is not {kind} in UTF-8: byte {error.start + 1} "
            f"(0x{line[error.start]:02x}) is not UTF-8; convert the file, for instance with "
            "iconv -f LATIN1 -t UTF-8"
        ) from error


def read_json_lines(
    path: Place, aside: Counter[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the number, from 1, and the JSON object of each line that is not blank.

    Args:
        path: a file of JSON lines, gzipped or not.
        aside: counter, by reason, of lines that are no JSON object or too long; without it they are
            refused.

    Raises:
        InputError: the file cannot be read; a line is not in UTF-8; or, without `aside`, it is no
            JSON object or too long. The message names file and line.
    """
    for number, line in read_lines(path):
        if line is None and aside is not None:
            aside[TOO_LONG] += 1
            continue
        text = decode_line(line, path, number, "JSON")
        if not text.strip():
            continue
        row = json_object(text)
        if isinstance(row, dict):
            yield number, row
        elif aside is None:
            raise InputError(f"{path}: line {number} is not {row}")
        else:
            aside[NO_OBJECT] += 1


def json_object(text: str) -> dict[str, Any] | str:
    """The JSON object that a text is, or what it should be and is not."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"JSON in UTF-8: {error}"
    return row if isinstance(row, dict) else "a JSON object"
