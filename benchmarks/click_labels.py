"""How well click labels order documents, by query frequency: every click model, IPW, the oracle.

    python -m benchmarks.click_labels
    python -m benchmarks.click_labels --fusion true --seeds 3

For each seed a simulated world; its click labels rank each query's candidates, and nDCG@10 against
the grades that the simulated users' clicks follow is averaged by frequency bucket. Documents that
the log does not show come last. "ipw, oracle" weights clicks by the examination that made them.

With `--fusion`, labels that join clicks and a judge's grades, beside either alone and fixed blends
of both, in logs of 50, 5 and 1 searches a query. The judge sees the topical grade, which is not
what users click on, and that with an error; "error" is the standard deviation of it, in grades.
A blend is w * relevance + (1 - w) * grade / 3, with the relevance of a click model.
"""

from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clicks.fit_clicks import CLICK_MODELS
from clicks.labels import inverse_propensity_labels, relevance_labels
from clicks.models.pbm import PositionBasedModel
from clicks.propensities import PropensityMethod, estimate_propensities
from corpus.frequency import BUCKETS
from corpus.simulation.judge import GRADES, grade_chances
from corpus.simulation.user import examination_probability
from corpus.simulation.world import World, simulate_world
from corpus.tables import Collection
from evaluation.measures import MAIN_MEASURE, mean_by_bucket, measure_run, query_buckets

MAX_WEIGHT = 20.0
PAIR = ["query_id", "doc_id"]
JUDGE_ERRORS = (0.4, 0.8)
BLENDS = (0.3, 0.5, 0.7)
FUSED = ("PositionBasedModel", "DynamicBayesianNetwork")


def main(
    seeds: int = 5,
    queries: int = 400,
    documents: int = 800,
    sessions: int = 20_000,
    fusion: bool = False,
) -> None:
    """Prints mean nDCG@10 and its standard error over worlds.

    Args:
        seeds: number of worlds.
        queries: of each world.
        documents: of each world.
        sessions: of each world; with `fusion`, of the fullest log.
        fusion: compare labels that join clicks with a judge's grades instead.
    """
    if fusion:
        for shrink in (1, 10, sessions // queries):
            for error in JUDGE_ERRORS:
                sizes = (queries, documents, sessions // shrink)
                _compare_fusion(seeds, sizes, error)
        return
    measured = []
    for seed in track(range(seeds), description="worlds"):
        collection = simulate_world(seed, queries, documents, sessions, judged=1.0).collection
        for name, labels in all_labels(collection).items():
            measured.append(measure(labels, collection).assign(labels=name, seed=seed))
    _print(measured, "nDCG@10 of click labels")


def _compare_fusion(seeds: int, sizes: tuple[int, int, int], error: float) -> None:
    measured = []
    for seed in track(range(seeds), description="worlds"):
        world = simulate_world(seed, *sizes, judged=1.0)
        for name, labels in joined_labels(world, judge(world, error, seed)).items():
            values = measure(labels, world.collection)
            measured.append(values.assign(labels=name, seed=seed))
    searches = sizes[2] // sizes[0]
    _print(measured, f"nDCG@10 of labels: {searches} searches a query, error {error}")


def judge(world: World, error: float, seed: int) -> pa.Table:
    """Expected grades of all candidates by a judge who reads the topical grade with an error."""
    topical = world.topical_grades["grade"].to_numpy()
    chances = grade_chances(topical, error, np.random.default_rng(seed))
    return world.topical_grades.select(PAIR).append_column("grade", pa.array(chances @ GRADES))


def joined_labels(world: World, grades: pa.Table) -> dict[str, pa.Table]:
    """Labels of clicks, of grades, of fixed blends of both and of fusion, by name."""
    sessions = world.collection.sessions
    labels = {}
    known = estimate_propensities(sessions, resamples=0)["propensity"]
    if known.null_count == 0:
        parts = [(sessions, known.to_numpy().clip(max=1.0))]
        labels["ipw"] = inverse_propensity_labels(parts, MAX_WEIGHT)
    clicked = relevance_labels(PositionBasedModel().fit(sessions), sessions)
    labels["PositionBasedModel"] = clicked
    both = grades.to_pandas().merge(clicked.select([*PAIR, "relevance"]).to_pandas(), how="left")
    labels["grades"] = _labels(both, both["grade"])
    for weight in BLENDS:
        share = np.where(both["relevance"].isna(), 0.0, weight)
        blended = share * both["relevance"].fillna(0.0) + (1 - share) * both["grade"] / 3
        labels[f"blend, {weight}"] = _labels(both, blended)
    for name in FUSED:
        fused = CLICK_MODELS[name]().fit(sessions, grades)
        labels[f"fusion, {name}"] = relevance_labels(fused, sessions)
    return labels


def _labels(pairs: pd.DataFrame, relevance: "pd.Series[float]") -> pa.Table:
    return pa.Table.from_pandas(pairs[PAIR].assign(relevance=relevance), preserve_index=False)


def _print(measured: list[pd.DataFrame], title: str) -> None:
    values = pd.concat(measured)
    grouped = values.groupby(["labels", "bucket"], sort=False)["value"]
    mean, error = grouped.mean(), grouped.sem()
    table = Table("labels", *BUCKETS, "all", title=title)
    for name in values["labels"].unique():
        # Where all queries are equally frequent they are one bucket.
        cells = [
            f"{mean[name, b]:.3f} ± {error[name, b]:.3f}" if (name, b) in mean.index else ""
            for b in (*BUCKETS, "all")
        ]
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
    label = labels.select([*PAIR, "relevance"]).to_pandas()
    run = collection.candidates.select(PAIR).to_pandas().merge(label, on=PAIR, how="left")
    run = run.rename(columns={"relevance": "score"}).fillna({"score": -1.0})
    means = mean_by_bucket(measure_run(run, collection.judgments), query_buckets(collection))
    return means[means["measure"] == MAIN_MEASURE]


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
