"""Reads a team's own click log: JSON lines or parquet, with its own names of columns."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from corpus.errors import InputError
from corpus.places import Place
from corpus.readers.ids import id_of, id_of_text, text_of
from corpus.readers.json_columns import Rows, read_json_columns
from corpus.readers.log_format import (
    Columns,
    LogFormat,
    SearchRows,
    Shard,
    byte_shards,
)
from corpus.readers.own_columns import (
    BAD_TIMES,
    NO_CLICKS,
    NO_DOC_ID,
    NO_DOCUMENT_ID,
    NO_LISTS,
    NO_QUERY,
    NO_TEXT,
    TWICE,
    documents_of,
    searches_of,
)
from corpus.readers.parquet_columns import group_shards, open_parquet, read_parquet_columns
from corpus.schemas import SCHEMAS
from corpus.text_lines import is_gzipped, read_json_lines
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

    def __init__(self, sessions: Place, documents: Place, columns: dict[str, str]) -> None:
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

    def shards(self, aside: Counter[str]) -> list[Shard]:
        shards = []
        for path, of_documents in ((self.document_files, True), (self.session_files, False)):
            for file in _files(path, aside):
                if file.suffix == ".parquet":
                    shards += group_shards(file, of_documents)
                elif is_gzipped(file):
                    shards.append(Shard(file, of_documents=of_documents))
                else:
                    shards += byte_shards(file, of_documents)
        return shards

    def read(self, shard: Shard, aside: Counter[str]) -> Iterator[Columns]:
        own = DOCUMENT_COLUMNS if shard.of_documents else SEARCH_COLUMNS
        names = {name: self.columns[name] for name in own}
        reserved = RESERVED | set(names.values())
        if shard.path.suffix == ".parquet":
            parts = read_parquet_columns(shard, set(names.values()), names.get("time"))
        else:
            parts = read_json_columns(shard.path, shard.start, shard.end, aside)
        for part in parts:
            if isinstance(part, list):
                read = _documents_of_rows if shard.of_documents else _searches_of_rows
                yield read(part, names, reserved, aside)
            elif shard.of_documents:
                yield documents_of(part, names, aside)
            else:
                yield searches_of(part, names, reserved, aside)


def _searches_of_rows(
    rows: Rows, names: dict[str, str], reserved: set[str], aside: Counter[str]
) -> Columns:
    """What `searches_of` makes of a table, of rows in which a name may have values of any type."""
    found = SearchRows()
    for number, row in enumerate(rows):
        shown, clicks = row.get(names["doc_ids"]), row.get(names["clicks"])
        text = text_of(row.get(names["text"]), aside)
        if not isinstance(shown, list) or not isinstance(clicks, list) or not shown:
            aside[NO_LISTS] += 1
            continue
        doc_ids = [doc_id for value in shown if (doc_id := id_of(value)) is not None]
        if len(clicks) != len(shown) or any(click not in (0, 1) for click in clicks):
            aside[NO_CLICKS] += 1
        elif len(doc_ids) < len(shown):
            aside[NO_DOC_ID] += 1
        elif len(set(doc_ids)) < len(doc_ids):
            aside[TWICE] += 1
        elif not text:
            aside[NO_QUERY] += 1
        else:
            told = row.get(names["time"])
            if (time := seconds_of(told)) is None and told not in (None, ""):
                aside[BAD_TIMES] += 1
            found.documents |= dict.fromkeys(doc_ids, ("", ""))
            found.add(
                session_id=id_of(row.get(names["session_id"])),
                query_id=id_of(row.get(names["query_id"])) or id_of_text(text),
                text=text,
                doc_ids=doc_ids,
                clicks=[bool(click) for click in clicks],
                time=time,
                context={
                    text_of(name, aside) or name: _context(value, aside)
                    for name, value in row.items()
                    if name not in reserved and not isinstance(value, (list, dict))
                },
                row=number,
            )
    return found.columns(len(rows))


def _documents_of_rows(
    rows: Rows, names: dict[str, str], reserved: set[str], aside: Counter[str]
) -> Columns:
    """What `documents_of` makes of a table, of rows in which a name may have any values."""
    found: dict[str, list[str]] = {"doc_id": [], "title": [], "body": []}
    for row in rows:
        doc_id, *texts = (row.get(name) for name in names.values())
        title, body = (text_of(value, aside) for value in texts)
        if (known := id_of(doc_id)) is None:
            aside[NO_DOCUMENT_ID] += 1
            continue
        if title is None or body is None:
            aside[NO_TEXT] += 1
        for name, value in zip(found, (known, title or "", body or ""), strict=True):
            found[name].append(value)
    return Columns(documents=pa.table(found, schema=SCHEMAS["documents"]))


def _context(value: Any, aside: Counter[str]) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value, aside) or None


def _files(path: Place, aside: Counter[str]) -> list[Place]:
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


def _column_names(file: Place) -> list[str]:
    """The columns of a file; of JSON lines, those of its first rows."""
    if file.suffix == ".parquet":
        with open_parquet(file) as parquet:
            return list(parquet.schema_arrow.names)
    rows = islice(read_json_lines(file, Counter()), ROWS_TO_NAME_COLUMNS)
    return list(dict.fromkeys(name for _, row in rows for name in row))
