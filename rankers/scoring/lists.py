"""The lists that a job scores: few of them in memory, or many in files, where they are scored.

These are two ways since neither serves for both. In files a scorer takes a piece of up to
`MOST_PAIRS_PER_PIECE` pairs and looks up their texts itself, so that no memory grows with the
pairs; but few lists are one piece, which one scorer would score while all others wait. In memory
they are blocks of a size that keeps every scorer at work to the end, whose texts lie in Ray's
object store; many would fill it.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.connection import connect
from corpus.by_query import ROWS_AT_ONCE, by_query, table_files
from corpus.documents import open_documents
from corpus.places import Place, remove, whole_file
from corpus.row_groups import read_footers, read_span
from corpus.schemas import SCHEMAS
from corpus.tables import check_folder, read_collection
from evaluation.trec_reading import (
    REPEATED,
    read_trec_rows,
    read_trec_run,
    refuse_empty_run,
    say_set_aside,
)
from rankers.data.lists import candidate_ids, refuse_no_lists
from rankers.scoring.pieces import CutPieces
from rankers.scoring.pool import Pool
from rankers.scoring.write import score_files, score_lists

TABLES = ("queries", "splits", "candidates")
MOST_BYTES_OF_RUN = 2**24  # some 300,000 lines


class Lists(Protocol):
    """Candidate lists, which a job scores."""

    def identity(self) -> dict[str, Any]:
        """What else decides in which piece a pair is scored, for `begin_output`."""

    def prepare(self, scratch: Place) -> tuple[int, int]:
        """Makes what `score` needs; returns how many queries and pairs there are.

        Raises:
            InputError: there are none, or the collection is broken.
        """

    def score(
        self,
        rankers: Mapping[str, str],
        folders: Mapping[str, Place],
        columns: Sequence[str],
        pool: Pool,
    ) -> None:
        """Writes the scores that are not there; arguments as of `score_lists`."""


def open_lists(collection: Place, run: Place | None, split: str | None) -> Lists:
    """The candidate lists of a split, of a collection's candidates or of a TREC run.

    Args:
        collection: its folder.
        run: a TREC run in place of its candidates.
        split: train, validation or test; None for every query.

    Raises:
        InputError: as far as it can be known without reading many rows, an input is missing or
            broken, or there are no lists.
    """
    if not fits_in_memory(collection, *([run] if run else [])):
        return _InFiles(collection, run, split)
    tables = read_collection(collection)
    if run is not None:
        candidates, set_aside = read_trec_run(run, tables)
        tables = dataclasses.replace(tables, candidates=candidates)
        say_set_aside(run, set_aside)
    return _InMemory(candidate_ids(tables, split), tables.documents)


def fits_in_memory(collection: Place, *runs: Place) -> bool:
    """Whether tables and runs are so short that they are read here, without Ray.

    Raises:
        InputError: a table is missing, unreadable or lacks a column, or a run is missing.
    """
    check_folder(collection)
    names = (*TABLES, "judgments", "held_out_sessions")
    rows = [read_footers(collection, "documents").rows]
    rows += [files.rows for files in table_files(dict.fromkeys(names, collection)).values()]
    for run in runs:
        if not run.exists():
            return True  # reading it says so
        rows.append(run.stat().st_size * ROWS_AT_ONCE // MOST_BYTES_OF_RUN)
    return max(rows) <= ROWS_AT_ONCE


@dataclass(frozen=True)
class _InMemory:
    lists: pa.Table
    documents: pa.Table

    def identity(self) -> dict[str, Any]:
        return {}

    def prepare(self, scratch: Place) -> tuple[int, int]:
        pairs = pc.sum(pc.list_value_length(self.lists["doc_ids"])).as_py()
        return self.lists.num_rows, pairs

    def score(
        self,
        rankers: Mapping[str, str],
        folders: Mapping[str, Place],
        columns: Sequence[str],
        pool: Pool,
    ) -> None:
        score_lists(self.lists, self.documents, rankers, folders, columns, pool)


class _InFiles:
    def __init__(self, collection: Place, run: Place | None, split: str | None) -> None:
        self.collection = collection
        self.run = run
        self.split = split

    def identity(self) -> dict[str, Any]:
        # Other rows would be cut into other pieces.
        found = table_files(dict.fromkeys(TABLES, self.collection))
        rows = {name: files.rows for name, files in found.items()}
        return {"rows": rows, "run_bytes": self.run and self.run.stat().st_size}

    def prepare(self, scratch: Place) -> tuple[int, int]:
        sources = dict.fromkeys(TABLES, self.collection)
        if self.run is not None:
            del sources["candidates"]
            sources["runs"] = convert_run(self.run, self.collection, scratch / "run")
        self.pieces = scratch / "lists"
        remove(self.pieces)
        cut = CutPieces(self.collection, self.pieces, self.split, self.run)
        counts: Counter[str] = Counter()
        for of_part in by_query(sources, cut, connect):
            for name in of_part.column_names:
                counts[name] += sum(of_part[name].to_pylist())
        if self.run is not None:
            say_set_aside(self.run, Counter({REPEATED: counts["repeated"]}))
        if counts["queries"] == 0:
            refuse_no_lists(self.split)
        return counts["queries"], counts["pairs"]

    def score(
        self,
        rankers: Mapping[str, str],
        folders: Mapping[str, Place],
        columns: Sequence[str],
        pool: Pool,
    ) -> None:
        score_files(self.collection, self.pieces, rankers, folders, columns, pool)


def convert_run(run: Place, collection: Place, folder: Place) -> Place:
    """Writes the lines of a TREC run as a table `runs`; says what is set aside.

    Args:
        run: the file of the run.
        collection: whose queries and documents it ranks.
        folder: to write the table into.

    Returns:
        The folder.

    Raises:
        InputError: as `read_trec_rows`, or no line is of the collection.
    """
    set_aside: Counter[str] = Counter()
    rows = 0
    with (
        whole_file(folder / "runs.parquet") as file,
        pq.ParquetWriter(file, SCHEMAS["runs"]) as writer,
    ):
        of_documents = open_documents(collection)
        rows_of = read_trec_rows(
            run, _known_queries(collection), lambda ids: of_documents.rows(ids) >= 0, set_aside
        )
        for lines in rows_of:
            writer.write_table(lines)
            rows += lines.num_rows
        if rows == 0:
            refuse_empty_run(run, set_aside)
    say_set_aside(run, set_aside)
    return folder


def _known_queries(collection: Place) -> Callable[[pa.Array], NDArray[np.bool_]]:
    """Tells which ids are of queries, by 8 bytes a query."""
    hashes = [
        _hashes(table["query_id"])
        for span in read_footers(collection, "queries").spans
        for table in read_span(span)
    ]
    known = np.sort(np.concatenate(hashes))

    def are_known(ids: pa.Array) -> NDArray[np.bool_]:
        asked = _hashes(ids)
        place = np.searchsorted(known, asked)
        return known[np.minimum(place, len(known) - 1)] == asked

    return are_known


def _hashes(ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    return np.asarray(pd.util.hash_array(ids.to_numpy(zero_copy_only=False), categorize=False))
