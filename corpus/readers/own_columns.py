"""Searches and documents from columns of any type: what ids, texts, clicks and times they hold."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.readers.ids import id_of, id_of_text
from corpus.readers.log_format import SEARCHES, Columns
from corpus.schemas import SCHEMAS
from corpus.window import LAST_SECOND, TIME, seconds_of

Mask = NDArray[np.bool_]
BAD_TIMES = "times that are no number and no text of ISO 8601"
NO_LISTS = "searches without a list of documents and a list of clicks"
NO_CLICKS = "searches whose clicks are not a 0 or 1 for each document"
NO_DOC_ID = "searches that show a document without an id"
TWICE = "searches that show a document twice"
NO_QUERY = "searches without a query"
NO_DOCUMENT_ID = "documents without an id"
NO_TEXT = "titles and bodies of documents that are no text"


def searches_of(
    table: pa.Table, names: dict[str, str], reserved: Iterable[str], aside: Counter[str]
) -> Columns:
    """The searches of a table; what is unusable is left out, and counted by reason.

    Args:
        table: a row a search, of any types.
        names: the table's names for session_id, query_id, text, doc_ids, clicks and time.
        reserved: columns that are no context.
        aside: counter of what is left out, by reason.
    """
    table = table.combine_chunks()
    columns = {name: _column(table, given) for name, given in names.items()}
    shown, clicks = columns["doc_ids"], columns["clicks"]
    usable = np.ones(table.num_rows, dtype=np.bool_)
    sizes, clicked = _lengths(shown), _lengths(clicks)

    def leave_out(where: Mask, reason: str) -> None:
        if count := int((usable & where).sum()):
            aside[reason] += count
            usable[where] = False

    leave_out((sizes <= 0) | (clicked < 0), NO_LISTS)
    marks, no_mark = _truths(_items(clicks, clicked))
    leave_out((sizes != clicked) | _any_of(no_mark, clicked), NO_CLICKS)
    doc_ids = ids_of(_items(shown, sizes)).dictionary_encode()
    leave_out(_any_of(pc.is_null(doc_ids).to_numpy(zero_copy_only=False), sizes), NO_DOC_ID)
    leave_out(_repeated(pc.fill_null(doc_ids.indices, -1).to_numpy(), sizes), TWICE)
    text = texts_of(columns["text"])
    leave_out(pc.fill_null(pc.equal(text, ""), True).to_numpy(zero_copy_only=False), NO_QUERY)
    kept = np.flatnonzero(usable)
    rows = pa.array(kept)
    every = len(kept) == table.num_rows
    if not every:
        # Without the ids of what is left out, among the values of the dictionary too.
        of_kept_lists = doc_ids.filter(pa.array(np.repeat(usable, sizes.clip(0))))
        doc_ids = of_kept_lists.dictionary_decode().dictionary_encode()
        marks = marks.filter(pa.array(np.repeat(usable, clicked.clip(0))))
    starts = pa.array(np.append(0, np.cumsum(sizes[usable])), pa.int32())

    def of_kept(column: pa.Array) -> pa.Array:
        return column if every else column.take(rows)

    text = of_kept(text)
    query_ids = ids_of(of_kept(columns["query_id"]))
    if query_ids.null_count:
        query_ids = pc.coalesce(query_ids, _by_value(text, id_of_text))
    context = {
        str(name): contexts_of(of_kept(_column(table, name)))
        for name in table.column_names
        if name not in reserved and not pa.types.is_nested(table.schema.field(name).type)
    }
    arrays = {
        "session_id": ids_of(of_kept(columns["session_id"])),
        "query_id": query_ids.dictionary_encode(),
        "text": text,
        "doc_ids": pa.ListArray.from_arrays(starts, doc_ids),
        "clicks": pa.ListArray.from_arrays(starts, marks),
        TIME: times_of(of_kept(columns["time"]), aside),
    }
    documents = doc_ids.dictionary
    empty = pa.repeat("", len(documents))
    return Columns(
        searches=pa.table({name: arrays[name] for name in SEARCHES.names} | context),
        documents=pa.table([documents, empty, empty], schema=SCHEMAS["documents"]),
        rows=table.num_rows,
        row=kept,
    )


def documents_of(table: pa.Table, names: dict[str, str], aside: Counter[str]) -> Columns:
    """The documents of a table; those without an id are left out and counted.

    Args:
        table: a row a document, of any types.
        names: the table's names for doc_id, title and body.
        aside: counter of what is left out, by reason.
    """
    table = table.combine_chunks()
    ids = ids_of(_column(table, names["doc_id"]))
    texts = [texts_of(_column(table, names[name])) for name in ("title", "body")]
    known = pc.is_valid(ids)
    if missing := len(ids) - pc.sum(known).as_py() if len(ids) else 0:
        aside[NO_DOCUMENT_ID] += missing
    no_text = pc.and_(known, pc.or_(*(pc.is_null(column) for column in texts)))
    if count := pc.sum(no_text).as_py():
        aside[NO_TEXT] += count
    columns = [ids, *(pc.fill_null(column, "") for column in texts)]
    found = pa.table(columns, schema=SCHEMAS["documents"])
    return Columns(documents=found.filter(known) if missing else found)


def ids_of(column: pa.Array) -> pa.Array:
    """The id of each value as `id_of` has it, strings, null for what is no id."""
    kind = column.type
    if pa.types.is_string(kind):
        return pc.if_else(pc.equal(column, ""), None, column) if _has(column, "") else column
    if pa.types.is_integer(kind):
        return column.cast(pa.string())
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_nested(kind):
        return pa.nulls(len(column), pa.string())
    return _by_value(column, id_of)


def texts_of(column: pa.Array) -> pa.Array:
    """The text of each value as `text_of` has it, strings, null for what is no text."""
    kind = column.type
    if pa.types.is_string(kind):
        return pc.fill_null(column, "") if column.null_count else column
    texts = ids_of(column)
    empty = pc.is_null(column, nan_is_null=pa.types.is_floating(kind))
    return pc.if_else(empty, "", texts)


def contexts_of(column: pa.Array) -> pa.Array:
    """The values as texts, null for an empty one."""
    if pa.types.is_boolean(column.type):
        return column.cast(pa.string())
    return ids_of(column)


def times_of(column: pa.Array, aside: Counter[str]) -> pa.Array:
    """The seconds that each value tells, int64, null where it tells none.

    `aside` counts values that are there and tell no time.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = getattr(kind, "tz", None)
        return column.cast(pa.timestamp("s", zone), safe=False).cast(pa.int64())
    if pa.types.is_null(kind):
        return column.cast(pa.int64())
    if pa.types.is_nested(kind):
        times = pa.nulls(len(column), pa.int64())
    elif pa.types.is_signed_integer(kind):
        seconds = column.cast(pa.int64())
        told = pc.and_(pc.less(seconds, LAST_SECOND), pc.greater(seconds, -LAST_SECOND))
        times = pc.if_else(told, seconds, None)
    else:
        times = _by_value(column, seconds_of, pa.int64())
    told = pc.is_valid(column)
    if pa.types.is_string(kind):
        told = pc.and_(told, pc.not_equal(pc.fill_null(column, ""), ""))
    bad = pc.sum(pc.and_(told, pc.is_null(times))).as_py() if len(column) else 0
    if bad:
        aside[BAD_TIMES] += bad
    return times


def _column(table: pa.Table, name: str) -> pa.Array:
    """A column in one array, its strings and lists of one kind; nulls where it is missing."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows)
    column = table[name]
    return _plain(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())


def _plain(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return column.cast(pa.large_list(kind.value_type))
    return column


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    """The length of each list, -1 for what is none, int64."""
    if not _is_list(lists.type):
        return np.full(len(lists), -1, dtype=np.int64)
    lengths = pc.fill_null(pc.list_value_length(lists).cast(pa.int64()), -1)
    return np.asarray(lengths.to_numpy(), dtype=np.int64)


def _items(lists: pa.Array, lengths: NDArray[np.int64]) -> pa.Array:
    return _plain(pc.list_flatten(lists)) if lengths.max(initial=-1) > 0 else pa.nulls(0)


def _any_of(items: Mask, lengths: NDArray[np.int64]) -> Mask:
    """Which lists have an item that is true, bool, shape (lists,)."""
    found = np.zeros(len(lengths), dtype=np.bool_)
    if items.any():
        found[np.repeat(np.arange(len(lengths)), lengths.clip(0))[items]] = True
    return found


def _repeated(number: NDArray[np.int32], lengths: NDArray[np.int64]) -> Mask:
    """Which lists hold a number more than once, bool, shape (lists,)."""
    repeated = np.zeros(len(lengths), dtype=np.bool_)
    starts = np.cumsum(lengths.clip(0)) - lengths.clip(0)
    for length in np.unique(lengths[lengths > 1]):
        of_length = np.flatnonzero(lengths == length)
        pages = np.sort(number[starts[of_length, None] + np.arange(length)], axis=1)
        repeated[of_length] = np.any(pages[:, 1:] == pages[:, :-1], axis=1)
    return repeated


def _truths(items: pa.Array) -> tuple[pa.Array, Mask]:
    """Items as truth values, and which of them are neither 0 nor 1."""
    kind = items.type
    if pa.types.is_nested(kind):
        return pa.nulls(len(items), pa.bool_()), np.ones(len(items), dtype=np.bool_)
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        wrong = _by_value(items, _truth, pa.bool_()) if len(items) else items.cast(pa.bool_())
        return wrong, pc.is_null(wrong).to_numpy(zero_copy_only=False)
    truths = items.cast(pa.bool_())
    wrong = pc.is_null(items)
    if not pa.types.is_boolean(kind):
        wrong = pc.or_(wrong, pc.fill_null(pc.not_equal(truths.cast(kind), items), True))
    return truths, wrong.to_numpy(zero_copy_only=False)


def _truth(value: Any) -> bool | None:
    return bool(value) if value in (0, 1) else None


def _has(column: pa.Array, value: str) -> bool:
    return bool(pc.any(pc.equal(column, value)).as_py())


def _by_value(
    column: pa.Array, read: Callable[[Any], Any], kind: pa.DataType | None = None
) -> pa.Array:
    """What a function makes of each value, each distinct one read once."""
    encoded = column.dictionary_encode()
    values = [None if value is None else read(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(values, kind or pa.string()).take(encoded.indices)
