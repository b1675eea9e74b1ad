"""How much memory `prepare` takes of a click log as the pairs that it shows grow.

    python -m benchmarks.log_memory

Prints, for each number of pairs, what `benchmarks.memory` counts, and the seconds. The log is of
parquet, four searches a query, each of ten of the query's twelve documents; documents have twenty
words.
"""

import contextlib
import io
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from benchmarks.click_memory import write_log
from benchmarks.memory import in_mib, peak_memory
from corpus.sources import OwnLogFiles

WORDS = ["night", "train", "sleeper", "Vienna", "Paris", "ticket", "platform", "luggage"]
DOCUMENT_WORDS = 20
SEARCHES = 4  # a query


def main(
    pairs: list[int] = [100_000, 300_000, 1_000_000, 3_000_000],  # noqa: B006 - read only
) -> None:
    """Runs the job for each number of pairs.

    Args:
        pairs: that the log shows.
    """
    table = Table("pairs", "driver, MiB", "largest worker, MiB", "seconds")
    # Each in a process of its own: what one leaves behind would count as the next one's.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for number in pairs:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "log"
                processes.submit(write_own_log, folder, number).result()
                peak, seconds = processes.submit(measure, folder).result()
            row = (f"{number:,}", *in_mib(peak), f"{seconds:,.0f}")
            table.add_row(*row)
            print(*row, file=sys.stderr, flush=True)
    Console().print(table)


def measure(folder: Path) -> tuple[dict[str, int], float]:
    """Peak memory in bytes, and seconds."""
    from cluster.connection import connect
    from corpus.prepare import prepare

    source = OwnLogFiles(folder / "sessions.parquet", folder / "documents.parquet")
    started = time.perf_counter()
    with peak_memory() as peak, contextlib.redirect_stdout(io.StringIO()):
        if source.is_large():
            connect()
        prepare(folder / "collection", source)
    return peak, time.perf_counter() - started


def write_own_log(folder: Path, pairs: int) -> None:
    """A log and its documents, as a team would have them."""
    write_log(folder, pairs, SEARCHES, texts=True)
    documents = pairs // 3
    random = np.random.default_rng(0)
    words = np.array(WORDS)[random.integers(0, len(WORDS), (documents, DOCUMENT_WORDS))]
    table = pa.table(
        {
            "doc_id": [f"d{number}" for number in range(documents)],
            "title": [""] * documents,
            "body": [" ".join(row) for row in words],
        }
    )
    pq.write_table(table, folder / "documents.parquet", row_group_size=100_000)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
