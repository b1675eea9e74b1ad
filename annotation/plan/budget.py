"""What may be annotated, and the pairs on which a limit is spent best."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from annotation.plan.impressions import count_shown
from annotation.plan.selection import keep_pairs, starts_of_runs
from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.mapped_arrays import chunks_of, mapped_array, slices
from corpus.tables import Collection

COUNTED_AT_ONCE = 1000  # pairs whose tokens are counted, and the further ones of the last query

Policy = Literal["tail", "uniform", "fewest_impressions", "widest_posterior"]
TokenCounter = Callable[[pa.Table], NDArray[np.int64]]


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


def spend_budget(
    pairs: pa.Table,
    tables: Collection,
    budget: Budget,
    whole_queries: bool,
    count_tokens: TokenCounter,
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
    if budget.buckets is not None:
        chosen = mapped_array(tables.queries.num_rows, np.bool_)
        chosen[:] = np.isin(query_groups(tables)["bucket"].to_numpy(), budget.buckets)
        query_row = pairs["query_row"].to_numpy()
        pairs = keep_pairs(pairs, lambda some: chosen[query_row[some]])
    if pairs.num_rows == 0:
        raise InputError(f"no pair belongs to a query of the buckets {budget.buckets}")
    if budget.max_pairs is None and budget.max_tokens is None:
        return pairs
    queries = tables.queries.num_rows
    turns = Turns(pairs, _urgency(pairs, tables, budget.policy), whole_queries, queries, seed)
    last, further = turns.end(budget.max_pairs)
    if budget.max_tokens is not None:
        afforded = turns.afford(pairs, last, budget.max_tokens, count_tokens)
        last, further = min((last, further), afforded)
    left = further

    def bought(some: slice) -> NDArray[np.bool_]:
        nonlocal left
        if some.start == 0:
            left = further
        equal = turns.of_pairs[some] == last
        first = equal & (np.cumsum(equal) <= left)
        left -= int(np.count_nonzero(first))
        return np.asarray((turns.of_pairs[some] < last) | first)

    kept = keep_pairs(pairs, bought)
    if kept.num_rows == 0:
        raise InputError("the budget does not buy a single prompt; raise it")
    return kept


class Turns:
    """The order in which pairs are bought: by urgency, among equals query by query.

    A beginning of it is told by its last turn and how many pairs of that turn are in it.

    Args:
        pairs: query_row of each pair, sorted.
        urgency: of each pair, higher first; float64, shape (pairs,). It is overwritten.
        whole_queries: pairs of a query are bought together, by their mean urgency.
        queries: the number of queries.
        seed: of the order of queries among equals.

    Attributes:
        of_pairs: the turn of each pair, int64, mapped, shape (pairs,); pairs of equal turn are of
            one query, and bought in their order.
    """

    def __init__(
        self,
        pairs: pa.Table,
        urgency: NDArray[np.float64],
        whole_queries: bool,
        queries: int,
        seed: int,
    ) -> None:
        self._whole_queries = whole_queries
        self._query_row = pairs["query_row"].to_numpy()
        if whole_queries:
            _average(urgency, starts_of_runs(self._query_row))
        drawn, self._query_at = (mapped_array(queries, np.int64) for _ in range(2))
        for some in slices(queries):
            drawn[some] = np.arange(some.start, some.stop)
        np.random.default_rng(seed).shuffle(drawn)
        for some in slices(queries):
            self._query_at[drawn[some]] = np.arange(some.start, some.stop)
        levels = _distinct(urgency)
        self.of_pairs, self._ordered = (mapped_array(len(urgency), np.int64) for _ in range(2))
        for some in slices(len(urgency)):
            level = len(levels) - 1 - np.searchsorted(levels, urgency[some])
            self.of_pairs[some] = level * queries + drawn[self._query_row[some]]
            self._ordered[some] = self.of_pairs[some]
        self._ordered.sort()

    def end(self, max_pairs: int | None) -> tuple[int, int]:
        """The last turn of which a number of pairs holds some, and how many of that turn."""
        if max_pairs is None or max_pairs >= len(self._ordered):
            return int(self._ordered[-1]), len(self._ordered)
        last = int(self._ordered[max_pairs])
        before = int(np.searchsorted(self._ordered, last))
        return last, 0 if self._whole_queries else max_pairs - before

    def afford(
        self, pairs: pa.Table, last: int, max_tokens: int, count_tokens: TokenCounter
    ) -> tuple[int, int]:
        """The last turn of which a number of tokens buys some, and how many of that turn.

        Args:
            pairs: query_row and doc_row of each pair.
            last: the last turn that is asked for.
            max_tokens: the number of tokens.
            count_tokens: see `spend_budget`.
        """
        spent = 0
        for rows in self._chunks(last):
            turn, tokens = self.of_pairs[rows], count_tokens(pairs.take(rows))
            order = np.argsort(turn, kind="stable")
            turn, tokens = turn[order], tokens[order]
            if self._whole_queries:
                turn, first = np.unique(turn, return_index=True)
                tokens = np.add.reduceat(tokens, first)
            running = spent + np.cumsum(tokens)
            if running[-1] > max_tokens:
                bought = int(np.searchsorted(running, max_tokens, side="right"))
                ended = turn[bought]
                return int(ended), int(np.count_nonzero(turn[:bought] == ended))
            spent = int(running[-1])
        return self.end(None)

    def _chunks(self, last: int) -> Iterator[NDArray[np.int64]]:
        """The rows of all pairs up to a turn, turn after turn, some at a time; sorted."""
        begin, stop = 0, int(np.searchsorted(self._ordered, last, side="right"))
        while begin < stop:
            least, most = self._ordered[[begin, min(begin + COUNTED_AT_ONCE, stop) - 1]]
            end = int(np.searchsorted(self._ordered, most, side="right"))
            queries = np.unique(self._query_at[self._ordered[begin:end] % len(self._query_at)])
            first, after = (
                np.searchsorted(self._query_row, queries, side=side) for side in ("left", "right")
            )
            rows = np.concatenate([np.arange(a, b) for a, b in zip(first, after, strict=True)])
            turn = self.of_pairs[rows]
            yield rows[(turn >= least) & (turn <= most)]
            begin = end


def _urgency(pairs: pa.Table, tables: Collection, policy: Policy) -> NDArray[np.float64]:
    """The priority of each pair, higher first; float64, mapped, shape (pairs,)."""
    urgency = mapped_array(pairs.num_rows, np.float64)
    if policy == "uniform":
        return urgency
    if policy == "tail":
        query_row = pairs["query_row"].to_numpy()
        frequency = mapped_array(tables.queries.num_rows, np.int64)
        for some, values in chunks_of(tables.queries["frequency"]):
            frequency[some] = values.to_numpy()
        for some in slices(len(urgency)):
            urgency[some] = -frequency[query_row[some]]
        return urgency
    impressions, clicks = count_shown(pairs, tables)
    for some in slices(len(urgency)):
        if policy == "fewest_impressions":
            urgency[some] = -impressions[some]
        else:
            from scipy.stats import beta  # a second that no other policy needs

            clicked, skipped = clicks[some], impressions[some] - clicks[some]
            urgency[some] = beta.std(clicked + 0.5, skipped + 0.5)
    return urgency


def _average(values: NDArray[np.float64], starts: NDArray[np.int64]) -> None:
    """Puts the mean of each run in the place of its values."""
    for some in slices(len(starts) - 1):
        bounds = starts[some.start : some.stop + 1]
        here, sizes = values[bounds[0] : bounds[-1]], np.diff(bounds)
        here[:] = np.repeat(np.add.reduceat(here, bounds[:-1] - bounds[0]) / sizes, sizes)


def _distinct(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distinct values, sorted and mapped."""
    ordered = mapped_array(len(values), np.float64)
    for some in slices(len(values)):
        ordered[some] = values[some]
    ordered.sort()
    starts = starts_of_runs(ordered)
    distinct = mapped_array(len(starts) - 1, np.float64)
    for some in slices(len(distinct)):
        distinct[some] = ordered[starts[some]]
    return distinct
