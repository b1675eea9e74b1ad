"""Which pairs there are to annotate, in which parts, and what their texts are.

Pairs are told by rows of the tables, in mapped arrays: neither pairs nor documents fill the memory.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.plan.impressions import shown_codes
from corpus.errors import InputError
from corpus.groups import query_groups
from corpus.mapped_arrays import IdRows, chunks_of, mapped_array, slices
from corpus.mapped_tables import MappedRows, take_rows
from corpus.tables import Collection

TEXT_COLUMNS = ("query_id", "doc_id", "text", "title", "body")
HASHED_AT_ONCE = 1000  # texts
QUERIES_AT_ONCE = 2**16
Rows = NDArray[np.int64]


def pairs_to_annotate(tables: Collection, folder: object, all_queries: bool = False) -> pa.Table:
    """Lists the distinct pairs of the candidates or, if there are none, of the sessions.

    They are those of queries that training may read, and of validation queries that no human has
    judged, whose grades tell the best epoch; others would only cost. A line says how many are left
    out.

    Args:
        tables: the collection.
        folder: the folder of the collection, named in the error.
        all_queries: list the pairs of the other queries, too.

    Returns:
        query_row and doc_row (int64, in mapped arrays), the row of each pair in `tables.queries`
        and `tables.documents`; sorted by query, then by rank of the candidate.

    Raises:
        InputError: there are neither candidates nor sessions, or none of these queries.
    """
    if tables.candidates.num_rows:
        pairs = _of_candidates(tables)
    elif tables.sessions.num_rows:
        shown = shown_codes(tables)
        shown.sort()
        pairs = _of_codes(shown, tables.documents.num_rows)
    else:
        raise InputError(
            f"{folder}: has neither candidates nor sessions; there is no pair to annotate"
        )
    return pairs if all_queries else _keep_wanted(pairs, tables, folder)


def keep_pairs(pairs: pa.Table, mask: Callable[[slice], NDArray[np.bool_]]) -> pa.Table:
    """The pairs for which a mask is true, in their order, in mapped arrays.

    Args:
        pairs: any columns of whole numbers.
        mask: the function from a slice of the pairs to their mask; it is called twice.
    """
    count = sum(int(np.count_nonzero(mask(some))) for some in slices(pairs.num_rows))
    if count == pairs.num_rows:
        return pairs
    columns = {name: pairs[name].to_numpy() for name in pairs.column_names}
    kept = {name: mapped_array(count, values.dtype) for name, values in columns.items()}
    end = 0
    for some in slices(pairs.num_rows):
        here = mask(some)
        start, end = end, end + int(np.count_nonzero(here))
        for name, values in columns.items():
            kept[name][start:end] = values[some][here]
    return pa.table(kept)


def starts_of_runs(values: NDArray[Any]) -> Rows:
    """Where each run of equal values starts, and the number of values at the end; mapped."""

    def changes(some: slice) -> Rows:
        here = values[some]
        first = some.start == 0 or here[0] != values[some.start - 1]
        return np.flatnonzero(np.append(first, here[1:] != here[:-1])) + some.start

    count = sum(len(changes(some)) for some in slices(len(values)))
    starts, end = mapped_array(count + 1, np.int64), 0
    for some in slices(len(values)):
        here = changes(some)
        starts[end : end + len(here)] = here
        end += len(here)
    starts[end] = len(values)
    return starts


def number_parts(pairs: pa.Table, whole_queries: bool, batch_size: int) -> NDArray[np.int64]:
    """Cuts pairs into parts of about `batch_size`, without cutting a query's list.

    Args:
        pairs: query_row of each pair, sorted.
        whole_queries: whether all pairs of a query must stay together.
        batch_size: pairs in a part; a query's list that begins within a part belongs to it.

    Returns:
        The part of each pair, int64, mapped, shape (pairs,), ascending from 0; numbers may be
        skipped.
    """
    part = mapped_array(pairs.num_rows, np.int64)
    if not whole_queries:
        for some in slices(len(part)):
            part[some] = np.arange(some.start, some.stop) // batch_size
        return part
    starts = starts_of_runs(pairs["query_row"].to_numpy())
    for some in slices(len(starts) - 1):
        bounds = starts[some.start : some.stop + 1]
        part[bounds[0] : bounds[-1]] = np.repeat(bounds[:-1] // batch_size, np.diff(bounds))
    return part


def hash_texts(pairs: pa.Table, tables: Collection) -> str:
    """A hash, 12 hexadecimal digits, of the ids and texts of the pairs in their order."""
    digest = hashlib.sha256()
    for table, name in ((tables.queries, "query_row"), (tables.documents, "doc_row")):
        rows = pairs[name].to_numpy()
        for some in slices(len(rows)):
            digest.update(rows[some].astype(np.int64))
        columns = [name for name in TEXT_COLUMNS if name in table.column_names]
        texts = MappedRows(table.select(columns))
        for used in _first_seen(rows, table.num_rows):
            for few in slices(len(used), HASHED_AT_ONCE):
                frame = texts.take(used[few]).to_pandas()
                digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:12]


def _of_candidates(tables: Collection) -> pa.Table:
    candidates = tables.candidates
    queries, documents = IdRows(tables.queries["query_id"]), IdRows(tables.documents["doc_id"])
    columns = [mapped_array(candidates.num_rows, np.int64) for _ in range(3)]
    query_row, rank, doc_row = columns
    for some, ids in chunks_of(candidates["query_id"]):
        query_row[some] = queries.find(ids)
    for some, ids in chunks_of(candidates["doc_id"]):
        doc_row[some] = documents.find(ids)
    for some, ranks in chunks_of(candidates["rank"]):
        rank[some] = ranks.to_numpy()
    if not _are_sorted(query_row):
        columns = query_row, rank, doc_row = _gather_queries(columns, tables.queries.num_rows)
    starts = starts_of_runs(query_row)
    for some in slices(len(starts) - 1):
        here = np.s_[starts[some.start] : starts[some.stop]]
        order = np.lexsort((doc_row[here], rank[here], query_row[here]))
        doc_row[here] = doc_row[here][order]
    return pa.table({"query_row": query_row, "doc_row": doc_row})


def _gather_queries(columns: list[Rows], queries: int) -> list[Rows]:
    """Brings the rows of each query together, in their order; the first column tells the query."""
    query_row = columns[0]
    free = mapped_array(queries + 1, np.int64)
    for some in slices(len(query_row)):
        found, counts = np.unique(query_row[some], return_counts=True)
        free[found + 1] += counts
    np.cumsum(free, out=free)
    gathered = [mapped_array(len(column), column.dtype) for column in columns]
    for some in slices(len(query_row)):
        order = np.argsort(query_row[some], kind="stable")
        found, first, counts = np.unique(
            query_row[some][order], return_index=True, return_counts=True
        )
        to = np.repeat(free[found] - first, counts) + np.arange(len(order))
        for target, column in zip(gathered, columns, strict=True):
            target[to] = column[some][order]
        free[found] += counts
    return gathered


def _of_codes(codes: Rows, documents: int) -> pa.Table:
    starts = starts_of_runs(codes)[:-1]
    pairs = {name: mapped_array(len(starts), np.int64) for name in ("query_row", "doc_row")}
    for some in slices(len(starts)):
        pairs["query_row"][some], pairs["doc_row"][some] = np.divmod(codes[starts[some]], documents)
    return pa.table(pairs)


def _keep_wanted(pairs: pa.Table, tables: Collection, folder: object) -> pa.Table:
    if tables.splits.num_rows == 0:
        return pairs  # every query is supervised
    wanted = wanted_queries(tables)
    query_row = pairs["query_row"].to_numpy()
    kept = keep_pairs(pairs, lambda some: wanted[query_row[some]])
    if kept.num_rows == 0:
        raise InputError(
            f"{folder}: training may read none of the queries that have pairs, and none of them "
            "validates without human judgments; give --all_queries to annotate them all the same"
        )
    if kept.num_rows < pairs.num_rows:
        listed, left = (len(starts_of_runs(some["query_row"].to_numpy())) for some in (pairs, kept))
        print(
            f"left out: {pairs.num_rows - kept.num_rows:,} pairs of {listed - left:,} queries that "
            "training may not read; --all_queries annotates them, too"
        )
    return kept


def wanted_queries(tables: Collection) -> NDArray[np.bool_]:
    """Whether training may read each query, or validates by it without a human judgment."""
    judged = mapped_array(tables.queries.num_rows, np.bool_)
    queries, splits = IdRows(tables.queries["query_id"]), IdRows(tables.splits["query_id"])
    for _, ids in chunks_of(tables.judgments["query_id"]):
        judged[queries.find(ids)] = True
    wanted, start = mapped_array(tables.queries.num_rows, np.bool_), 0
    for batch in tables.queries.to_batches(QUERIES_AT_ONCE):
        some = slice(start, start + batch.num_rows)
        start = some.stop
        rows = splits.find(pa.chunked_array([batch["query_id"]]))
        if np.all(rows < 0):
            continue  # of no split, and so not for training
        ids = batch["query_id"].filter(pa.array(judged[some]))
        groups = query_groups(
            replace(
                tables,
                queries=pa.Table.from_batches([batch]),
                splits=take_rows(tables.splits, rows[rows >= 0]),
                judgments=pa.table({"query_id": ids}),
            )
        )
        for_validation = pc.fill_null(pc.equal(groups["split"], "validation"), False)
        validates = pc.and_(for_validation, pa.array(~judged[some]))
        wanted[some] = pc.or_(groups["supervised"], validates).to_numpy()
    return wanted


def _first_seen(rows: NDArray[np.integer], length: int) -> Iterator[Rows]:
    """The distinct rows of a table of some length in the order in which they first appear."""
    seen = mapped_array(length, np.bool_)
    for some in slices(len(rows)):
        distinct, first = np.unique(rows[some], return_index=True)
        new = distinct[np.argsort(first)]
        new = new[~seen[new]]
        seen[new] = True
        yield new


def _are_sorted(values: NDArray[np.int64]) -> bool:
    return all(
        bool(np.all(np.diff(values[some.start : some.stop + 1]) >= 0))
        for some in slices(len(values))
    )
