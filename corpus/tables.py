"""The tables of a collection: read, written, and checked against each other.

A collection is a folder of parquet tables. The table NAME is ``NAME.parquet``, either one file
or a folder of parts, as pandas, pyarrow, Spark and Ray Data all read it. Columns beyond the
schema are kept, so a team's own columns travel along.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.places import Place, arrow_files, is_there, place_of, whole_file
from corpus.refused_rows import TableError, refuse_rows, refuse_where
from corpus.schemas import SESSION_TABLES, columns_of, empty_table
from corpus.table_checks import check_table, without_repeated

REQUIRED = ("queries", "documents")
PAGES_AT_ONCE = 4096
SHOWN_TWICE = "shows a document twice"


@dataclass(frozen=True)
class Collection:
    """The tables that every job reads; a table that a user does not have is empty.

    Attributes:
        queries: query_id, text, frequency (number of searches in the log window, at least 0).
        documents: doc_id, title, body.
        candidates: query_id, doc_id, rank (from 1) and score of the first-stage ranker: the pairs
            to annotate, train on and rerank.
        sessions: session_id, query_id, doc_ids (in the order of positions) and clicks (of each), of
            the log window: what is learned from.
        judgments: query_id, doc_id, human grade (-10 to 10, relevant from 1 on); only for
            evaluation and validation, never for training.
        splits: query_id and its split (train, validation or test), bucket (high, medium or low) and
            supervised (whether training may read its sessions and annotations); the last two are
            null where a table lacks them, so read them by `corpus.groups.query_groups`.
        held_out_sessions: sessions after the log window, as `sessions`; only for evaluation.
    """

    queries: pa.Table
    documents: pa.Table
    candidates: pa.Table
    sessions: pa.Table
    judgments: pa.Table
    splits: pa.Table
    held_out_sessions: pa.Table = field(default_factory=lambda: empty_table("held_out_sessions"))


def table_path(folder: str | Place, name: str) -> Place:
    """The path of a table: a parquet file, or a folder of parquet files.

    Args:
        folder: the folder of the collection, local or in a store.
        name: the name of the table.
    """
    return place_of(folder) / f"{name}.parquet"


def read_table(folder: str | Place, name: str) -> pa.Table:
    """Reads and checks the table `name` of `folder`.

    Raises:
        TableError: the file is missing or unreadable, or breaks the schema.
    """
    return check_table(_read_unchecked(folder, name), name, table_path(folder, name))


def read_without_repeated(folder: str | Place, name: str, repeated: Counter[str]) -> pa.Table:
    """Reads as `read_table` does, but keeps only the first of rows that are equal in all columns.

    Args:
        folder: the folder of the collection.
        name: the name of the table.
        repeated: counter of the rows left out, by table; it is added to.

    Raises:
        TableError: the file is missing or unreadable, or breaks the schema otherwise.
    """
    path = table_path(folder, name)
    table = check_table(_read_unchecked(folder, name), name, path, check_keys=False)
    kept = without_repeated(table, name, path)
    if kept.num_rows < table.num_rows:
        repeated[name] += table.num_rows - kept.num_rows
    return kept


def _read_unchecked(folder: str | Place, name: str) -> pa.Table:
    path = table_path(folder, name)
    _refuse_missing(path, name)
    try:
        return read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: cannot be read as parquet: {error}") from error


def _refuse_missing(path: Place, name: str) -> None:
    if not is_there(path):
        raise TableError(f"{path}: there is no such table; expected columns {columns_of(name)}")


def check_folder(folder: str | Place) -> None:
    """Refuses a folder that is missing or lacks a table that every collection has.

    Raises:
        TableError: naming the folder or the table.
    """
    if not (is_there(place_of(folder)) and place_of(folder).is_dir()):
        raise TableError(f"{folder}: there is no such folder; a collection is a folder of parquet")
    for name in REQUIRED:
        _refuse_missing(table_path(folder, name), name)


def write_table(table: pa.Table, folder: str | Place, name: str) -> Place:
    """Checks `table` and writes it whole or not at all; returns its path.

    Raises:
        TableError: the table breaks the schema.
    """
    path = table_path(folder, name)
    write_parquet(check_table(table, name, path), path)
    return path


def read_parquet(path: Place, columns: list[str] | None = None) -> pa.Table:
    """Reads a parquet file, or a folder of them, that Tandem has written: some columns, or all."""
    files, inside = arrow_files(path)
    return pq.read_table(inside, filesystem=files, columns=columns)


def write_parquet(table: pa.Table, path: Place) -> None:
    """Writes a parquet file so that a kill leaves either the old file or the new one."""
    with whole_file(path) as file:
        pq.write_table(table, file)


def read_collection(
    folder: str | Place,
    read: Callable[[str | Place, str], pa.Table] = read_table,
    check: Callable[[Collection, str | Place], None] | None = None,
) -> Collection:
    """Reads a collection and checks its tables and the references between them.

    Queries and documents must be there and filled; the other tables may be missing.

    Args:
        folder: the folder of the collection.
        read: a function that reads and checks a table, given the folder and the table's name.
        check: a function that checks what no single table shows, `check_collection` by default.

    Raises:
        TableError: see `check_table` and `check_collection`.
    """
    check_folder(folder)
    tables = {}
    for name in (table.name for table in fields(Collection)):
        exists = is_there(table_path(folder, name))
        tables[name] = read(folder, name) if exists else empty_table(name)
    collection = Collection(**tables)
    (check or check_collection)(collection, folder)
    return collection


def write_collection(collection: Collection, folder: str | Place) -> None:
    """Checks a collection and then writes its tables into `folder`.

    Raises:
        TableError: see `check_table` and `check_collection`.
    """
    names = [table.name for table in fields(Collection)]
    checked = Collection(
        **{n: check_table(getattr(collection, n), n, table_path(folder, n)) for n in names}
    )
    check_collection(checked, folder)
    for name in names:
        if name != "held_out_sessions" or checked.held_out_sessions.num_rows:
            write_parquet(getattr(checked, name), table_path(folder, name))


def check_collection(collection: Collection, folder: str | Place) -> None:
    """Refuses an empty collection, and faults that no single table shows.

    These are references to unknown queries or documents, and pages that show a document twice, as
    the position of a click on it would be ambiguous.

    Raises:
        TableError: naming the table's file, the column and the first offending rows.
    """
    for name in REQUIRED:
        if getattr(collection, name).num_rows == 0:
            raise TableError(f"{table_path(folder, name)}: has no rows; the collection is empty")
    for name in ("candidates", *SESSION_TABLES, "judgments", "splits"):
        table, path = getattr(collection, name), table_path(folder, name)
        unknown = _not_in(table["query_id"], collection.queries["query_id"])
        refuse_where(table, unknown, path, "query_id", "names a query that queries.parquet lacks")
    lacking = "names a document that documents.parquet lacks"
    for name in ("candidates", "judgments"):
        table, path = getattr(collection, name), table_path(folder, name)
        unknown = _not_in(table["doc_id"], collection.documents["doc_id"])
        refuse_where(table, unknown, path, "doc_id", lacking)
    for name in SESSION_TABLES:
        sessions, path = getattr(collection, name), table_path(folder, name)
        shown = sessions["doc_ids"]
        unknown = _not_in(pc.list_flatten(shown), collection.documents["doc_id"])
        if pc.any(unknown).as_py():
            rows = pc.unique(pc.list_parent_indices(shown).filter(unknown)).to_pylist()
            refuse_rows(sessions, rows, path, "doc_ids", lacking)
        twice = pages_with_repeats(shown)
        refuse_rows(sessions, twice, path, "doc_ids", SHOWN_TWICE)


def pages_with_repeats(shown: pa.ChunkedArray) -> list[int]:
    """The rows whose list holds a document more than once; few lists at a time are in memory."""
    rows: list[int] = []
    for first_row in range(0, len(shown), PAGES_AT_ONCE):
        lists = shown.slice(first_row, PAGES_AT_ONCE).combine_chunks()
        number = lists.flatten().dictionary_encode().indices.to_numpy()
        lengths = lists.value_lengths().to_numpy()
        starts = np.cumsum(lengths) - lengths
        for length in np.unique(lengths[lengths > 1]):
            of_length = np.flatnonzero(lengths == length)
            pages = np.sort(number[starts[of_length, None] + np.arange(length)], axis=1)
            repeats = np.any(pages[:, 1:] == pages[:, :-1], axis=1)
            rows.extend((first_row + of_length[repeats]).tolist())
    return sorted(rows)


def _not_in(values: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(values, value_set=pc.unique(known)))
