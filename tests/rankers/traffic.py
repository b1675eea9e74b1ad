"""A collection whose test queries are searched after the window, and a run of them."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.tables import Collection, write_collection
from tests.conftest import make_table


def with_traffic(collection: Collection, folder: Path, judged: bool) -> tuple[Path, Path, Path]:
    """Six test queries that are searched after the window; the third is judged, but not graded.

    Returns the collection, a folder of propensities, and a run that ranks d2 before d1.
    """
    ids = [f"q{number}" for number in range(6)]
    pages = [(f"s{n}", ids[n % 6], ["d1", "d2"], [False, n % 3 > 0]) for n in range(36)]
    splits: list[tuple[object, ...]] = [
        (name, "test", "high" if n < 3 else "low", False) for n, name in enumerate(ids)
    ]
    tables: dict[str, list[tuple[object, ...]]] = {
        "queries": [(name, "fox", 4 if n < 3 else 0) for n, name in enumerate(ids)],
        "candidates": [(name, f"d{rank}", rank, 0.0) for name in ids for rank in (1, 2)],
        "held_out_sessions": [("s", "q0", ["d4", "d1"], [True, False]), *pages],
        "splits": splits,
        "judgments": [("q0", "d1", 2), ("q1", "d1", 1), ("q2", "d1", 0)] if judged else [],
        "sessions": [],
    }
    made = {name: make_table(name, rows) for name, rows in tables.items()}
    write_collection(replace(collection, **made), folder / "collection")
    (folder / "clicks").mkdir()
    known = {"position": [1, 2], "propensity": [1.0, 0.5]}
    pq.write_table(pa.table(known), folder / "clicks" / "propensities.parquet")
    run = folder / "clicked.run"
    lines = [f"{name} Q0 d{doc} 1 {doc} a\n" for name in ids for doc in (1, 2)]
    run.write_text("".join(lines))
    return folder / "collection", folder / "clicks", run
