"""How much memory `fit_clicks` takes as pairs and traffic grow.

    python -m benchmarks.click_memory

Prints, for each number of pairs and of sessions a query, the most memory that the job's process
held on its heap (anonymous memory), beside what it holds before it begins, and its seconds.
"""

import contextlib
import io
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from benchmarks.memory import peak_memory
from clicks.fit_clicks import Labels, fit_clicks

DOCUMENTS, POSITIONS = 12, 10  # of a query, and of a page that shows some of them
ROWS_OF_GROUP = 100_000


def main(
    pairs: list[int] | None = None,
    sessions_per_query: list[int] | None = None,
    labels: list[str] | None = None,
) -> None:
    """Runs the job for each size and kind of labels.

    Args:
        pairs: by default 100 and 300 thousand, 1 and 3 million.
        sessions_per_query: by default 4.
        labels: by default ipw and DynamicBayesianNetwork.
    """
    table = Table("pairs", "sessions a query", "labels", "before, MiB", "most, MiB", "seconds")
    with (
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes,
        tempfile.TemporaryDirectory() as scratch,
    ):
        for number in pairs or [100_000, 300_000, 1_000_000, 3_000_000]:
            for sessions in sessions_per_query or [4]:
                folder = Path(scratch) / f"{number}-{sessions}"
                processes.submit(write_log, folder, number, sessions).result()
                for kind in labels or ["ipw", "DynamicBayesianNetwork"]:
                    before, most, seconds = processes.submit(measure, folder, kind).result()
                    cells = [f"{number:,}", f"{sessions}", kind]
                    cells += [f"{before / 2**20:,.0f}", f"{most / 2**20:,.0f}", f"{seconds:.0f}"]
                    table.add_row(*cells)
                    print(*cells, file=sys.stderr, flush=True)
    Console().print(table)


def measure(folder: Path, labels: str) -> tuple[int, int, float]:
    """Anonymous memory before and at its most in bytes, and seconds."""
    import matplotlib.figure  # noqa: F401 - what the job imports is no part of its data
    import ray.data  # noqa: F401
    import scipy.optimize  # noqa: F401

    [kind] = [one for one in get_args(Labels) if one == labels]
    with peak_memory() as peak, contextlib.redirect_stdout(io.StringIO()):
        time.sleep(0.5)
        before = peak["driver"]
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as output:
            fit_clicks(folder, Path(output) / "out", labels=kind, resamples=20)
    return before, max(peak["driver"], before), time.perf_counter() - started


def write_log(folder: Path, pairs: int, sessions_per_query: int, texts: bool = False) -> None:
    """A log whose queries show ten of their twelve documents in any order.

    There are a third as many documents as pairs. With `texts` the text of a query is beside it.
    """
    folder.mkdir()
    queries, documents = pairs // DOCUMENTS, pairs // 3
    rng = np.random.default_rng(0)
    query_ids = np.array([f"q{number}" for number in range(queries)])
    doc_ids = np.array([f"d{number}" for number in range(documents)])
    orders = np.stack([rng.permutation(DOCUMENTS)[:POSITIONS] for _ in range(1000)])
    schema = pa.schema(
        [
            ("session_id", pa.string()),
            ("query_id", pa.string()),
            ("doc_ids", pa.list_(pa.string())),
            ("clicks", pa.list_(pa.bool_())),
            *([("query", pa.string())] if texts else []),
        ]
    )
    with pq.ParquetWriter(folder / "sessions.parquet", schema) as writer:
        size = max(ROWS_OF_GROUP // sessions_per_query, 1)
        for start in range(0, queries, size):
            query = np.repeat(np.arange(start, min(start + size, queries)), sessions_per_query)
            order = orders[rng.integers(len(orders), size=len(query))]
            shown = (query[:, None] * 7919 + order * 104_729) % documents
            clicks = rng.random(shown.shape) < 0.3 / np.arange(1, POSITIONS + 1)
            starts = pa.array(np.arange(0, shown.size + 1, POSITIONS), pa.int32())
            first = start * sessions_per_query
            columns = [
                pa.array([f"s{first + row}" for row in range(len(query))]),
                pa.array(query_ids[query].tolist()),
                pa.ListArray.from_arrays(starts, pa.array(doc_ids[shown.ravel()].tolist())),
                pa.ListArray.from_arrays(starts, pa.array(clicks.ravel())),
            ]
            columns += [pa.array([f"query {number}" for number in query])] if texts else []
            writer.write_table(pa.table(columns, schema=schema))


if __name__ == "__main__":
    auto_cli(main)
