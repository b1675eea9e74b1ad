"""Ids of searches that only the whole log tells, put right in the parts that its shards wrote."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.mapped_arrays import hash_ids, repeated_values, sorted_together
from corpus.places import Place
from corpus.readers.query_texts import rename
from corpus.readers.shard_tables import SessionPart, ShardSums
from corpus.session_parts import read_session_part, write_session_part
from corpus.window import open_parquet


def settle_sessions(shards: Sequence[ShardSums], other_ids: Sequence[dict[str, str]]) -> None:
    """Gives all parts the same columns, queries their right ids, and each search one of its own.

    Logs name a session, in which a user searches several times. The first search of the session
    `s` keeps that id, the others become `s-2`, `s-3` and so on, in the order of the log (`s-2*`
    where another session is called `s-2`). A search without a session has the number of its row in
    the log. Columns that a part lacks are null there. In memory are the ids that are repeated, and
    8 bytes a search, or 24 where the log names no sessions.

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
    known = sorted_together(hashes)
    repeated = repeated_values(known)
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


def read_part(path: Place, columns: Iterable[str] | None = None) -> pa.Table:
    """Reads a part of a table, or some of its columns."""
    with open_parquet(path) as file:
        return file.read(None if columns is None else list(columns))


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
    return pa.chunked_array([pc.replace_with_mask(ids.combine_chunks(), pa.array(numbered), names)])


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
