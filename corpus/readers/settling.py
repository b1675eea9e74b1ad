"""Ids and texts that only the whole log tells, put right in the parts that its shards wrote."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.places import Place, remove
from corpus.readers.query_texts import first_rows
from corpus.readers.shard_tables import SessionPart, ShardSums, hash_ids
from corpus.session_parts import read_session_part, write_session_part
from corpus.tables import write_parquet
from corpus.window import open_parquet

LARGE = pa.large_string()


def settle_sessions(shards: Sequence[ShardSums], other_ids: Sequence[dict[str, str]]) -> None:
    """Gives all parts the same columns, queries their right ids, and each search one of its own.

    Logs name a session, in which a user searches several times. The first search of the session
    `s` keeps that id, the others become `s-2`, `s-3` and so on, in the order of the log (`s-2*`
    where another session is called `s-2`). A search without a session has the number of its row in
    the log. Columns that a part lacks are null there. In memory are 16 bytes a search, and the ids
    that are repeated.

    Args:
        shards: what was written, in the order of the log.
        other_ids: query ids of each shard that are to be others.
    """
    parts = [part for shard in shards for part in shard.sessions]
    columns = {name: kind for part in parts for name, kind in part.columns.items()}
    before = np.cumsum([0, *(shard.rows for shard in shards)])
    offsets = [
        offset for offset, shard in zip(before, shards, strict=False) for _ in shard.sessions
    ]
    renamed = [
        names for names, shard in zip(other_ids, shards, strict=True) for _ in shard.sessions
    ]
    hashes = [_hashes(part, offset) for part, offset in zip(parts, offsets, strict=True)]
    known = np.sort(np.concatenate(hashes))
    repeated = np.unique(known[1:][known[1:] == known[:-1]])
    seen: Counter[str] = Counter()
    for part, offset, other, hashed in zip(parts, offsets, renamed, hashes, strict=True):
        rows = np.flatnonzero(np.isin(hashed, repeated))
        lacking = columns.keys() - part.columns.keys()
        moved = offset and len(part.numbered)
        if not (len(rows) or lacking or other or moved or list(columns) != list(part.columns)):
            continue
        table = read_session_part(part.path)
        for name in lacking:
            table = table.append_column(name, pa.nulls(table.num_rows, columns[name]))
        ids = _numbered(table["session_id"], part, offset)
        if len(rows):
            own = ids.to_pylist()
            made = _own_ids([own[row] for row in rows], seen, known)
            for row, name in zip(rows, made, strict=True):
                own[row] = name
            ids = pa.array(own, pa.string())
        settled = {"session_id": ids, "query_id": rename(table["query_id"], other)}
        write_session_part(
            pa.table({name: settled.get(name, table[name]) for name in columns}), part.path
        )


def settle_documents(shards: Sequence[ShardSums], aside: Counter[str]) -> tuple[pa.Array, int]:
    """Keeps the first of the documents of an id, with a title from the log where it has none.

    Args:
        shards: what was written, those of documents first.
        aside: counter, by reason, of documents that are given twice.

    Returns:
        The ids that are kept, large strings, and how many of these have no text.
    """
    paths = [path for shard in shards for path in shard.documents]
    given = sum(len(shard.documents) for shard in shards if shard.of_documents)
    ids = [read_part(path, ["doc_id"])["doc_id"].combine_chunks() for path in paths]
    lengths = [len(part) for part in ids]
    # Ids of all parts together may have more bytes than an array of strings holds.
    encoded = pa.chunked_array([part.cast(LARGE) for part in ids], LARGE).dictionary_encode()
    codes_of = [chunk.indices.to_numpy() for chunk in encoded.chunks]
    code = np.concatenate([np.zeros(0, dtype=np.int64), *codes_of])
    known = encoded.chunk(encoded.num_chunks - 1).dictionary if codes_of else pa.array([], LARGE)
    distinct = len(known)
    titles = _log_titles(paths, given, code, lengths)
    first = np.zeros(len(code), dtype=np.bool_)
    first[first_rows(code, distinct)] = True
    textless = 0
    kept_codes = []
    for number, (path, at) in enumerate(zip(paths, np.cumsum([0, *lengths]), strict=False)):
        here = np.s_[at : at + lengths[number]]
        wanted, codes = first[here], code[here]
        if titles is not None and number < given:
            wanted = wanted & titles[1][codes]
            twice = titles[1][codes] & ~first[here]
        else:
            twice = ~first[here]
        if number < given and twice.any():
            aside["documents whose id an earlier one has, which is kept"] += int(twice.sum())
        kept_codes.append(codes[wanted])
        table = read_part(path)
        if titles is not None and number < given:
            table = table.set_column(1, "title", titles[0].take(pa.array(codes)))
        kept = table.filter(pa.array(wanted))
        no_text = pc.and_(pc.equal(kept["title"], ""), pc.equal(kept["body"], ""))
        textless += pc.sum(no_text).as_py() or 0
        if not kept.num_rows:
            remove(path)
        elif kept.num_rows < table.num_rows or (titles is not None and number < given):
            write_parquet(kept, path)
    kept_ids = known.take(pa.array(np.concatenate(kept_codes)))
    return kept_ids, textless


def rename(column: pa.ChunkedArray | pa.Array, names: dict[str, str]) -> pa.ChunkedArray:
    """The column with some of its values replaced."""
    if not names:
        return column
    column = column.cast(pa.string())
    at = pc.index_in(column, value_set=pa.array(list(names), pa.string()))
    return pc.coalesce(pa.array(list(names.values()), pa.string()).take(at), column)


def read_part(path: Place, columns: Iterable[str] | None = None) -> pa.Table:
    """Reads a part of a table, or some of its columns."""
    with open_parquet(path) as file:
        return file.read(None if columns is None else list(columns))


def _log_titles(
    paths: Sequence[Place], given: int, code: NDArray[np.int64], lengths: Sequence[int]
) -> tuple[pa.Array, NDArray[np.bool_]] | None:
    """The title of each document by its code, and whether the log has it; None where none lacks."""
    if not any(read_part(path, ["title"])["title"].null_count for path in paths[:given]):
        return None
    of_log = [read_part(path, ["title"])["title"] for path in paths[given:]]
    titles = pa.chunked_array([chunk for part in of_log for chunk in part.chunks], pa.string())
    log_code = code[sum(lengths[:given]) :]
    known = np.zeros(int(code.max()) + 1, dtype=np.bool_)
    known[log_code] = True
    row = first_rows(log_code, len(known))
    row[~known] = 0
    return titles.take(pa.array(row)).combine_chunks(), known


def _hashes(part: SessionPart, offset: int) -> NDArray[np.uint64]:
    """The hashes of a part's session ids, as `_numbered` makes these."""
    if not offset or not len(part.numbered):
        return part.hashes
    ids = read_part(part.path, ["session_id"])["session_id"]
    return hash_ids(_numbered(ids, part, offset))


def _numbered(ids: pa.ChunkedArray, part: SessionPart, offset: int) -> pa.ChunkedArray:
    """Session ids, with those that are numbers in the shard counted from the log's beginning."""
    if not offset or not len(part.numbered):
        return ids
    number = ids.take(pa.array(part.numbered)).cast(pa.int64()).to_numpy() + offset
    numbered = np.zeros(len(ids), dtype=np.bool_)
    numbered[part.numbered] = True
    names = pa.array(number).cast(pa.string())
    return pc.replace_with_mask(ids.combine_chunks(), pa.array(numbered), names)


def _own_ids(ids: list[str], seen: Counter[str], known: NDArray[np.uint64]) -> list[str]:
    """Ids for the next searches of sessions; `known` are the hashes, in order, of the log's ids."""
    names = []
    for session_id in ids:
        seen[session_id] += 1
        times = seen[session_id]
        names.append(session_id if times == 1 else f"{session_id}-{times}")
    made = np.array(
        [name != session_id for name, session_id in zip(names, ids, strict=True)], dtype=np.bool_
    )
    while len(taken := np.flatnonzero(made & _is_known(names, known))):
        for index in taken:
            names[index] += "*"  # a session of the log is called so
    return names


def _is_known(names: list[str], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    hashed = hash_ids(pa.chunked_array([names], pa.string()))
    return known[np.searchsorted(known, hashed).clip(max=len(known) - 1)] == hashed
