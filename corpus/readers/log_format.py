"""What a format of click logs is: shards that are read by themselves, into columns."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.places import Place
from corpus.schemas import SCHEMAS
from corpus.window import TIME

SHARD_BYTES = 2**25
CODED = pa.dictionary(pa.int32(), pa.string())  # ids that come again and again, numbered once
SEARCHES = pa.schema(
    [
        ("session_id", pa.string()),
        ("query_id", CODED),
        ("text", pa.string()),
        ("doc_ids", pa.list_(CODED)),
        ("clicks", pa.list_(pa.bool_())),
        (TIME, pa.int64()),
    ]
)


@dataclass(frozen=True)
class Shard:
    """A piece of a log, or of its documents, that is read by itself.

    Attributes:
        path: the file.
        start: first byte, or first row group, of the piece.
        end: the one behind the last; None for the rest of the file.
        of_documents: whether it holds documents rather than searches.
    """

    path: Place
    start: int = 0
    end: int | None = None
    of_documents: bool = False


@dataclass(frozen=True)
class Columns:
    """What a part of a shard holds.

    Attributes:
        searches: session_id (null where the log has none), query_id, text (of the query), doc_ids
            in the order of positions, clicks, time (int64, null where the log tells none), and
            further columns of strings; a row a search, in the order of the log. Ids of queries and
            documents are dictionary-coded, so that what follows compares numbers.
        documents: doc_id, title, body; the first of an id counts. A null title is the one that the
            log has, and where it has none the document is left out.
        rows: how many rows of the log were read, with those that were set aside.
        row: which of them each search is, from 0, int64; None where all have a session id.
    """

    searches: pa.Table = field(default_factory=SEARCHES.empty_table)
    documents: pa.Table = field(default_factory=SCHEMAS["documents"].empty_table)
    rows: int = 0
    row: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Judgment:
    """A human grade of a query-document pair.

    Attributes:
        query_id: id of the query.
        doc_id: id of the document.
        grade: the human grade, from 0.
        text: text of the query where the log may not have it, else None.
        texts: title and body of the document where the log may not have it, else None.
    """

    query_id: str
    doc_id: str
    grade: int
    text: str | None = None
    texts: tuple[str, str] | None = None


class LogFormat(ABC):
    """A format of click logs; what is unusable is left out, and counted by reason.

    A format is sent to the workers that read its shards.
    """

    @abstractmethod
    def check(self) -> None:
        """Opens every file that is named, before any of them is read.

        Raises:
            InputError: a file is not there, or cannot be what it is given for.
        """

    @abstractmethod
    def shards(self, aside: Counter[str]) -> list[Shard]:
        """The shards in the order of the log, those of documents first."""

    @abstractmethod
    def read(self, shard: Shard, aside: Counter[str]) -> Iterator[Columns]:
        """Reads a shard, a part at a time; `aside` counts what is left out, by reason."""

    def judgments(self, aside: Counter[str]) -> Iterator[Judgment]:
        """Yields the human grades of the published data."""
        yield from ()

    def other_ids(self, queries: pa.Table, first_texts: dict[str, str]) -> dict[str, str]:
        """Query ids that are to be others, where a shard by itself cannot tell.

        Args:
            queries: query_id and text of the searches of the next shard.
            first_texts: the first text of each id of the shards before, which is added to.

        Returns:
            The right ids by those that the shard has; what is right is left out.
        """
        return {}


@dataclass
class SearchRows:
    """Searches that are read one by one, as columns.

    Attributes:
        documents: title and body of each document that the searches show.
    """

    documents: dict[str, tuple[str, str]] = field(default_factory=dict)
    _plain: list[tuple[str | None, str, str, int | None]] = field(default_factory=list)
    _lengths: list[int] = field(default_factory=lambda: [0])
    _doc_ids: list[str] = field(default_factory=list)
    _clicks: list[bool] = field(default_factory=list)
    _contexts: list[dict[str, str | None]] = field(default_factory=list)
    _row: list[int] = field(default_factory=list)

    def add(
        self,
        session_id: str | None,
        query_id: str,
        text: str,
        doc_ids: Sequence[str],
        clicks: Sequence[bool],
        time: int | None = None,
        context: dict[str, str | None] | None = None,
        row: int = 0,
    ) -> None:
        """Adds a search; the arguments are as in `Columns`."""
        self._plain.append((session_id, query_id, text, time))
        self._lengths.append(len(doc_ids))
        self._doc_ids += doc_ids
        self._clicks += clicks
        self._contexts.append(context or {})
        self._row.append(row)

    def columns(self, rows: int = 0) -> Columns:
        """The searches and documents as columns, of so many rows that were read."""
        names = ("session_id", "query_id", "text", TIME)
        plain = dict(zip(names, zip(*self._plain, strict=True), strict=True)) if self._plain else {}
        starts = pa.array(np.cumsum(self._lengths), pa.int32())
        doc_ids = pa.array(self._doc_ids, pa.string()).dictionary_encode()
        arrays = {
            "session_id": pa.array(plain.get("session_id", ()), pa.string()),
            "query_id": pa.array(plain.get("query_id", ()), pa.string()).dictionary_encode(),
            "text": pa.array(plain.get("text", ()), pa.string()),
            "doc_ids": pa.ListArray.from_arrays(starts, doc_ids),
            "clicks": pa.ListArray.from_arrays(starts, pa.array(self._clicks, pa.bool_())),
            TIME: pa.array(plain.get(TIME, ()), pa.int64()),
        }
        for name in dict.fromkeys(name for context in self._contexts for name in context):
            values = [context.get(name) for context in self._contexts]
            arrays[name] = pa.array(values, pa.string())
        return Columns(
            searches=pa.table(arrays),
            documents=documents_table(self.documents),
            rows=rows,
            row=np.array(self._row, dtype=np.int64),
        )


def documents_table(texts: dict[str, tuple[str, str]]) -> pa.Table:
    """The table documents of titles and bodies by id."""
    titles, bodies = zip(*texts.values(), strict=True) if texts else ((), ())
    columns = (list(texts), titles, bodies)
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.Table.from_arrays(arrays, schema=SCHEMAS["documents"])


def byte_shards(path: Place, of_documents: bool = False) -> list[Shard]:
    """Ranges of bytes of a file that is not gzipped, `SHARD_BYTES` each."""
    size = path.stat().st_size
    starts = range(0, max(size, 1), SHARD_BYTES)
    ends = [*starts[1:], None]
    return [Shard(path, *ends_of, of_documents) for ends_of in zip(starts, ends, strict=True)]
