"""Writes what a shard of a log holds into parts of a collection's tables, and sums it up."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.free_memory import give_back_free_memory
from corpus.mapped_arrays import hash_ids
from corpus.pair_sums import add_pair_sums, sum_pairs
from corpus.places import Place
from corpus.readers.log_format import SEARCHES, Columns, LogFormat, Shard
from corpus.readers.query_texts import add_texts, collect_texts, count_texts
from corpus.readers.shown_pairs import SUMS_FOLDER, PairFile, write_pairs
from corpus.schemas import SCHEMAS
from corpus.session_parts import write_session_part
from corpus.table_checks import check_table
from corpus.tables import table_path, write_parquet
from corpus.window import TIME

ROWS_PER_PART = 50_000
PAIRS_AT_ONCE = 100_000  # summed up in memory


@dataclass
class SessionPart:
    """A written part of the table sessions.

    Attributes:
        path: its file.
        columns: its columns and their types.
        numbered: the rows whose session id is their number in the shard, int64.
        hashes: of the session ids, uint64.
    """

    path: Place
    columns: dict[str, pa.DataType]
    numbered: NDArray[np.int64]
    hashes: NDArray[np.uint64]

    def in_own_memory(self) -> "SessionPart":
        """The same with copies of its arrays."""
        return replace(self, numbered=self.numbered.copy(), hashes=self.hashes.copy())


@dataclass
class ShardSums:
    """What is known of a shard once it is written.

    Attributes:
        of_documents: whether it is of documents that are given beside the log.
        rows: how many rows of the log it has, with those that were set aside.
        sessions: the parts of its searches, in their order.
        documents: the parts of its documents, in their order.
        texts: of `count_texts`; None where it has no searches, and once they were collected.
        pairs: what its searches show, some of them in each file.
        aside: what was set aside, by reason.
    """

    of_documents: bool
    rows: int = 0
    sessions: list[SessionPart] = field(default_factory=list)
    documents: list[Place] = field(default_factory=list)
    texts: pa.Table | None = None
    pairs: list[PairFile] = field(default_factory=list)
    aside: Counter[str] = field(default_factory=Counter)


def write_shard(log: LogFormat, shard: Shard, number: int, folder: Place, rows: int) -> ShardSums:
    """Reads a shard and writes its sessions and documents, few at a time in memory.

    Args:
        log: the format, which reads it.
        shard: what is read.
        number: of the shard, for the names of its parts.
        folder: the folder of the collection.
        rows: most searches of a part.

    Raises:
        InputError: the shard cannot be read.
    """
    sums = ShardSums(shard.of_documents)
    texts: list[pa.Table] = []
    pairs: list[pa.Table] = []
    known: set[str] = set()
    parts = _in_parts(_read(log, shard, sums), rows)
    for part, (searches, numbered, documents) in enumerate(parts):
        name = f"part-{number:05d}-{part:05d}.parquet"
        if searches.num_rows:
            path = table_path(folder, "sessions") / name
            columns = write_sessions(searches, path)
            hashes = hash_ids(searches["session_id"])
            sums.sessions.append(SessionPart(path, columns, numbered, hashes))
            collect_texts(texts, count_texts(searches))
            give_back_free_memory()  # of reading and writing, before summing takes its own
            pairs.append(sum_pairs(searches))
            if sum(map(len, pairs)) > PAIRS_AT_ONCE:
                _write_sums(pairs, number, folder, sums)
        if not shard.of_documents:
            documents = _new(documents, known)
        if documents.num_rows:
            path = table_path(folder, "documents") / name
            write_parquet(documents, path)
            sums.documents.append(path)
        give_back_free_memory()
    if pairs:
        _write_sums(pairs, number, folder, sums)
    if texts:
        sums.texts = add_texts(texts)
    return sums


def _write_sums(pairs: list[pa.Table], number: int, folder: Place, sums: ShardSums) -> None:
    """Writes what parts of a shard show, and lets go of it."""
    place = folder / SUMS_FOLDER / f"{number:05d}-{len(sums.pairs):05d}.parquet"
    sums.pairs.append(write_pairs(add_pair_sums(pairs), place))
    pairs.clear()


def write_sessions(searches: pa.Table, path: Place) -> dict[str, pa.DataType]:
    """Writes searches as a part of the table sessions; returns its columns."""
    table = searches.drop_columns("text")
    if table[TIME].null_count == table.num_rows:
        table = table.drop_columns(TIME)
    checked = check_table(table, "sessions", "the log", check_keys=False)
    write_session_part(table, path)
    return dict(zip(checked.column_names, checked.schema.types, strict=True))


def _read(log: LogFormat, shard: Shard, sums: ShardSums) -> Iterator[Columns]:
    """The parts of a shard, with all session ids filled and rows numbered in the whole shard."""
    for part in log.read(shard, sums.aside):
        row = np.zeros(0, dtype=np.int64)
        searches = part.searches
        ids = searches["session_id"]
        if ids.null_count:
            assert part.row is not None
            missing = pc.is_null(ids)
            row = part.row + sums.rows
            names = pc.if_else(missing, pa.array(row).cast(pa.string()), ids)
            position = searches.schema.get_field_index("session_id")
            searches = searches.set_column(position, "session_id", names)
            row = np.flatnonzero(missing.to_numpy())
        sums.rows += part.rows
        yield Columns(searches, part.documents, part.rows, row)


def _in_parts(
    parts: Iterator[Columns], rows: int
) -> Iterator[tuple[pa.Table, NDArray[np.int64], pa.Table]]:
    """Searches, their numbered rows and documents, of as many rows each but the last."""
    searches, documents = SEARCHES.empty_table(), SCHEMAS["documents"].empty_table()
    numbered = np.zeros(0, dtype=np.int64)
    for part in parts:
        assert part.row is not None
        numbered = np.append(numbered, part.row + searches.num_rows)
        searches = pa.concat_tables([searches, part.searches], promote_options="default")
        documents = pa.concat_tables([documents, part.documents])
        while searches.num_rows >= rows or documents.num_rows >= 2 * rows:
            here = min(rows, searches.num_rows)
            yield searches.slice(0, here), numbered[numbered < here], documents
            searches, documents = searches.slice(here), documents.slice(documents.num_rows)
            numbered = numbered[numbered >= here] - here
    if searches.num_rows or documents.num_rows:
        yield searches, numbered, documents


def _new(documents: pa.Table, known: set[str]) -> pa.Table:
    """The documents that the shard did not have before, which are then known."""
    ids = documents["doc_id"].to_pylist()
    rows = []
    for row, doc_id in enumerate(ids):
        if doc_id not in known:
            known.add(doc_id)
            rows.append(row)
    return documents.take(pa.array(rows, pa.int64())) if len(rows) < len(ids) else documents
