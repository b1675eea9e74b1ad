"""Memory and time of preparing training: in one process, and part by part.

    python -m benchmarks.preparation --pairs "[300000, 3000000]"

makes queries with ten candidates each, click labels and annotations of all, and a BERT of one
narrow layer, and measures, in a process of its own, a driver that prepares them: what
`benchmarks.memory` counts, and the seconds.
"""

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

from benchmarks.memory import in_mib, peak_memory
from benchmarks.narrow_bert import save_narrow_bert
from corpus.tables import read_collection
from rankers.mixes import Constant
from rankers.settings import ModelSettings, TrainingSettings

CANDIDATES = 10
ROWS_OF_GROUP = 100_000
Way = Literal["at once", "in parts"]


def main(
    pairs: list[int] = [100_000],  # noqa: B006 - read only
    ways: list[Way] = ["at once", "in parts"],  # noqa: B006 - likewise
    words: int = 20,
) -> None:
    """Measures the preparation of as many pairs.

    Args:
        pairs: to prepare.
        ways: of "at once" and "in parts".
        words: of a document.
    """
    table = Table("pairs", "way", "driver, MiB", "largest worker, MiB", "seconds")
    # Each in a process of its own: what one leaves behind would count as the next one's.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for number in pairs:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                processes.submit(make_collection, folder, number, words).result()
                for way in ways:
                    peak, seconds = processes.submit(measure, folder, way).result()
                    row = (f"{number:,}", way, *in_mib(peak), f"{seconds:,.0f}")
                    table.add_row(*row)
                    print(*row, file=sys.stderr, flush=True)
    Console().print(table)


def make_collection(folder: Path, pairs: int, words: int) -> None:
    """Tables of random texts, with a document for every two pairs, and the BERT in `bert`."""
    queries, documents = pairs // CANDIDATES, pairs // 2
    random = np.random.default_rng(0)
    vocabulary = np.array([f"word{number}" for number in range(2000)])

    def texts(count: int, length: int) -> list[str]:
        return [" ".join(row) for row in vocabulary[random.integers(0, 2000, (count, length))]]

    query_ids = [f"query{number}" for number in range(queries)]
    doc_ids = np.array([f"document{number}" for number in range(documents)])
    rank = np.tile(np.arange(1, CANDIDATES + 1), queries)
    start = random.integers(0, documents - CANDIDATES, queries)
    candidates = {
        "query_id": np.repeat(query_ids, CANDIDATES),
        "doc_id": doc_ids[np.repeat(start, CANDIDATES) + rank - 1],
    }
    count = len(rank)
    label = random.random(count)
    tables = {
        "collection/queries": {
            "query_id": query_ids,
            "text": texts(queries, 3),
            "frequency": random.zipf(1.5, queries).clip(max=10**6),
        },
        "collection/documents": {
            "doc_id": doc_ids,
            "title": [""] * documents,
            "body": texts(documents, words),
        },
        "collection/candidates": candidates | {"rank": rank, "score": 1.0 / rank},
        "collection/splits": {
            "query_id": query_ids,
            "split": np.where(np.arange(queries) % 10, "train", "validation"),
        },
        "clicks/click_labels": candidates
        | {"relevance": label, "impressions": rank, "clicks": rank, "model": ["m"] * count},
        "llm/annotations": candidates
        | {name: ["a"] * count for name in ("annotator", "strategy", "prompt_id")}
        | {"grade": rank % 4, "expected_grade": label, "confidence": label / 2 + 0.5}
        | {"error": pa.nulls(count, pa.string())},
    }
    for name, columns in tables.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=ROWS_OF_GROUP)
    few = {name: column[:1000] for name, column in tables["collection/documents"].items()}
    (folder / "few").mkdir()
    pq.write_table(pa.table(few), folder / "few" / "documents.parquet")
    some = {name: column[:1000] for name, column in tables["collection/queries"].items()}
    pq.write_table(pa.table(some), folder / "few" / "queries.parquet")
    save_narrow_bert(read_collection(folder / "few"), folder / "bert", width=8)


def measure(folder: Path, way: Way) -> tuple[dict[str, int], float]:
    """What the job `train` does before its workers start: its peak memory, and seconds."""
    from cluster.connection import connect
    from corpus import by_query
    from rankers.preparation import open_tables, prepare_input
    from rankers.prepared import Inputs

    by_query.ROWS_AT_ONCE = 0 if way == "in parts" else 2**62
    training = TrainingSettings(model=ModelSettings(backbone=str(folder / "bert"), max_length=64))
    inputs = Inputs(folder / "collection", folder / "clicks", folder / "llm")
    started = time.perf_counter()
    with peak_memory() as peak:
        tables = open_tables(inputs, Constant(0.5), training)
        connect()
        prepare_input(tables, training, folder / way)
    return peak, time.perf_counter() - started


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
