"""Whether the memory of reranking and of evaluation stays flat as pairs grow, with a tiny ranker.

    python -m benchmarks.scoring_memory

Prints, for each job and number of pairs, what `benchmarks.memory` counts, and the seconds that the
job took, with the start of its workers. Queries have ten candidates each,
documents twenty words. A tenth of the queries were searched after the log window; humans judged
5,000 queries, or all where there are fewer, which is what evaluation keeps a table of.
"""

import contextlib
import io
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from benchmarks.memory import in_mib, peak_memory
from benchmarks.narrow_bert import save_narrow_bert
from cluster.connection import connect
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection
from rankers.evaluate import evaluate
from rankers.rerank import rerank

Job = Literal["rerank", "evaluate"]
DEPTH = 10
DOCUMENT_WORDS = 20
PAIRS_PER_DOCUMENT = 5
MOST_JUDGED = 5000
WORDS = ["night", "train", "sleeper", "Vienna", "Paris", "ticket", "platform", "luggage"]
PAIRS = (100_000, 300_000, 1_000_000)


def main(pairs: list[int] | None = None, jobs: list[Job] | None = None, scorers: int = 1) -> None:
    """Runs the jobs for each number of pairs.

    Args:
        pairs: by default 100 and 300 thousand, and a million.
        jobs: by default both.
        scorers: processes that score.
    """
    table = Table("job", "pairs", "driver, MiB", "largest worker, MiB", "seconds")
    # Each in a process of its own: what one leaves behind would count as the next one's.
    with (
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes,
        tempfile.TemporaryDirectory() as scratch,
    ):
        for number in pairs or PAIRS:
            folder = Path(scratch) / str(number)
            processes.submit(write_inputs, folder, number).result()
            for job in jobs or ("rerank", "evaluate"):
                peak, seconds = processes.submit(measure, job, folder, scorers).result()
                row = (job, f"{number:,}", *in_mib(peak), f"{seconds:,.0f}")
                table.add_row(*row)
                print(*row, file=sys.stderr, flush=True)
    Console().print(table)


def measure(job: Job, folder: Path, scorers: int) -> tuple[dict[str, int], float]:
    """Peak memory of the driver and of the largest worker in bytes, and seconds."""
    connect()
    collection, ranker = folder / "collection", folder / "ranker"
    started = time.perf_counter()
    with peak_memory() as peak, contextlib.redirect_stdout(io.StringIO()):
        if job == "rerank":
            rerank(collection, ranker, folder / "reranked", scorers=scorers)
        else:
            evaluate(
                collection,
                folder / "evaluated",
                {"tiny": ranker},
                click_labels=folder / "clicks",
                scorers=scorers,
            )
    return peak, time.perf_counter() - started


def write_inputs(folder: Path, pairs: int) -> None:
    """A collection of so many candidate pairs, a tiny ranker, and propensities."""
    rng = np.random.default_rng(0)
    queries, documents = pairs // DEPTH, pairs // PAIRS_PER_DOCUMENT
    query_ids = np.array([f"q{number}" for number in range(queries)])
    doc_ids = np.array([f"d{number}" for number in range(documents)])
    vocabulary = np.array(WORDS)
    bodies = [
        " ".join(row)
        for row in vocabulary[rng.integers(0, len(WORDS), (documents, DOCUMENT_WORDS))]
    ]
    # Distinct within a query: a start of its own and steps on from there.
    shown = (rng.integers(0, documents, (queries, 1)) + 7 * np.arange(DEPTH)) % documents
    judged = np.sort(rng.permutation(queries)[:MOST_JUDGED])
    searched = np.sort(rng.permutation(queries)[: queries // 10])
    clicks = rng.random((len(searched), DEPTH)) < 0.3 / np.arange(1, DEPTH + 1)
    tables = {
        "queries": [query_ids, np.full(queries, "night train"), rng.integers(0, 99, queries)],
        "documents": [doc_ids, np.full(documents, "t"), bodies],
        "candidates": [
            np.repeat(query_ids, DEPTH),
            doc_ids[shown.ravel()],
            np.tile(np.arange(1, DEPTH + 1), queries),
            np.zeros(shown.size),
        ],
        "judgments": [
            np.repeat(query_ids[judged], DEPTH),
            doc_ids[shown[judged].ravel()],
            rng.integers(0, 4, len(judged) * DEPTH),
        ],
        "splits": [query_ids, np.full(queries, "test"), [None] * queries, [None] * queries],
        "held_out_sessions": [
            query_ids[searched],
            query_ids[searched],
            list(doc_ids[shown[searched]]),
            list(clicks),
        ],
    }
    (folder / "collection").mkdir(parents=True)
    for name, columns in tables.items():
        table = pa.table(columns, schema=SCHEMAS[name])
        pq.write_table(table, folder / "collection" / f"{name}.parquet")
    (folder / "clicks").mkdir()
    positions = np.arange(1, DEPTH + 1)
    known = pa.table({"position": positions, "propensity": 1 / positions})
    pq.write_table(known, folder / "clicks" / "propensities.parquet")
    save_tiny_ranker(folder / "ranker", bodies[:100])


def save_tiny_ranker(folder: Path, bodies: list[str]) -> None:
    """A BERT of one layer of 16, with random weights, that reads 64 tokens."""
    ids = [str(number) for number in range(len(bodies))]
    tables = {
        "queries": pa.table([ids, bodies, [1] * len(ids)], schema=SCHEMAS["queries"]),
        "documents": pa.table([ids, [""] * len(ids), bodies], schema=SCHEMAS["documents"]),
    }
    empty = {name: empty_table(name) for name in ("candidates", "sessions", "judgments", "splits")}
    save_narrow_bert(Collection(**tables, **empty), folder, width=16)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
