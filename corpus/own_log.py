"""Reads a team's own click log: JSON lines or parquet, with its own names of columns."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import open as open_with_progress
from rich.progress import track

from corpus.errors import InputError
from corpus.log_tables import Document, LogFormat, Search

SEARCH_COLUMNS = {
    "session_id": "session_id",
    "query_id": "query_id",
    "text": "query",
    "doc_ids": "doc_ids",
    "clicks": "clicks",
}
DOCUMENT_COLUMNS = {"doc_id": "doc_id", "title": "title", "body": "body"}
ROWS_AT_ONCE = 10_000


class OwnLog(LogFormat):
    """Files of one's own, one row a search and one row a document.

    Args:
        sessions: .jsonl, .parquet, or a folder of either.
        documents: likewise.
        columns: what the log calls session_id, query_id, text, doc_ids, clicks (lists of 0 and 1,
            as long as doc_ids), doc_id, title and body, where it is not that. A log without query
            ids has its texts for ids, one without session ids its row numbers.
    """

    def __init__(self, sessions: Path, documents: Path, columns: dict[str, str]) -> None:
        known = SEARCH_COLUMNS | DOCUMENT_COLUMNS
        for name in columns:
            if name not in known:
                raise InputError(f"columns: {name!r} is none of {', '.join(known)}")
        self.sessions, self.document_files = sessions, documents
        self.columns = known | columns

    def searches(self, aside: Counter[str]) -> Iterator[Search]:
        names = {name: self.columns[name] for name in SEARCH_COLUMNS}
        for number, row in enumerate(_rows(self.sessions, aside)):
            for needed in ("doc_ids", "clicks", "text"):
                if number == 0 and names[needed] not in row:
                    raise InputError(
                        f"{self.sessions}: there is no column {names[needed]!r}, only "
                        f"{', '.join(row)}; give columns.{needed}"
                    )
            doc_ids, clicks, text = (row.get(names[name]) for name in ("doc_ids", "clicks", "text"))
            if not isinstance(doc_ids, list) or not isinstance(clicks, list) or not doc_ids:
                aside["searches without a list of documents and a list of clicks"] += 1
            elif len(clicks) != len(doc_ids) or any(click not in (0, 1) for click in clicks):
                aside["searches whose clicks are not a 0 or 1 for each document"] += 1
            elif len(set(map(str, doc_ids))) < len(doc_ids):
                aside["searches that show a document twice"] += 1
            elif not text:
                aside["searches without a query"] += 1
            else:
                yield Search(
                    session_id=str(row.get(names["session_id"], number)),
                    query_id=str(row.get(names["query_id"], text)),
                    text=str(text),
                    documents=[Document(str(doc_id)) for doc_id in doc_ids],
                    clicks=[bool(click) for click in clicks],
                )

    def documents(self, aside: Counter[str]) -> Iterator[Document]:
        names = {name: self.columns[name] for name in DOCUMENT_COLUMNS}
        for row in _rows(self.document_files, aside):
            if row.get(names["doc_id"]) is None:
                aside["documents without an id"] += 1
            else:
                yield Document(
                    str(row[names["doc_id"]]),
                    str(row.get(names["title"]) or ""),
                    str(row.get(names["body"]) or ""),
                )


def _rows(path: Path, aside: Counter[str]) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    files = sorted([*path.glob("*.jsonl"), *path.glob("*.parquet")]) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: there is no .jsonl or .parquet in it")
    for file in files:
        if file.suffix == ".parquet":
            yield from _parquet_rows(file)
        else:
            yield from _json_rows(file, aside)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        parquet = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is no parquet file: {error}") from error
    groups = track(range(parquet.num_row_groups), description=path.name, transient=True)
    for group in groups:
        for batch in parquet.iter_batches(ROWS_AT_ONCE, row_groups=[group]):
            yield from batch.to_pylist()


def _json_rows(path: Path, aside: Counter[str]) -> Iterator[dict[str, Any]]:
    with open_with_progress(path, "rt", encoding="utf-8", description=path.name) as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            if isinstance(row, dict):
                yield row
            elif line.strip():
                aside["lines that are no JSON object"] += 1
