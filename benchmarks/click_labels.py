"""How well click labels order documents, by query frequency: every click model, IPW, the oracle.

    python -m benchmarks.click_labels

For each seed a simulated world; its click labels rank each query's candidates, and nDCG@10 against
the grades that the simulated users' clicks follow is averaged by frequency bucket. Documents that
the log does not show come last. "ipw, oracle" weights clicks by the examination that made them.
"""

from typing import get_args

import pandas as pd
import pyarrow as pa
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clicks.fit_clicks import CLICK_MODELS
from clicks.labels import inverse_propensity_labels, relevance_labels
from clicks.propensities import PropensityMethod, estimate_propensities
from corpus.frequency import BUCKETS
from corpus.simulation.user import examination_probability
from corpus.simulation.world import simulate_world
from corpus.tables import Collection
from evaluation.measures import MAIN_MEASURE, mean_by_bucket, measure_run, query_buckets

MAX_WEIGHT = 20.0


def main(seeds: int = 5, queries: int = 400, documents: int = 800, sessions: int = 20_000) -> None:
    """Prints mean nDCG@10 and its standard error over worlds.

    Args:
        seeds: number of worlds.
        queries: of each world.
        documents: of each world.
        sessions: of each world.
    """
    measured = []
    for seed in track(range(seeds), description="worlds"):
        collection = simulate_world(seed, queries, documents, sessions, judged=1.0).collection
        for name, labels in all_labels(collection).items():
            measured.append(measure(labels, collection).assign(labels=name, seed=seed))
    values = pd.concat(measured)
    grouped = values.groupby(["labels", "bucket"], sort=False)["value"]
    mean, error = grouped.mean(), grouped.sem()
    table = Table("labels", *BUCKETS, "all", title="nDCG@10 of click labels")
    for name in values["labels"].unique():
        cells = [f"{mean[name, b]:.3f} ± {error[name, b]:.3f}" for b in (*BUCKETS, "all")]
        table.add_row(name, *cells)
    Console(width=120).print(table)


def all_labels(collection: Collection) -> dict[str, pa.Table]:
    """Click labels of each kind, by its name."""
    sessions = collection.sessions
    positions = len(sessions["doc_ids"][0])
    labels = {}
    for method in get_args(PropensityMethod):
        known = estimate_propensities(sessions, method, resamples=0)["propensity"]
        if known.null_count == 0:
            parts = [(sessions, known.to_numpy().clip(max=1.0))]
            labels[f"ipw, {method}"] = inverse_propensity_labels(parts, MAX_WEIGHT)
    for name in ("DocumentCTR", *list(CLICK_MODELS)[3:]):
        labels[name] = relevance_labels(CLICK_MODELS[name]().fit(sessions), sessions)
    oracle = examination_probability(positions)
    parts = [(sessions, oracle / oracle[0])]
    labels["ipw, oracle"] = inverse_propensity_labels(parts, MAX_WEIGHT)
    return labels


def measure(labels: pa.Table, collection: Collection) -> pd.DataFrame:
    """Mean nDCG@10 by bucket of the candidates, ordered by label."""
    pair = ["query_id", "doc_id"]
    label = labels.select([*pair, "relevance"]).to_pandas()
    run = collection.candidates.select(pair).to_pandas().merge(label, on=pair, how="left")
    run = run.rename(columns={"relevance": "score"}).fillna({"score": -1.0})
    means = mean_by_bucket(measure_run(run, collection.judgments), query_buckets(collection))
    return means[means["measure"] == MAIN_MEASURE]


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
