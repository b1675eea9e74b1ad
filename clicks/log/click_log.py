"""A click log in arrays: queries, documents and pairs as numbers, sessions grouped by query."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.distinct import check_sessions, session_counts
from clicks.log.large_arrays import large_zeros, pieces
from clicks.log.numbering import cut, list_starts, number_ids
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Trials

SHORT = 16  # results; pages up to this length are padded together
MOST_CELLS = 4_000_000  # rows times positions of a block of pages


@dataclass(frozen=True)
class Pairs:
    """The distinct query-document pairs of a log.

    Attributes:
        queries: distinct query ids, strings, shape (queries,).
        documents: distinct document ids, strings, shape (documents,).
        query: number of each pair's query in `queries`, int64, shape (pairs,).
        document: number of each pair's document in `documents`, int64, shape (pairs,).
        grade: a judge's expected grade of each pair, float64 from 0 to 3, NaN where there is none,
            shape (pairs,); None where no judge was asked.
    """

    queries: pa.Array
    documents: pa.Array
    query: NDArray[np.int64]
    document: NDArray[np.int64]
    grade: NDArray[np.float64] | None = None

    def trials(self, successes: NDArray[np.float64], trials: NDArray[np.float64]) -> Trials:
        """Successes and trials of these pairs, each float64, shape (pairs,)."""
        return Trials(successes, trials, self.document, len(self.documents), self.grade)

    def find(self, others: "Pairs") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Looks up the pairs and documents of another log.

        Args:
            others: the pairs of the other log.

        Returns:
            For each pair of `others`, the number of the same pair here and the number of its
            document here, -1 where there is none; each int64, shape (other pairs,).
        """
        if others is self:
            return np.arange(len(self.query)), self.document
        query = _position_in(self.queries, others.queries)[others.query]
        document = _position_in(self.documents, others.documents)[others.document]
        known = pd.Index(self.query * len(self.documents) + self.document)
        wanted = np.where((query < 0) | (document < 0), -1, query * len(self.documents) + document)
        return known.get_indexer(wanted), document


@dataclass(frozen=True)
class PageBlock:
    """Pages of similar length, padded to the longest one.

    Attributes:
        pair: number of the pair at each position, -1 beyond the end of a page; int32, shape (pages,
            positions).
        clicks: whether each result was clicked, bool, same shape.
        at: index of each result among the results of the log, int64, same shape; any index beyond
            the end of a page.
    """

    pair: NDArray[np.int32]
    clicks: NDArray[np.bool_]
    at: NDArray[np.int64]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Which positions show a document, bool, shape (pages, positions)."""
        return self.pair >= 0


class Rows(NamedTuple):
    """The arrays of a `ClickLog`, which are described there, for compiled functions."""

    parts: NDArray[np.int64]
    starts: NDArray[np.int64]
    pair: NDArray[np.int32]
    clicks: NDArray[np.bool_]
    sessions: NDArray[np.float64]


@dataclass(frozen=True)
class ClickLog:
    """Encoded sessions: the results of all rows, concatenated row by row.

    Attributes:
        pairs: the distinct query-document pairs of the log.
        starts: index of the first result of each row, and the number of results at the end; int64,
            shape (rows + 1,).
        pair: number of each result's pair, int32, shape (results,).
        clicks: whether each result was clicked, bool, shape (results,).
        sessions: how many sessions each row stands for, float64, shape (rows,).
        parts: index of the first row of each part, and the number of rows at the end; int64, shape
            (parts + 1,). Parts share no pair, so that threads sum over pairs without conflicts.
        places: the position of each result, from 0, where each row is a result of its own
            (`clicks.log.log_parts.sum_results`), int32, shape (results,); None where rows are
            pages.
    """

    pairs: Pairs
    starts: NDArray[np.int64]
    pair: NDArray[np.int32]
    clicks: NDArray[np.bool_]
    sessions: NDArray[np.float64]
    parts: NDArray[np.int64]
    places: NDArray[np.int32] | None = None

    @property
    def rows(self) -> Rows:
        """The arrays of results and rows, as compiled functions take them."""
        return Rows(self.parts, self.starts, self.pair, self.clicks, self.sessions)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of results of each row, int64, shape (rows,)."""
        return np.diff(self.starts)

    @property
    def positions(self) -> int:
        """The number of results of the longest page."""
        return int(self.lengths.max()) if self.places is None else int(self.places.max()) + 1

    @property
    def position(self) -> NDArray[np.int32]:
        """The position of each result, from 0, int32, shape (results,)."""
        if self.places is not None:
            return self.places
        start = np.repeat(self.starts[:-1], self.lengths)
        return (np.arange(len(self.pair)) - start).astype(np.int32)

    def of_results(self, of_rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Repeats a value of each row for each of its results.

        Args:
            of_rows: a value for each row, shape (rows,).

        Returns:
            The values, float64, shape (results,).
        """
        return of_rows if self.places is not None else np.repeat(of_rows, self.lengths)

    def trials(self, where: NDArray[np.bool_] | None = None) -> Trials:
        """Counts the clicks (successes) and impressions (trials) of each pair.

        Args:
            where: the results to count, bool, shape (results,); all without it.
        """
        counts = large_zeros((2, len(self.pairs.query)), np.float64)
        counted = np.zeros(0, np.bool_) if where is None else where
        for_each_part(_count, len(self.parts) - 1, self.rows, counted, counts)
        return self.pairs.trials(*counts)

    def by_position(
        self, of_results: NDArray[np.float64] | NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Sums over the sessions at each position.

        Args:
            of_results: a value to sum for each result, shape (results,); 1 without it, which
                counts the impressions of each position.

        Returns:
            The sums, float64, shape (positions,).
        """
        weight, position = self.of_results(self.sessions), self.position
        sums = np.zeros(self.positions)
        for some in pieces(len(position)):
            weights = weight[some] if of_results is None else weight[some] * of_results[some]
            sums += np.bincount(position[some], weights, len(sums))
        return sums

    def blocks(self) -> Iterator[PageBlock]:
        """Yields all pages in padded blocks with little padding.

        Pages are grouped by length: up to 16 results, and up to each further power of two. So one
        long page does not pad all other pages to its length. Of results without their pages, each
        is the last one of a page that shows nothing else.
        """
        if self.places is not None:
            yield from self._blocks_of_places(self.places)
            return
        length_class = np.frexp(np.maximum(self.lengths, SHORT) - 1)[1]
        for number in np.unique(length_class):
            of_class = np.flatnonzero((length_class == number) & (self.lengths > 0))
            width = int(self.lengths[of_class].max(initial=1))
            size = max(MOST_CELLS // width, 1)
            for start in range(0, len(of_class), size):
                rows = of_class[start : start + size]
                at = self.starts[rows, None] + np.arange(width)
                shown = at < self.starts[rows + 1, None]
                at[~shown] = 0
                yield PageBlock(
                    pair=np.where(shown, self.pair[at], np.int32(-1)),
                    clicks=self.clicks[at] & shown,
                    at=at,
                )

    def _blocks_of_places(self, places: NDArray[np.int32]) -> Iterator[PageBlock]:
        for place in np.unique(places):
            of_place = np.flatnonzero(places == place)
            size = max(MOST_CELLS // (int(place) + 1), 1)
            for start in range(0, len(of_place), size):
                here = of_place[start : start + size]
                shape = len(here), int(place) + 1
                pair, at = np.full(shape, np.int32(-1)), np.zeros(shape, np.int64)
                clicks = np.zeros(shape, np.bool_)
                pair[:, -1], at[:, -1], clicks[:, -1] = self.pair[here], here, self.clicks[here]
                yield PageBlock(pair=pair, clicks=clicks, at=at)


@compiled()  # type: ignore[untyped-decorator]
def _count(part: int, of: Rows, counted: NDArray[np.bool_], counts: NDArray[np.float64]) -> None:
    """Adds up clicks and impressions of each pair; `counted` is empty where all results count."""
    for row in range(of.parts[part], of.parts[part + 1]):
        for result in range(of.starts[row], of.starts[row + 1]):
            if len(counted) == 0 or counted[result]:
                counts[0, of.pair[result]] += of.sessions[row] * of.clicks[result]
                counts[1, of.pair[result]] += of.sessions[row]


def read_click_log(sessions: pa.Table) -> ClickLog:
    """Checks and encodes sessions, with rows sorted by query.

    Args:
        sessions: the table sessions of a collection (session_id, query_id, doc_ids, clicks). A
            column `sessions` (int64) says how many sessions each row stands for.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    return encode_sessions(check_sessions(sessions), by_query=True)


def encode_sessions(sessions: pa.Table, by_query: bool = False) -> ClickLog:
    """Encodes sessions that are known to follow the schema.

    Args:
        sessions: the table sessions, as in `read_click_log`.
        by_query: sort rows by query, in parts; otherwise rows keep their order, in one part.
    """
    queries, query = number_ids(sessions["query_id"])
    documents, document = number_ids(pc.list_flatten(sessions["doc_ids"]))
    clicks = np.asarray(pc.list_flatten(sessions["clicks"]).to_numpy(), dtype=np.bool_)
    starts, counted = list_starts(sessions["doc_ids"]), session_counts(sessions)
    parts = np.array([0, len(query)])
    if by_query:
        order = pc.array_sort_indices(pa.array(query)).to_numpy()
        lengths = np.diff(starts)[order]
        first, starts = starts[:-1][order], np.append(0, np.cumsum(lengths))
        moved = np.repeat(first - starts[:-1], lengths) + np.arange(starts[-1])
        document, clicks = document[moved], clicks[moved]
        query, counted = query[order], counted[order]
        ends = np.cumsum(np.bincount(query, minlength=len(queries)))
        parts = np.append(0, ends)[cut(np.append(0, ends))]
    of_results = np.repeat(query.astype(np.int64), np.diff(starts))
    pair, pairs = pd.factorize(of_results * len(documents) + document)
    return ClickLog(
        pairs=Pairs(queries, documents, *np.divmod(pairs, len(documents))),
        starts=starts,
        pair=pair.astype(np.int32),
        clicks=clicks,
        sessions=counted,
        parts=parts,
    )


def _position_in(known: pa.Array, wanted: pa.Array) -> NDArray[np.int64]:
    position = pc.index_in(wanted.cast(known.type), value_set=known)
    return pc.fill_null(position, -1).to_numpy().astype(np.int64)
