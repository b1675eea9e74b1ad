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
TOO_LONG = f"lines longer than {MOST_BYTES // 2**20} MiB"
UTF_8_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = {  # that of UTF-32 begins with that of UTF-16
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
GZIP_MARK = b"\x1f\x8b"


def no_terminal() -> bool:
    """Whether standard output is no terminal, where a progress bar would leave blank lines."""
    return not Console().is_terminal


@contextmanager
def open_bytes(path: Place) -> Iterator[BinaryIO]:
    """Opens a file for reading, decompressed where it is gzipped, with a progress bar.

    Raises:
        InputError: there is no such file, or it cannot be read or unpacked.
    """
    try:
        with (
            path.open("rb") as file,
            wrap_file(
                file,
                path.stat().st_size,
                description=path.name,
                transient=True,
                disable=no_terminal(),
            ) as packed,
            io.BufferedReader(cast(io.RawIOBase, packed)) as plain,
        ):
            if path.suffix == ".gz" or plain.peek(2)[:2] == GZIP_MARK:
                with gzip.open(plain, "rb") as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield cast(BinaryIO, plain)
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
                for mark, other in OTHER_MARKS.items():
                    if line.startswith(mark):
                        raise InputError(
                            f"{path}: is in {other}, not UTF-8; convert it with iconv -f {other} "
                            "-t UTF-8"
                        )
                line = line.removeprefix(UTF_8_MARK)
            if len(line) <= MOST_BYTES:
                yield number, line.rstrip(b"\r\n")
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_BYTES)
            yield number, None


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
        fault = "a JSON object"
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            row, fault = None, f"JSON in UTF-8: {error}"
        if isinstance(row, dict):
            yield number, row
        elif aside is None:
            raise InputError(f"{path}: line {number} is not {fault}")
        else:
            aside["lines that are no JSON object"] += 1
