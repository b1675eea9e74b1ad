"""Session ids and columns of the table sessions, settled when all its parts are written."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.tables import table_path, write_parquet


def settle_sessions(folder: Path) -> None:
    """Gives all parts the same columns, and each search an id that no other has.

    Logs name a session, in which a user searches several times. The first search of the session
    `s` keeps that id, the others become `s-2`, `s-3` and so on, in the order of the log (`s-2*`
    where another session is called `s-2`). Columns that a part lacks are null there. In memory are
    16 bytes a search, and the ids that are repeated.

    Args:
        folder: the folder of the collection, with the table sessions in parts.
    """
    parts = sorted(table_path(folder, "sessions").glob("*.parquet"))
    columns = {field.name: field.type for part in parts for field in pq.read_schema(part)}
    hashes = [_hash(_read(part, ["session_id"])["session_id"]) for part in parts]
    known = np.sort(np.concatenate(hashes))
    repeated = np.unique(known[1:][known[1:] == known[:-1]])
    seen: Counter[str] = Counter()
    for part, hashed in zip(parts, hashes, strict=True):
        rows = np.flatnonzero(np.isin(hashed, repeated))
        lacking = [name for name in columns if name not in pq.read_schema(part).names]
        if not len(rows) and not lacking:
            continue
        table = _read(part)
        for name in lacking:
            table = table.append_column(name, pa.nulls(table.num_rows, columns[name]))
        ids = table["session_id"].to_pylist()
        names = _own_ids([ids[row] for row in rows], seen, known)
        for row, name in zip(rows, names, strict=True):
            ids[row] = name
        position = table.schema.get_field_index("session_id")
        table = table.set_column(position, "session_id", pa.array(ids, pa.string()))
        write_parquet(table.select(list(columns)), part)


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
    hashed = _hash(pa.chunked_array([names], pa.string()))
    return known[np.searchsorted(known, hashed).clip(max=len(known) - 1)] == hashed


def _hash(ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    return pd.util.hash_array(ids.to_numpy().astype(object), categorize=False)


def _read(part: Path, columns: list[str] | None = None) -> pa.Table:
    with pq.ParquetFile(part) as file:
        return file.read(columns)
