"""What a query-document pair costs: memory, storage, tokenizing, training. See docs/scale.md.

python -m benchmarks.pair_costs --backbone FOLDER
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from corpus.schemas import empty_table
from corpus.tables import Collection
from rankers.data.lists import add_labels, candidate_ids
from rankers.data.padding import BatchReader
from rankers.data.pair_texts import number_texts
from rankers.data.sampler import EpochOrder, Share, read_steps
from rankers.data.store import ListFile, write_lists
from rankers.data.token_files import open_tokens
from rankers.data.tokenization import tokenize_once
from rankers.losses.hybrid import Objective
from rankers.mixes import Constant
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import ListRanker

DOCUMENTS_PER_QUERY = 10


def main(backbone: str, queries: int = 20_000, words: int = 120, steps: int = 8) -> None:
    """Measures the costs of a pair in one process.

    Args:
        backbone: folder of a Hugging Face encoder.
        queries: of the collection whose memory is measured, with ten documents each.
        words: of a document.
        steps: of training that are timed, of four lists each.
    """
    pairs = queries * DOCUMENTS_PER_QUERY
    before = psutil.Process().memory_info().rss
    collection = random_collection(queries, words)
    lists = add_labels(candidate_ids(collection, None), None, grades(collection), "grade")
    driver = (psutil.Process().memory_info().rss - before) / pairs
    model, tokenizer = load_cross_encoder(backbone, max_length=256, new_head=True)
    some = lists.slice(0, 4 * (steps + 1))
    start = time.perf_counter()
    pairs_timed = some.num_rows * DOCUMENTS_PER_QUERY
    with tempfile.TemporaryDirectory() as folder:
        [numbered], texts = number_texts([some], collection.documents)
        ids = tokenize_once(texts, tokenizer, 256, Path(folder) / "tokens", "benchmark")
        tokenizing = (time.perf_counter() - start) / pairs_timed
        path = Path(folder) / "lists.arrow"
        write_lists([numbered], path)
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        stored = sum(file.stat().st_size for file in files) / pairs_timed
        read = BatchReader(ListFile(path), open_tokens(ids), tokenizer.pad_token_id, 8192)
        tokens, training = train(ListRanker(model), read, steps)
    parameters = sum(p.numel() for p in model.parameters())
    embedded = model.get_input_embeddings().weight.numel()  # type: ignore[operator]
    table = Table("a pair costs", "")
    table.add_row("tokens", f"{tokens:.0f}")
    table.add_row("memory of the driver", f"{driver / 1024:.2f} KiB")
    table.add_row("tokenized on disk", f"{stored / 1024:.2f} KiB")
    table.add_row("tokenizing, all threads", f"{1e6 * tokenizing:.0f} µs")
    table.add_row("training here", f"{1e3 * training:.1f} ms")
    table.add_row("training, operations", f"{6 * (parameters - embedded) * tokens / 1e9:.1f} GFLOP")
    checkpoint = 4 * (3 * parameters) / 2**20
    table.add_row("a checkpoint, whatever the pairs", f"{checkpoint:.0f} MiB")
    Console().print(table)


def random_collection(queries: int, words: int) -> Collection:
    """Queries with documents of their own, of random words."""
    rng = np.random.default_rng(0)
    vocabulary = np.array(["night", "train", "sleeper", "ticket", "platform", "luggage", "rail"])
    rows = queries * DOCUMENTS_PER_QUERY
    doc_ids = [f"d{number}" for number in range(rows)]
    bodies = [" ".join(vocabulary[rng.integers(0, len(vocabulary), words)]) for _ in doc_ids]
    query_ids = [f"q{number}" for number in range(queries)]
    of_pairs = np.repeat(query_ids, DOCUMENTS_PER_QUERY)
    return Collection(
        queries=pa.table(
            {"query_id": query_ids, "text": ["night train"] * queries, "frequency": [1] * queries}
        ),
        documents=pa.table({"doc_id": doc_ids, "title": [""] * rows, "body": bodies}),
        candidates=pa.table(
            {
                "query_id": of_pairs,
                "doc_id": doc_ids,
                "rank": np.tile(np.arange(1, DOCUMENTS_PER_QUERY + 1), queries),
                "score": np.zeros(rows),
            }
        ),
        sessions=empty_table("sessions"),
        judgments=empty_table("judgments"),
        splits=pa.table({"query_id": query_ids, "split": ["train"] * queries}),
    )


def grades(collection: Collection) -> pa.Table:
    """An annotation of every pair."""
    pairs = collection.candidates.select(["query_id", "doc_id"])
    return pairs.append_column("grade", pa.array(np.arange(pairs.num_rows) % 4))


def train(ranker: ListRanker, lists: BatchReader, steps: int) -> tuple[float, float]:
    """Tokens and seconds of a pair; the first step warms up."""
    objective = Objective(Constant(0.5), "softmax", highest_grade=3)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=1e-5)
    order = EpochOrder(lists.lists.counts, 4, seed=0, epoch=0)
    tokens = pairs = 0
    start = 0.0
    for number, [batch] in enumerate(read_steps(lists, order, Share())):
        if number == 1:
            start = time.perf_counter()
        objective(ranker(batch), batch, 0.0).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if number:
            tokens += batch.micro_batches.tokens
            pairs += len(batch.slots)
    return tokens / pairs, (time.perf_counter() - start) / pairs


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
