"""Sessions encoded part by part, as small as a model needs, and brought together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, Pairs, read_click_log
from clicks.log.distinct import distinct_sessions, session_counts
from clicks.log.large_arrays import MOST_BYTES, join_large, large_zeros
from clicks.log.numbering import PARTS, join_ids, number_ids
from corpus.errors import InputError
from corpus.mapped_arrays import mapped_copy
from corpus.places import Place
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_table


@dataclass
class CountedLog:
    """Encoded sessions, and how many they were.

    Attributes:
        log: the encoded sessions.
        sessions: how many there were.
        distinct: how many of them differed.
    """

    log: ClickLog
    sessions: int
    distinct: int


@dataclass
class LogPart:
    """What `encode_part` makes of sessions.

    Attributes:
        logs: of each context, by its value; by None where sessions have no contexts.
        left_out: sessions of withheld queries.
        queries_left_out: these queries.
        without: sessions without a context.
        showing_nothing: contexts whose sessions show no document.
    """

    logs: dict[Any, CountedLog] = field(default_factory=dict)
    left_out: int = 0
    queries_left_out: int = 0
    without: int = 0
    showing_nothing: set[Any] = field(default_factory=set)


def encode_part(
    sessions: pa.Table, context: str | None, withheld: pa.Array, summed: bool
) -> LogPart:
    """Encodes the distinct sessions of some queries.

    Args:
        sessions: the table sessions of a collection. A column `sessions` (int64) says how many
            sessions each row stands for.
        context: a column by which sessions are told apart; None for one log of all.
        withheld: queries whose sessions are left out.
        summed: keep no more than `sum_results` does.

    Raises:
        InputError: the sessions break their schema.
    """
    distinct, part = distinct_or_empty(sessions, context), LogPart()
    out = pc.is_in(distinct["query_id"], value_set=withheld)
    if pc.any(out).as_py():
        rows = distinct.filter(out)
        part.left_out, part.queries_left_out = _count(rows), len(pc.unique(rows["query_id"]))
        distinct = distinct.filter(pc.invert(out))
    for value, rows in _by_context(distinct, context, part):
        if rows.num_rows == 0:
            continue
        if not np.any(pc.list_value_length(rows["doc_ids"]).to_numpy()):
            part.showing_nothing.add(value)
            continue
        log = read_click_log(rows)
        kept = sum_results(log) if summed else log
        part.logs[value] = CountedLog(kept, _count(rows), rows.num_rows)
    return part


def distinct_or_empty(sessions: pa.Table, by: str | None) -> pa.Table:
    """As `distinct_sessions`, but of sessions that may be none, or show no document."""
    checked = check_table(sessions, "sessions", "sessions", check_keys=False)
    if pc.any(pc.greater(pc.list_value_length(checked["doc_ids"]), 0)).as_py():
        return distinct_sessions(sessions, by)
    counts = pa.array(session_counts(checked).astype(np.int64))
    columns = [*SCHEMAS["sessions"].names, *([by] if by else [])]
    return checked.select(columns).append_column("sessions", counts)


def join_parts(parts: Iterable[LogPart], context: str | None, path: Place) -> dict[str, CountedLog]:
    """The logs of parts that share no query, by the name of their context, in its order.

    Says what was left out and set aside.

    Args:
        parts: from `encode_part`.
        context: the column that tells the context; None for one log, "all".
        path: the table of sessions, named in errors.

    Raises:
        InputError: no session has a context, or none is left.
    """
    logs: dict[Any, list[CountedLog]] = {}
    found = LogPart()
    for part in parts:
        for value, log in part.logs.items():
            log.log = _mapped(log.log)
            logs.setdefault(value, []).append(log)
        found.left_out += part.left_out
        found.queries_left_out += part.queries_left_out
        found.without += part.without
        found.showing_nothing |= part.showing_nothing
    if found.left_out:
        print(
            f"left out: {found.left_out:,} sessions of {found.queries_left_out:,} queries that "
            "training may not read"
        )
    if found.without:
        print(f"{found.without:,} sessions without a {context} are set aside")
        if not logs and not found.showing_nothing:
            raise InputError(f"{path}: column {context!r} is null in every session")
    if context is not None:
        for value in sorted(found.showing_nothing - logs.keys()):
            print(f"no session of {context} {value} shows a document: set aside")
    if not logs and found.showing_nothing:
        raise InputError(f"{path}: doc_ids is empty in every row; no document was shown")
    if not logs:
        raise InputError(
            f"{path}: there are no sessions to learn from; add the click log to the collection, or "
            "simulate clicks when preparing it"
        )
    return {
        "all" if context is None else str(value): CountedLog(
            join_logs([one.log for one in logs[value]]),
            sum(one.sessions for one in logs[value]),
            sum(one.distinct for one in logs[value]),
        )
        for value in (logs if context is None else sorted(logs))
    }


def _by_context(
    sessions: pa.Table, context: str | None, part: LogPart
) -> Iterable[tuple[Any, pa.Table]]:
    if context is None:
        yield None, sessions
        return
    values = sessions[context]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    missing = pc.is_null(values, nan_is_null=True)
    part.without = int(session_counts(sessions) @ missing.to_numpy())
    for value in pc.unique(values.filter(pc.invert(missing))).to_pylist():
        yield value, sessions.filter(pc.equal(values, pa.scalar(value, values.type)))


def _count(sessions: pa.Table) -> int:
    return int(session_counts(sessions).sum())


def sum_results(log: ClickLog) -> ClickLog:
    """Sums the sessions that show a pair at a position with a click, and those without.

    That is all that models of one click at a time need: click-through rates, the position-based
    model, propensities. It grows with the pairs and positions of a log, not with its traffic.

    Args:
        log: encoded sessions, sorted by query.

    Returns:
        The log with a row of one result for each sum, and the position of each in `places`.
    """
    positions = log.positions
    key = (log.pair.astype(np.int64) * positions + log.position) * 2 + log.clicks
    found, number = np.unique(key, return_inverse=True)
    pair = found // (2 * positions)
    return replace(
        log,
        starts=np.arange(len(found) + 1),
        pair=pair.astype(np.int32),
        clicks=found % 2 == 1,
        sessions=np.bincount(number, log.of_results(log.sessions), len(found)).astype(np.float64),
        parts=_cut(np.append(np.flatnonzero(np.diff(pair, prepend=-1)), len(found))),
        places=(found // 2 % positions).astype(np.int32),
    )


def _mapped(log: ClickLog) -> ClickLog:
    """The log, its results and rows in mapped files where they are large."""
    names = ("starts", "pair", "clicks", "sessions", "places")
    arrays = {name: getattr(log, name) for name in names if getattr(log, name) is not None}
    if sum(array.nbytes for array in arrays.values()) <= MOST_BYTES:
        return log
    copies = {name: mapped_copy(array) for name, array in arrays.items()}
    query, document = mapped_copy(log.pairs.query), mapped_copy(log.pairs.document)
    return replace(log, pairs=replace(log.pairs, query=query, document=document), **copies)


def join_logs(logs: Sequence[ClickLog]) -> ClickLog:
    """The log of all rows of logs that share no query.

    Args:
        logs: encoded logs, at least one; all of sums, or none.
    """
    if len(logs) == 1:
        return logs[0]
    results, rows, pairs, queries, documents = (
        np.append(0, np.cumsum(sizes))
        for sizes in zip(
            *(
                (
                    len(log.pair),
                    len(log.sessions),
                    len(log.pairs.query),
                    len(log.pairs.queries),
                    len(log.pairs.documents),
                )
                for log in logs
            ),
            strict=True,
        )
    )
    ids, numbers = number_ids(join_ids([log.pairs.documents for log in logs]))
    document = large_zeros(int(pairs[-1]), np.int64)
    for log, at, (first, end) in zip(logs, documents, pairwise(pairs), strict=False):
        document[first:end] = numbers[log.pairs.document + at]
    places = [log.places for log in logs if log.places is not None]
    return ClickLog(
        pairs=Pairs(
            number_ids(join_ids([log.pairs.queries for log in logs]))[0],
            ids,
            _shifted([log.pairs.query for log in logs], queries),
            document,
        ),
        starts=_shifted([*(log.starts[:-1] for log in logs), np.zeros(1, np.int64)], results),
        pair=_shifted([log.pair for log in logs], pairs),
        clicks=join_large([log.clicks for log in logs]),
        sessions=join_large([log.sessions for log in logs]),
        parts=_cut(np.append(_shifted([log.parts[:-1] for log in logs], rows), rows[-1])),
        places=join_large(places) if places else None,
    )


def _shifted(arrays: Sequence[NDArray[Any]], by: NDArray[np.int64]) -> NDArray[Any]:
    """The arrays one behind the other, to each of which a number is added."""
    joined, first = join_large(arrays), 0
    for array, more in zip(arrays, by, strict=False):
        joined[first : first + len(array)] += array.dtype.type(more)
        first += len(array)
    return joined


def _cut(bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some of the bounds of rows, that cut them into at most PARTS parts of about equal size."""
    wanted = np.linspace(bounds[0], bounds[-1], PARTS + 1)
    return np.unique(bounds[np.searchsorted(bounds, wanted)])
