"""Memory and time of preparing training: in one process, and part by part.

    python -m benchmarks.preparation --pairs 1000000

makes queries with ten candidates each, click labels and annotations of all, and a BERT of one
narrow layer, and measures a driver that prepares them in a process of its own: its peak resident
memory, the highest of any process that Ray started (without what all share), and the seconds.
"""

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from corpus.tables import read_collection
from rankers.mixes import Constant
from rankers.models.small_bert import build_small_bert
from rankers.settings import ModelSettings, TrainingSettings

CANDIDATES = 10
ROWS_OF_GROUP = 100_000
MIB = 2**20


def main(pairs: int = 100_000, ways: list[str] = ["at once", "in parts"], words: int = 20) -> None:  # noqa: B006 - read only
    """Measures the preparation of as many pairs.

    Args:
        pairs: to prepare.
        ways: of "at once" and "in parts".
        words: of a document.
    """
    table = Table("pairs", "way", "driver, MiB", "highest worker, MiB", "seconds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_collection(folder, pairs, words)
        for way in ways:
            prepare = partial(prepare_once, folder, way == "in parts")
            measured = in_a_process(prepare, folder / way)
            table.add_row(f"{pairs:,}", way, *(f"{value:,.0f}" for value in measured))
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
    build_small_bert(read_collection(folder / "few"), folder / "bert", seed=0)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder / "bert")),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        num_labels=1,  # type: ignore[call-arg]
    )
    BertForSequenceClassification(config).save_pretrained(folder / "bert")


def prepare_once(folder: Path, in_parts: bool) -> None:
    """What the job `train` does before its workers start."""
    from cluster.connection import connect
    from corpus import by_query
    from rankers.preparation import open_tables, prepare_input
    from rankers.prepared import Inputs

    by_query.ROWS_AT_ONCE = 0 if in_parts else 2**62
    training = TrainingSettings(model=ModelSettings(backbone=str(folder / "bert"), max_length=64))
    inputs = Inputs(folder / "collection", folder / "clicks", folder / "llm")
    tables = open_tables(inputs, Constant(0.5), training)
    connect()
    prepare_input(tables, training, folder / f"output {in_parts}")


def in_a_process(function: Callable[[], None], told: Path) -> tuple[float, float, float]:
    """Runs a function in a new process; its peak memory, that of its children, and the seconds."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(function, told))
    process.start()
    highest = 0.0
    while process.is_alive():
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if "ray::" in " ".join(child.cmdline()):
                        memory = child.memory_info()
                        highest = max(highest, (memory.rss - memory.shared) / MIB)
        time.sleep(0.2)
    driver, seconds = json.loads(told.read_text())
    return driver, highest, seconds


def _run(function: Callable[[], None], told: Path) -> None:
    start = time.perf_counter()
    function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told.write_text(json.dumps([peak, time.perf_counter() - start]))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
