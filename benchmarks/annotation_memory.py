"""Whether the memory of annotation stays flat as pairs grow, with an engine that answers at once.

    python -m benchmarks.annotation_memory

Prints, for each number of pairs, what `benchmarks.memory` counts (the largest worker is the
engine's actor), and pairs a second.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from annotation.annotate import annotate
from annotation.demo_judge.shipped import demo_judge
from annotation.engines.base import Answer, AnswerForm, EngineChoice, Secret
from annotation.engines.token_spend import Spend
from annotation.plan.budget import Budget, spend_budget
from annotation.plan.parts import unanswered_pairs
from annotation.plan.selection import hash_texts, number_parts, pairs_to_annotate
from annotation.pool import part_texts
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder
from benchmarks.memory import in_mib, peak_memory
from cluster.connection import connect
from corpus.mapped_tables import map_collection
from corpus.places import place_of
from corpus.schemas import empty_table
from corpus.tables import Collection, write_collection

DOCUMENTS_PER_QUERY = 12
WORDS = ["night", "train", "sleeper", "Vienna", "Paris", "ticket", "platform", "luggage"]


@dataclass(frozen=True)
class Instant(EngineChoice):
    """Believes the same of every document, at once."""

    tokenizer_folder: str
    closed = ""
    notes = ()

    def actors(self) -> int:
        return 1

    def actor_options(self) -> dict[str, Any]:
        return {"num_cpus": 1}

    def identity(self) -> dict[str, Any]:
        return {"engine": "Instant"}

    def context_length(self, model: str) -> int:
        return 512

    def tokenizer(self, model: str) -> str:
        return self.tokenizer_folder

    def secret(self) -> Secret:
        return Secret()

    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        pass

    def start(
        self,
        model: str,
        max_model_len: int,
        encoder: PromptEncoder,
        secret: Secret,
        spend: Spend | None,
    ) -> "Instant":
        return self

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        return [
            Answer(log_probabilities=[-1.0, -2.0, -1.5, -3.0], prompt_tokens=len(p.token_ids))
            for p in prompts
        ]


def main(pairs: list[int] | None = None, planned: list[int] | None = None) -> None:
    """Runs the job, and its planning alone, for each number of pairs.

    Args:
        pairs: of whole jobs, by default 30, 100 and 300 thousand.
        planned: of what a driver does beside asking: reading, checking, choosing by a budget,
            hashing and looking up the texts of all parts; by default 300 thousand, 1 and 3 million.
    """
    table = Table("pairs", "", "driver, MiB", "engine's actor, MiB", "pairs/s")
    # Each in a process of its own: what one leaves behind would count as the next one's.
    with (
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes,
        tempfile.TemporaryDirectory() as scratch,
    ):
        runs = [("planned", plan, planned or [300_000, 1_000_000, 3_000_000])]
        runs.append(("annotated", measure, pairs or [30_000, 100_000, 300_000]))
        for what, run, numbers in runs:
            for number in numbers:
                folder = Path(scratch) / f"{what}-{number}"
                processes.submit(write_pairs, folder / "collection", number).result()
                peak, seconds = processes.submit(run, folder).result()
                cells = [*in_mib(peak), f"{number / seconds:,.0f}"]
                table.add_row(f"{number:,}", what, *cells)
                print(number, what, *cells, file=sys.stderr, flush=True)
    Console().print(table)


def plan(folder: Path) -> tuple[dict[str, int], float]:
    """Peak memory of a process that plans, in bytes, and seconds."""
    started = time.perf_counter()
    with peak_memory() as peak, contextlib.redirect_stdout(io.StringIO()):
        tables = map_collection(place_of(folder / "collection"))
        pairs = pairs_to_annotate(tables, folder)
        budget = Budget(max_pairs=pairs.num_rows // 2)
        spend_budget(pairs, tables, budget, False, lambda some: np.zeros(some.num_rows, int), 0)
        hash_texts(pairs, tables)
        pairs = pairs.append_column("part", pa.array(number_parts(pairs, False, 1000)))
        unanswered_pairs(pairs, place_of(folder / "none"), whole_queries=False)
        for _ in part_texts(pairs, tables):
            pass
    return peak, time.perf_counter() - started


def measure(folder: Path) -> tuple[dict[str, int], float]:
    """Peak memory of driver and actor in bytes, and seconds with the engine's start."""
    connect()
    # Ray's workers cannot import this file by the name that it has in a spawned process.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    model = demo_judge()
    started = time.perf_counter()
    with peak_memory() as peak, contextlib.redirect_stdout(io.StringIO()):
        annotate(folder / "collection", folder / "out", str(model), engine=Instant(str(model)))
    return peak, time.perf_counter() - started


def write_pairs(folder: Path, pairs: int) -> None:
    """A collection of so many candidate pairs, twelve a query, over a third as many documents."""
    queries, documents = pairs // DOCUMENTS_PER_QUERY, pairs // 3
    rng = np.random.default_rng(0)
    query_ids = [f"q{number}" for number in range(queries)]
    doc_ids = np.array([f"d{number}" for number in range(documents)])
    texts = [" ".join(rng.choice(WORDS, 60)) for _ in range(1000)]
    steps = np.arange(DOCUMENTS_PER_QUERY) * 104_729
    shown = (np.arange(queries)[:, None] * 7919 + steps) % documents
    tables = {name: empty_table(name) for name in ("sessions", "judgments", "splits")}
    tables["queries"] = pa.table(
        {
            "query_id": query_ids,
            "text": [f"train {n}" for n in query_ids],
            "frequency": [1] * queries,
        }
    )
    tables["documents"] = pa.table(
        {
            "doc_id": doc_ids,
            "title": ["t"] * documents,
            "body": [texts[row % len(texts)] for row in range(documents)],
        }
    )
    tables["candidates"] = pa.table(
        {
            "query_id": np.repeat(query_ids, DOCUMENTS_PER_QUERY),
            "doc_id": doc_ids[shown.ravel()],
            "rank": np.tile(np.arange(1, DOCUMENTS_PER_QUERY + 1), queries),
            "score": np.zeros(shown.size),
        }
    )
    write_collection(Collection(**tables), folder)


if __name__ == "__main__":
    auto_cli(main)
