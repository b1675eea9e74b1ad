"""Which label of an annotation teaches a ranker best: hard, expected, or weighted by confidence.

    python -m benchmarks.soft_labels --output runs/soft_labels

For each seed: a simulated world, the demo's judge, and a ranker trained on annotations alone for
each label, with all else equal; nDCG@10 of the test queries against human grades. An interrupted
run goes on where it stopped.
"""

from pathlib import Path
from typing import get_args

import pandas as pd
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from scipy.stats import ttest_rel

from annotation.annotate import annotate
from cluster.connection import connect
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from evaluation.measures import MAIN_MEASURE
from rankers.evaluate import evaluate
from rankers.mixes import Constant
from rankers.settings import (
    AnnotationLabel,
    BatchingSettings,
    ObjectiveSettings,
    OptimizationSettings,
    TrainingSettings,
)
from rankers.train import train


def main(output: Path, seeds: int = 5, epochs: int = 6) -> None:
    """Trains and measures a ranker for each seed and label; prints means and paired differences.

    Args:
        output: folder for everything.
        seeds: number of worlds.
        epochs: of each training.
    """
    connect()
    rows = []
    for seed in range(seeds):
        folder = output / f"seed-{seed}"
        world = SimulatedWorld(queries=400, documents=800, sessions=20_000, judged=1.0)
        prepare(folder / "collection", world, seed=seed, resume=True)
        annotate(folder / "collection", folder / "annotations", max_model_len=512, resume=True)
        rankers = {}
        for label in get_args(AnnotationLabel):
            rankers[label] = folder / label
            settings = TrainingSettings(
                objective=ObjectiveSettings(annotation_label=label),
                optimization=OptimizationSettings(epochs=epochs, seed=seed),
                batching=BatchingSettings(lists_per_step=4),
            )
            train(
                folder / "collection",
                folder / label,
                annotations=folder / "annotations",
                mix=Constant(0.0),
                training=settings,
                resume=True,
            )
        evaluate(folder / "collection", folder / "evaluation", rankers, resume=True)
        measured = pd.read_parquet(folder / "evaluation" / "values.parquet")
        measured = measured[
            (measured["measure"] == MAIN_MEASURE) & measured["ranker"].isin(rankers)
        ]
        rows.append(measured.groupby("ranker")["value"].mean().rename(seed))
    print_labels(pd.DataFrame(rows))


def print_labels(ndcg: pd.DataFrame) -> None:
    """Prints nDCG@10 by label and seed, gain over the expected grade, p of a paired t-test."""
    table = Table(title="nDCG@10 on test queries, trained on annotations alone")
    for heading in ("label", *map(str, ndcg.index), "mean", "gain", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for label in ndcg.columns:
        values, base = ndcg[label], ndcg["expected_grade"]
        cells = [f"{value:.4f}" for value in (*values, values.mean())]
        if label != "expected_grade":
            p = ttest_rel(values, base).pvalue
            cells += [f"{(values - base).mean():+.4f}", f"{p:.2f}"]
        table.add_row(label, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
