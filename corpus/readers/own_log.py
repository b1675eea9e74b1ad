"""Reads a team's own click log: JSON lines or parquet, with its own names of columns."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from corpus.errors import InputError
from corpus.readers.ids import id_of, id_of_text, text_of
from corpus.readers.log_tables import Document, LogFormat, Search
from corpus.schemas import SCHEMAS
from corpus.text_lines import no_terminal, read_json_lines
from corpus.window import seconds_of

SEARCH_COLUMNS = {
    "session_id": "session_id",
    "query_id": "query_id",
    "text": "query",
    "doc_ids": "doc_ids",
    "clicks": "clicks",
    "time": "time",
}
DOCUMENT_COLUMNS = {"doc_id": "doc_id", "title": "title", "body": "body"}
NEEDED = ("doc_ids", "clicks", "text", "doc_id")
# A column `sessions` of the table sessions counts the sessions that each row stands for.
RESERVED = {*SCHEMAS["sessions"].names, "sessions"}
KINDS = (".jsonl", ".jsonl.gz", ".parquet")
ROWS_AT_ONCE = 1_000
ROWS_TO_NAME_COLUMNS = 100


class OwnLog(LogFormat):
    """Files of one's own, one row a search and one row a document.

    Further columns of the searches go along as text where they hold text, numbers or truth values
    alone, for click models that look at the context; others are not read.

    Args:
        sessions: the searches: a .jsonl, .jsonl.gz or .parquet file, or a folder of these.
        documents: the documents: a .jsonl, .jsonl.gz or .parquet file, or a folder of these.
        columns: names of the log's columns for session_id, query_id, text, doc_ids, clicks (lists
            of 0 and 1, as long as doc_ids), time (numbers, dates, or texts of ISO 8601), doc_id,
            title and body, where they differ. A search without a query id has an id made of its
            text, one without a session id its row number.
    """

    def __init__(self, sessions: Path, documents: Path, columns: dict[str, str]) -> None:
        known = SEARCH_COLUMNS | DOCUMENT_COLUMNS
        for name in columns:
            if name not in known:
                raise InputError(f"columns: {name!r} is none of {', '.join(known)}")
        self.session_files, self.document_files = sessions, documents
        self.needed = [*NEEDED, *columns]
        self.columns = known | columns

    def check(self) -> None:
        for path, names in (
            (self.session_files, SEARCH_COLUMNS),
            (self.document_files, DOCUMENT_COLUMNS),
        ):
            for file in _files(path, Counter()):
                found = _column_names(file)
                for name in self.needed:
                    if found and name in names and self.columns[name] not in found:
                        raise InputError(
                            f"{file}: there is no column {self.columns[name]!r}, only "
                            f"{', '.join(found)}; give columns.{name}"
                        )

    def searches(self, aside: Counter[str]) -> Iterator[Search]:
        names = {name: self.columns[name] for name in SEARCH_COLUMNS}
        context = RESERVED | set(names.values())
        rows = _rows(self.session_files, set(names.values()), names["time"], aside)
        for number, row in enumerate(rows):
            shown, clicks = row.get(names["doc_ids"]), row.get(names["clicks"])
            text = text_of(row.get(names["text"]), aside)
            if not isinstance(shown, list) or not isinstance(clicks, list) or not shown:
                aside["searches without a list of documents and a list of clicks"] += 1
                continue
            doc_ids = [doc_id for value in shown if (doc_id := id_of(value)) is not None]
            if len(clicks) != len(shown) or any(click not in (0, 1) for click in clicks):
                aside["searches whose clicks are not a 0 or 1 for each document"] += 1
            elif len(doc_ids) < len(shown):
                aside["searches that show a document without an id"] += 1
            elif len(set(doc_ids)) < len(doc_ids):
                aside["searches that show a document twice"] += 1
            elif not text:
                aside["searches without a query"] += 1
            else:
                told = row.get(names["time"])
                if (time := seconds_of(told)) is None and told not in (None, ""):
                    aside["times that are no number and no text of ISO 8601"] += 1
                yield Search(
                    session_id=id_of(row.get(names["session_id"])) or str(number),
                    query_id=id_of(row.get(names["query_id"])) or id_of_text(text),
                    text=text,
                    documents=[Document(doc_id) for doc_id in doc_ids],
                    clicks=[bool(click) for click in clicks],
                    time=time,
                    context={
                        text_of(name, aside) or name: _context(value, aside)
                        for name, value in row.items()
                        if name not in context and not isinstance(value, (list, dict))
                    },
                )

    def documents(self, aside: Counter[str]) -> Iterator[Document]:
        names = [self.columns[name] for name in DOCUMENT_COLUMNS]
        for row in _rows(self.document_files, set(names), None, aside):
            doc_id, *texts = (row.get(name) for name in names)
            title, body = (text_of(value, aside) for value in texts)
            if (known := id_of(doc_id)) is None:
                aside["documents without an id"] += 1
                continue
            if title is None or body is None:
                aside["titles and bodies of documents that are no text"] += 1
            yield Document(known, title or "", body or "")


def _context(value: Any, aside: Counter[str]) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value, aside) or None


def _files(path: Path, aside: Counter[str]) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.iterdir() if not file.name.startswith((".", "_")))
    files = [file for file in inside if file.name.endswith(KINDS)]
    if not files:
        raise InputError(f"{path}: there is no .jsonl, .jsonl.gz or .parquet in it")
    if len(files) < len(inside):
        aside[f"files that are no {', '.join(KINDS)}"] += len(inside) - len(files)
    return files


def _rows(
    path: Path, wanted: set[str], time: str | None, aside: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Rows with the wanted columns; of searches, which have a time, also what may be a context."""
    for file in _files(path, aside):
        if file.suffix == ".parquet":
            yield from _parquet_rows(file, wanted, time)
        else:
            yield from (row for _, row in read_json_lines(file, aside))


def _column_names(file: Path) -> list[str]:
    """The columns of a file; of JSON lines, those of its first rows."""
    if file.suffix == ".parquet":
        with _open_parquet(file) as parquet:
            return list(parquet.schema_arrow.names)
    rows = islice(read_json_lines(file, Counter()), ROWS_TO_NAME_COLUMNS)
    return list(dict.fromkeys(name for _, row in rows for name in row))


def _parquet_rows(path: Path, wanted: set[str], time: str | None) -> Iterator[dict[str, Any]]:
    with _open_parquet(path) as parquet:
        fields = parquet.schema_arrow
        columns = [
            field.name
            for field in fields
            # No id or text is a date, and some dates of files are beyond Python's.
            if (field.name in wanted and not pa.types.is_temporal(field.type))
            or (field.name == time and _is_moment(field.type))
            or (time is not None and _may_be_context(field.type))
        ]
        groups = track(
            range(parquet.num_row_groups), path.name, transient=True, disable=no_terminal()
        )
        row = 0
        for group in groups:
            batches = parquet.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns)
            for batch in _readable(batches, path):
                try:
                    batch.validate(full=True)
                except pa.ArrowInvalid as error:
                    raise InputError(
                        f"{path}: rows {row} to {row + batch.num_rows - 1} hold text that is not "
                        f"in UTF-8 ({error}); write the file anew, with its texts as UTF-8"
                    ) from error
                row += batch.num_rows
                if time in columns and _is_moment(fields.field(time).type):
                    batch = batch.set_column(columns.index(time), time, _in_seconds(batch[time]))
                yield from batch.to_pylist()


def _is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def _in_seconds(moments: pa.Array) -> pa.Array:
    zone = getattr(moments.type, "tz", None)
    return moments.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: is no parquet file: {error}") from error


def _readable(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: is broken: {error}") from error


def _may_be_context(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        holds(kind)
        for holds in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_boolean,
        )
    )
