"""Which pairs are annotated: all that can be, or those on which a budget is spent best."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.mapped_tables import take_rows
from corpus.tables import Collection

TEXT_COLUMNS = ("query_id", "doc_id", "text", "title", "body")
HASHED_AT_ONCE = 1000  # texts
COUNTED_AT_ONCE = 1000  # pairs or lists whose tokens are counted

Policy = Literal["tail", "uniform", "fewest_impressions", "widest_posterior"]


@dataclass
class Budget:
    """What may be annotated, and in which order a limit is spent.

    Attributes:
        buckets: frequency buckets of the queries to annotate, of high, medium, low; None for all.
        max_pairs: the largest number of pairs, at least 1; None for no limit.
        max_tokens: the largest number of tokens of prompts and longest answers, as counted
            beforehand, at least 1; None for no limit.
        policy: which pairs a limit is spent on first: those of the rarest queries (tail); random
            ones (uniform); those with the fewest impressions (fewest_impressions); or those with
            the widest posterior of the click-through rate, by its standard deviation under
            Jeffreys' prior (widest_posterior).
    """

    buckets: list[str] | None = None
    max_pairs: int | None = None
    max_tokens: int | None = None
    policy: Policy = "tail"

    def __post_init__(self) -> None:
        for name in ("max_pairs", "max_tokens"):
            if (limit := getattr(self, name)) is not None and limit < 1:
                raise InputError(f"{name} must be at least 1, not {limit}")
        if unknown := sorted(set(self.buckets or ()) - set(BUCKETS)):
            raise InputError(f"there is no bucket {unknown[0]!r}; take {', '.join(BUCKETS)}")


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
        query_row and doc_row (int32 or int64), the row of each pair in `tables.queries` and
        `tables.documents`; sorted by query, then by rank of the candidate.

    Raises:
        InputError: there are neither candidates nor sessions, or none of these queries.
    """
    candidates = tables.candidates
    if candidates.num_rows:
        query_row = _rows(candidates["query_id"], tables.queries["query_id"])
        doc_row = _rows(candidates["doc_id"], tables.documents["doc_id"])
        order = np.lexsort((doc_row, candidates["rank"].to_numpy(), query_row))
        query_row, doc_row = query_row[order], doc_row[order]
    elif tables.sessions.num_rows:
        shown = np.unique(_shown_codes(tables))
        query_row, doc_row = np.divmod(shown, tables.documents.num_rows)
    else:
        raise InputError(
            f"{folder}: has neither candidates nor sessions; there is no pair to annotate"
        )
    pairs = pa.table({"query_row": query_row, "doc_row": doc_row})
    return pairs if all_queries else _keep_wanted(pairs, tables, folder)


def _keep_wanted(pairs: pa.Table, tables: Collection, folder: object) -> pa.Table:
    groups = query_groups(tables)
    judged = pc.is_in(groups["query_id"], value_set=pc.unique(tables.judgments["query_id"]))
    for_validation = pc.fill_null(pc.equal(groups["split"], "validation"), False)
    validates = pc.and_(for_validation, pc.invert(judged))
    wanted = pc.or_(groups["supervised"], validates).to_numpy()[pairs["query_row"].to_numpy()]
    if not wanted.any():
        raise InputError(
            f"{folder}: training may read none of the queries that have pairs, and none of them "
            "validates without human judgments; give --all_queries to annotate them all the same"
        )
    if not wanted.all():
        queries = len(np.unique(pairs["query_row"].to_numpy()[~wanted]))
        print(
            f"left out: {int((~wanted).sum()):,} pairs of {queries:,} queries that training may "
            "not read; --all_queries annotates them, too"
        )
    return pairs.filter(wanted)


def spend_budget(
    pairs: pa.Table,
    tables: Collection,
    budget: Budget,
    whole_queries: bool,
    count_tokens: Callable[[pa.Table], NDArray[np.int64]],
    seed: int,
) -> pa.Table:
    """Keeps the pairs that the budget buys, in their order.

    Among equals the pairs of a query are bought together: rankers learn by comparing the documents
    of a list, and of a list with a grade here and there they learn less than nothing
    (docs/ablations.md).

    Args:
        pairs: query_row and doc_row of each pair, from `pairs_to_annotate`.
        tables: the collection that these are rows of.
        budget: limits and policy.
        whole_queries: take all pairs of a query or none, for strategies that show them together.
        count_tokens: the function that counts the tokens of each of some pairs, int64, shape
            (pairs,); it is called until max_tokens is reached.
        seed: of the order of queries among equals, which is all that the uniform policy goes by.

    Raises:
        InputError: nothing is left.
    """
    query_row = pairs["query_row"].to_numpy()
    if budget.buckets is not None:
        bucket = query_groups(tables)["bucket"].to_numpy()
        pairs = pairs.filter(np.isin(bucket, budget.buckets)[query_row])
        query_row = pairs["query_row"].to_numpy()
    if pairs.num_rows == 0:
        raise InputError(f"no pair belongs to a query of the buckets {budget.buckets}")
    if budget.max_pairs is None and budget.max_tokens is None:
        return pairs
    urgency = _urgency(pairs, tables, budget.policy)
    query_of_unit, unit = np.unique(query_row, return_inverse=True)
    if not whole_queries:
        query_of_unit, unit = query_row, np.arange(pairs.num_rows)
    size = np.bincount(unit)
    mean_urgency = np.bincount(unit, weights=urgency) / size
    turn_of_query = np.random.default_rng(seed).permutation(tables.queries.num_rows)
    order = np.lexsort((turn_of_query[query_of_unit], -mean_urgency))
    if budget.max_pairs is not None:
        order = order[: np.searchsorted(np.cumsum(size[order]), budget.max_pairs, side="right")]
    if budget.max_tokens is not None:
        order = _affordable(order, unit, pairs, budget.max_tokens, count_tokens)
    if len(order) == 0:
        raise InputError("the budget does not buy a single prompt; raise it")
    bought = np.zeros(len(size), dtype=bool)
    bought[order] = True
    return pairs.filter(bought[unit])


def number_parts(pairs: pa.Table, whole_queries: bool, batch_size: int) -> NDArray[np.int64]:
    """Cuts pairs into parts of about `batch_size`, without cutting a query's list.

    Args:
        pairs: query_row of each pair, sorted.
        whole_queries: whether all pairs of a query must stay together.
        batch_size: pairs in a part; a query's list that begins within a part belongs to it.

    Returns:
        The part of each pair, int64, shape (pairs,), ascending from 0; numbers may be skipped.
    """
    row = np.arange(pairs.num_rows)
    if whole_queries:
        query_row = pairs["query_row"].to_numpy()
        begins = np.flatnonzero(np.diff(query_row, prepend=-1))
        row = np.repeat(begins, np.diff(np.append(begins, pairs.num_rows)))
    return row // batch_size


def hash_texts(pairs: pa.Table, tables: Collection) -> str:
    """A hash, 12 hexadecimal digits, of the ids and texts of the pairs in their order."""
    digest = hashlib.sha256()
    for table, rows in ((tables.queries, "query_row"), (tables.documents, "doc_row")):
        digest.update(pairs[rows].to_numpy().astype(np.int64))
        texts = table.select([name for name in TEXT_COLUMNS if name in table.column_names])
        used = pc.unique(pairs[rows]).to_numpy()
        for start in range(0, len(used), HASHED_AT_ONCE):
            some = take_rows(texts, used[start : start + HASHED_AT_ONCE]).to_pandas()
            digest.update(pd.util.hash_pandas_object(some, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:12]


def _affordable(
    order: NDArray[np.int64],
    unit: NDArray[np.int64],
    pairs: pa.Table,
    max_tokens: int,
    count_tokens: Callable[[pa.Table], NDArray[np.int64]],
) -> NDArray[np.int64]:
    # Rows in the order in which their units are bought: each chunk of units is a run of them.
    turn = np.full(unit.max() + 1, len(order))
    turn[order] = np.arange(len(order))
    rows = np.argsort(turn[unit], kind="stable")
    ends = np.cumsum(np.bincount(unit)[order])
    spent = begin = 0
    for start in range(0, len(order), COUNTED_AT_ONCE):
        stop = min(start + COUNTED_AT_ONCE, len(order))
        end = int(ends[stop - 1])
        some = np.sort(rows[begin:end])
        tokens = np.bincount(turn[unit[some]] - start, count_tokens(pairs.take(some)))
        running = spent + np.cumsum(tokens)
        if running[-1] > max_tokens:
            return order[: start + int(np.searchsorted(running, max_tokens, side="right"))]
        spent, begin = int(running[-1]), end
    return order


def _urgency(pairs: pa.Table, tables: Collection, policy: Policy) -> NDArray[np.float64]:
    """The priority of each pair, higher first; float64, shape (pairs,)."""
    if policy == "uniform":
        return np.zeros(pairs.num_rows)
    if policy == "tail":
        return -tables.queries["frequency"].to_numpy()[pairs["query_row"].to_numpy()].astype(float)
    impressions, clicks = _click_counts(pairs, tables)
    if policy == "fewest_impressions":
        return -impressions
    from scipy.stats import beta  # a second that no other policy needs

    return np.asarray(beta.std(clicks + 0.5, impressions - clicks + 0.5))


def _click_counts(
    pairs: pa.Table, tables: Collection
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impressions and clicks of each pair in the sessions, each float64, shape (pairs,)."""
    width = tables.documents.num_rows
    wanted = pairs["query_row"].to_numpy().astype(np.int64) * width + pairs["doc_row"].to_numpy()
    shown = _shown_codes(tables)
    keys, number = np.unique(np.concatenate([wanted, shown]), return_inverse=True)
    own, seen = number[: len(wanted)], number[len(wanted) :]
    clicks = pc.list_flatten(tables.sessions["clicks"]).to_numpy()
    impressions = np.bincount(seen, minlength=len(keys)).astype(np.float64)
    clicked = np.bincount(seen, weights=clicks.astype(np.float64), minlength=len(keys))
    return np.asarray(impressions[own]), np.asarray(clicked[own], dtype=np.float64)


def _shown_codes(tables: Collection) -> NDArray[np.int64]:
    """query_row * documents + doc_row of each document shown in the sessions, in their order."""
    shown = tables.sessions["doc_ids"]
    query_row = _rows(tables.sessions["query_id"], tables.queries["query_id"])
    doc_row = _rows(pc.list_flatten(shown), tables.documents["doc_id"])
    lists = np.repeat(query_row.astype(np.int64), pc.list_value_length(shown).to_numpy())
    return lists * tables.documents.num_rows + doc_row


def _rows(ids: pa.ChunkedArray, known: pa.ChunkedArray) -> NDArray[np.int32]:
    """The row of each id in `known`, int32, shape (ids,)."""
    return pc.index_in(ids, value_set=known).to_numpy()
