"""Streams a click log into a collection's tables, whatever its format."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.console import Console

from corpus.candidates import add_positions, rank_shown, sum_positions
from corpus.errors import InputError
from corpus.readers.session_parts import settle_sessions
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table
from corpus.tables import table_path, write_parquet
from corpus.window import TIME, hold_out_parts

ROWS_PER_PART = 50_000


@dataclass(frozen=True)
class Document:
    """A document of a log or of a file of documents.

    Attributes:
        doc_id: id of the document.
        title: title, may be empty.
        body: text, may be empty.
    """

    doc_id: str
    title: str = ""
    body: str = ""


@dataclass(frozen=True)
class Search:
    """One search of a log: the query, its page of results and the clicks.

    Attributes:
        session_id: id of the session; several searches may have the same one.
        query_id: id of the query.
        text: text of the query.
        documents: the documents of the page, in the order of positions.
        clicks: whether each document was clicked, same length.
        time: when it was searched, in seconds or any other unit; None where the log does not tell.
        context: further columns of the log by name, null where a search has none.
    """

    session_id: str
    query_id: str
    text: str
    documents: list[Document]
    clicks: list[bool]
    time: int | None = None
    context: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Judgment:
    """A human grade of a query-document pair.

    Attributes:
        query_id: id of the query.
        document: the document, with its texts where the log may not have them.
        grade: the human grade, from 0.
        text: text of the query where the log may not have it, else None.
    """

    query_id: str
    document: Document
    grade: int
    text: str | None = None


class LogFormat(ABC):
    """A format of click logs; its iterators leave out what is unusable, and count it by reason."""

    @abstractmethod
    def check(self) -> None:
        """Opens every file that is named, before any of them is read.

        Raises:
            InputError: a file is not there, or cannot be what it is given for.
        """

    @abstractmethod
    def searches(self, aside: Counter[str]) -> Iterator[Search]:
        """Yields the searches of the log in its order; `aside` counts those left out, by reason."""

    def documents(self, aside: Counter[str]) -> Iterator[Document]:
        """Yields documents with more text than the log has, which replace those of the log."""
        yield from ()

    def judgments(self, aside: Counter[str]) -> Iterator[Judgment]:
        """Yields the human grades of the published data."""
        yield from ()


def write_log_tables(log: LogFormat, folder: Path, held_out: float) -> None:
    """Writes queries, documents, sessions, candidates and judgments into a collection's folder.

    Searches are written as they are read, in parts, and then parted by time. Queries are counted in
    the window; candidates are what the engine found in the whole log. In memory are the times, the
    distinct ids of queries and documents, the texts of queries and the pairs that were shown, but
    not the log. The numbers of rows that were set aside are printed with the reasons.

    Args:
        log: the reader of the log.
        folder: the folder of the collection.
        held_out: share of the searches to hold out, the last ones, in [0, 1).

    Raises:
        InputError: a file is missing or broken, or holds no usable search.
    """
    aside: Counter[str] = Counter()
    documents = _Documents(folder)
    for document in log.documents(aside):
        if not documents.add(document):
            aside["documents whose id an earlier one has, which is kept"] += 1
    texts: dict[str, str] = {}
    frequency: Counter[str] = Counter()
    shown: list[pd.DataFrame] = []
    for number, part in enumerate(_in_parts(log.searches(aside))):
        for search in part:
            if texts.setdefault(search.query_id, search.text) != search.text:
                aside[
                    "texts of searches, as their query id had another text before, which is kept"
                ] += 1
            frequency[search.query_id] += 1
            for document in search.documents:
                documents.add(document)
        sessions = _sessions_table(part)
        _write_part(sessions, folder, "sessions", number)
        shown.append(sum_positions(sessions))
        # Long sums are added to rarely, so that a log of many parts takes no time by the square.
        while len(shown) > 1 and 2 * len(shown[-1]) >= len(shown[-2]):
            shown[-2:] = [add_positions(shown[-2:])]
    if not shown:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in aside.items())
        raise InputError(f"the log holds no usable search; set aside: {counts or 'nothing'}")
    settle_sessions(folder)
    frequency -= hold_out_parts(folder, held_out)
    grades = _read_judgments(log, texts, documents, aside)
    documents.close()
    if documents.textless:
        aside["documents kept without any text"] = documents.textless
    _write_queries(texts, frequency, folder)
    _write_candidates(add_positions(shown), grades, folder)
    rows = [(*pair, grade) for pair, grade in grades.items()]
    _write(rows, "judgments", folder)
    for reason, count in sorted(aside.items()):
        Console(highlight=False).print(f"set aside: {count:,} {reason}", soft_wrap=True)


def _read_judgments(
    log: LogFormat, texts: dict[str, str], documents: "_Documents", aside: Counter[str]
) -> dict[tuple[str, str], int]:
    """The grade of each pair; texts that come with a judgment are added to those of the log."""
    grades: dict[tuple[str, str], int] = {}
    for judgment in log.judgments(aside):
        pair = (judgment.query_id, judgment.document.doc_id)
        if judgment.text is not None:
            texts.setdefault(judgment.query_id, judgment.text)
            documents.add(judgment.document)
        if judgment.query_id not in texts or judgment.document.doc_id not in documents.known:
            aside["judgments of unknown queries or documents"] += 1
        elif pair not in grades:
            grades[pair] = judgment.grade
        elif grades[pair] == judgment.grade:
            aside["judgments that repeat an earlier one"] += 1
        else:
            aside["judgments that contradict an earlier one, which is kept"] += 1
    return grades


class _Documents:
    """Writes each document once, in parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()
        self.waiting: list[Document] = []
        self.parts = 0
        self.textless = 0

    def add(self, document: Document) -> bool:
        """Whether its id is new."""
        if document.doc_id in self.known:
            return False
        self.known.add(document.doc_id)
        self.waiting.append(document)
        self.textless += not (document.title or document.body)
        if len(self.waiting) == ROWS_PER_PART:
            self.close()
        return True

    def close(self) -> None:
        if self.waiting:
            rows = [vars(document) for document in self.waiting]
            table = pa.Table.from_pylist(rows, schema=SCHEMAS["documents"])
            _write_part(table, self.folder, "documents", self.parts)
            self.waiting, self.parts = [], self.parts + 1


def _in_parts(searches: Iterable[Search]) -> Iterator[list[Search]]:
    part: list[Search] = []
    for search in searches:
        part.append(search)
        if len(part) == ROWS_PER_PART:
            yield part
            part = []
    if part:
        yield part


def _sessions_table(part: list[Search]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "session_id": [search.session_id for search in part],
        "query_id": [search.query_id for search in part],
        "doc_ids": [[document.doc_id for document in search.documents] for search in part],
        "clicks": [search.clicks for search in part],
    }
    table = pa.table(columns)
    times = pa.array([search.time for search in part], pa.int64())
    if times.null_count < len(times):
        table = table.append_column(TIME, times)
    for name in dict.fromkeys(name for search in part for name in search.context):
        values = pa.array([search.context.get(name) for search in part], pa.string())
        table = table.append_column(name, values)
    return check_table(table, "sessions", "the log", check_keys=False)


def _write_part(table: pa.Table, folder: Path, name: str, number: int) -> None:
    write_parquet(table, table_path(folder, name) / f"part-{number:05d}.parquet")


def _write_queries(texts: dict[str, str], frequency: Counter[str], folder: Path) -> None:
    _write([(name, text, frequency[name]) for name, text in texts.items()], "queries", folder)


def _write_candidates(shown: pd.DataFrame, judged: Iterable[tuple[str, str]], folder: Path) -> None:
    """What was shown, by mean position; of queries that were only judged, what was judged.

    A log of other queries than the judged ones publishes these with the list that its engine found.
    """
    known = set(shown["query_id"])
    more = pd.DataFrame(
        [(*pair, 1.0, 1) for pair in judged if pair[0] not in known],
        columns=shown.columns,
    )
    table = rank_shown(pd.concat([shown, more], ignore_index=True) if len(more) else shown)
    write_parquet(check_table(table, "candidates", "the log"), table_path(folder, "candidates"))


def _write(rows: list[tuple[Any, ...]], name: str, folder: Path) -> None:
    schema = SCHEMAS[name]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    write_parquet(pa.Table.from_arrays(arrays, schema=schema), table_path(folder, name))
