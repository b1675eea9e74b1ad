"""How much faster two training workers are than one, with one thread each.

    python -m benchmarks.scaling

Runs Ray Train with one worker and with two, in turn, on the same lists with the same steps, and
prints pairs a second, the share of time that training waited for data, and the efficiency: the
speed of two workers over twice that of one.
"""

import json
import tempfile
from pathlib import Path

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from cluster.connection import connect
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, read_table
from rankers.data.lists import add_labels, candidate_lists
from rankers.fit import fit_ranker
from rankers.mixes import Constant
from rankers.models.small_bert import build_small_bert
from rankers.preparation import prepare_lists
from rankers.settings import (
    BatchingSettings,
    ModelSettings,
    OptimizationSettings,
    ResourceSettings,
    TrainingSettings,
)
from rankers.supervision import SupervisedLists
from rankers.training.checkpoints import HISTORY


def main(
    queries: int = 400,
    rounds: int = 2,
    epochs: int = 3,
    lists_per_step: int = 16,
    layers: int = 4,
    width: int = 256,
) -> None:
    """Measures the efficiency of two workers.

    Args:
        queries: of the simulated world.
        rounds: how often each number of workers is measured, in turn.
        epochs: of a run; the first, in which all is cold, is not counted.
        lists_per_step: over all workers.
        layers: of the BERT with random weights that is trained.
        width: of its layers.
    """
    connect()
    speeds: dict[int, list[float]] = {1: [], 2: []}
    waiting: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = supervised_lists(folder, queries)
        backbone = random_bert(lists, folder / "backbone", layers, width)
        for number in range(rounds):
            for workers in speeds:
                training = TrainingSettings(
                    model=ModelSettings(backbone=str(backbone)),
                    optimization=OptimizationSettings(epochs=epochs),
                    batching=BatchingSettings(lists_per_step=lists_per_step),
                    resources=ResourceSettings(workers=workers, cpus_per_worker=1),
                )
                output = folder / f"{workers}-{number}"
                output.mkdir()
                prepared = prepare_lists(lists, training, output, output / "tokens")
                objective = prepared.objective(Constant(0.5), training.objective)
                fit_ranker(prepared.read, objective, output, training)
                # Of the best checkpoint and of the last one; the longer has all epochs.
                kept = output.glob(f"checkpoints/*/{HISTORY}")
                warm = max((json.loads(path.read_text()) for path in kept), key=len)[1:]
                speeds[workers].append(max(row["pairs_per_second"] for row in warm))
                waiting[workers].append(max(row["waiting_share"] for row in warm))
    table = Table("workers", "pairs/s, each round", "most time waiting for data")
    for workers in speeds:
        each = ", ".join(f"{speed:.0f}" for speed in speeds[workers])
        table.add_row(str(workers), each, f"{max(waiting[workers]):.1%}")
    Console().print(table)
    print(f"efficiency of two workers: {max(speeds[2]) / (2 * max(speeds[1])):.2f}")


def supervised_lists(folder: Path, queries: int) -> SupervisedLists:
    """Lists of a simulated world, with human grades in the place of both signals."""
    prepare(
        folder / "collection", SimulatedWorld(queries=queries, documents=2 * queries, judged=1.0)
    )
    collection = read_collection(folder / "collection")
    grades = read_table(folder / "collection", "judgments")
    clicks = grades.append_column("relevance", grades["grade"].cast("double"))
    clicks = clicks.append_column("impressions", grades["grade"])
    grades = grades.append_column("expected_grade", grades["grade"].cast("double"))
    training, validation = (
        add_labels(candidate_lists(collection, split), clicks, grades, "expected_grade")
        for split in ("train", "validation")
    )
    return SupervisedLists(collection, training, validation, "grade", collection.judgments, None)


def random_bert(lists: SupervisedLists, folder: Path, layers: int, width: int) -> Path:
    """A BERT with random weights and the vocabulary of the collection."""
    build_small_bert(lists.collection, folder, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        num_labels=1,  # type: ignore[call-arg]
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
