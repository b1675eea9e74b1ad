"""What a search costs beyond its steps, and how soon it finds what a full grid does.

    python -m benchmarks.tuning overhead
    python -m benchmarks.tuning ratio

`overhead` runs a search of trials side by side and breaks the time of its processes down: steps;
validation; what a trial does around its epochs (setting up, checkpoints); the time between trials
of one process; and the time before the first (starting processes, importing PyTorch). All but the
first is overhead, in the share of the time of steps.

`ratio` trains every point of a grid, of two mixes, three kinds of click labels, the loss and the
learning rate, to its end. Then, of five seeds each, it takes the training until a trial is as good
as the best of the grid: of a search as `tune` has it, with its known points, its sampler and early
stopping by its defaults, and of random search without. Training is counted in epochs, which all
take as long, so that other work on the machine does not count; who does not come there within
`limit` counts with that. The ratio is that of the sums: of random search, whose trials do not
depend on each other, that is what a hit costs. The best of so many values is also the luckiest, so
it tells the same of a second mark: the mean of the grid's best point under three other seeds. A
BERT of one narrow layer makes trials short enough for hundreds of them. All start from the ranker
of clicks alone, as a team's do from the one that it has: from random weights the seed decides more
than what is searched.

Both train on a simulated world, on CPUs.
"""

import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
from jsonargparse import auto_cli
from optuna.study import Study
from rich.console import Console
from rich.table import Table

from benchmarks.narrow_bert import save_narrow_bert
from clicks.fit_clicks import fit_clicks
from cluster.connection import connect
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, write_table
from rankers.settings import (
    BatchingSettings,
    ModelSettings,
    OptimizationSettings,
    ResourceSettings,
    TrainingSettings,
)
from tuning.early_stopping import make_pruner
from tuning.inputs import Sources, TrialInputs
from tuning.known_points import CLICKS, FUSION, SHRUNK, known_points
from tuning.objectives import ALL, read_objectives
from tuning.outcomes import TRIALS, Search
from tuning.records import epochs_table, trials_table
from tuning.search import run_trials
from tuning.space import KIND, LABELS, SearchSpace
from tuning.study import enqueue_known, open_study

SOME = 8  # trials, after which a search may have come where it is to come
OF_OVERHEAD = SearchSpace(mixes=["Constant", "FrequencySigmoid"], labels=[CLICKS])
MIXES: dict[str, dict[str, list[float]]] = {
    "Constant": {"click_weight": [0.0, 0.5, 1.0]},
    "FrequencySigmoid": {"midpoint_quantile": [0.5], "steepness": [1.0]},
}
LEARNING_RATE, LOSS = "optimization.learning_rate", "objective.loss"
LEARNING_RATES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
LOSSES = ["softmax", "pairwise_logistic", "lambdarank", "pointwise_sigmoid"]  # one of each kind
OF_RATIO = SearchSpace(
    mixes=[*MIXES],
    ranges={
        LEARNING_RATE: [LEARNING_RATES[0], LEARNING_RATES[-1]],
        LOSS: {"choices": LOSSES},
    },
)


class Bench:
    """A world to search on, and searches on it.

    Args:
        folder: for all that is made.
        queries: of the world.
        epochs: of a whole trial.
        at_once: trials at a time.
        space: what is searched.
        judged: share of the queries that have human judgments; a third of these validate.
        narrow: train a BERT of one narrow layer instead of the small one.
    """

    def __init__(
        self,
        folder: Path,
        queries: int,
        epochs: int,
        at_once: int,
        space: SearchSpace,
        judged: float = 0.5,
        narrow: bool = False,
    ) -> None:
        self.folder, self.at_once, self.space = folder, at_once, space
        collection = folder / "collection"
        prepare(collection, SimulatedWorld(queries, queries, 20 * queries, judged=judged))
        _annotate(folder)
        made: dict[str, dict[str, Any]] = {
            CLICKS: {},
            SHRUNK: {"labels": "PositionBasedModel", "beside": folder / "llm"},
            FUSION: {"prior": folder / "llm"},
        }
        self.labels = {name: folder / name for name in made if name in (space.labels or made)}
        for name, output in self.labels.items():
            fit_clicks(collection, output, resamples=0, **made[name])
        model = ModelSettings()
        if narrow:
            save_narrow_bert(read_collection(collection), folder / "bert", width=32)
            model = ModelSettings(backbone=str(folder / "bert"))
        self.training = TrainingSettings(
            model=model,
            optimization=OptimizationSettings(epochs=epochs),
            batching=BatchingSettings(lists_per_step=4),
            resources=ResourceSettings(workers=1),
        )
        self.sources = Sources(collection, self.labels, folder / "llm")
        self.tables = {name: self.sources.open(name, self.training) for name in self.labels}
        connect()

    def start_from_clicks(self) -> None:
        """Trains the ranker of clicks alone, which trials start from hereafter."""
        study, search = self.begin("clicks_alone", seed=0)
        of_clicks = {KIND: "Constant", "Constant.click_weight": 1.0, LABELS: CLICKS}
        study.enqueue_trial({**of_clicks, LEARNING_RATE: 3e-3, LOSS: "softmax"})
        self.run(study, search, 1)
        ranker = search.output / TRIALS / "0000"
        self.training = replace(self.training, model=ModelSettings(backbone=str(ranker)))
        self.tables = {name: self.sources.open(name, self.training) for name in self.labels}

    def begin(self, name: str, seed: int) -> tuple[Study, Search]:
        """A search without a trial yet."""
        output = self.folder / name
        output.mkdir()
        objectives = read_objectives([ALL], {})
        study = open_study(output, None, {"seed": seed}, objectives.names, seed)
        study.pruner = make_pruner(early_stopping=False, grace_epochs=1)
        tokens = self.folder / "tokens"
        inputs = TrialInputs(self.sources, self.tables, self.training, output, tokens, None)
        return study, Search(
            study, output, objectives, self.space, self.training, [*self.labels], inputs
        )

    def enqueue_known(self, study: Study) -> None:
        """Enqueues the points that a search begins with."""
        enqueue_known(study, known_points(self.space, [*self.labels], self.training))

    def under_other_seed(self, point: dict[str, Any], seed: int) -> float:
        """The score of a point that is trained under another seed."""
        of_seed = replace(
            self.training, optimization=replace(self.training.optimization, seed=seed)
        )
        study, search = self.begin(f"seed_{seed}", seed)
        study.enqueue_trial(point)
        told = self.run(study, replace(search, training=of_seed), 1)
        return float(told[ALL].iloc[0])

    def run_until(self, study: Study, search: Search, wanted: float, limit: int) -> pd.DataFrame:
        """Runs trials, some at a time, until one is as good or their epochs are at the limit."""
        told = self.run(study, search, SOME)
        while (told[ALL] < wanted).all() and told["epochs"].sum() < limit:
            told = self.run(study, search, len(told) + SOME)
        return told

    def run(self, study: Study, search: Search, trials: int) -> pd.DataFrame:
        """Runs the trials; returns their table, with `beginning`, the time before all of them."""
        beginning = time.time()
        run_trials(search, trials, self.at_once, 1.0)
        return trials_table(study, None).assign(beginning=beginning)


def overhead(queries: int = 1300, epochs: int = 4, trials: int = 6, at_once: int = 2) -> None:
    """Breaks the time of a search's processes down.

    Args:
        queries: of the world; with the default a trial takes about a minute on a quiet machine.
        epochs: of a trial.
        trials: how many.
        at_once: trials at a time.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), queries, epochs, at_once, OF_OVERHEAD)
        study, search = bench.begin("search", seed=0)
        bench.enqueue_known(study)
        told = bench.run(study, search, trials)
        of_epochs = epochs_table(study, search.output)
        lists = bench.tables[CLICKS].lists
        assert lists is not None
        pairs = len(lists.training["doc_ids"].combine_chunks().flatten())
    steps = float((pairs / of_epochs["pairs_per_second"]).sum())
    beginning = told["beginning"].iloc[0]
    of_workers = told.groupby("worker")
    seconds = {
        "steps": steps,
        "validation": float(of_epochs["seconds"].sum()) - steps,
        "setting up, checkpoints": float(told["seconds"].sum() - of_epochs["seconds"].sum()),
        "between trials": float(
            (of_workers["ended"].max() - of_workers["began"].min()).sum() - told["seconds"].sum()
        ),
        "before the first trial": float((of_workers["began"].min() - beginning).sum()),
    }
    shown = Table(title=f"{trials} trials of {told['seconds'].mean():.0f} s, {at_once} at a time")
    for name in ("", "seconds a trial", "% of steps"):
        shown.add_column(name, justify="left" if name == "" else "right")
    for name, value in seconds.items():
        shown.add_row(name, f"{value / trials:.1f}", f"{100 * value / steps:.1f}")
    Console().print(shown)
    total = sum(seconds.values()) - steps
    print(f"overhead beyond the steps: {100 * total / steps:.1f} %")
    later = total - seconds["before the first trial"]
    print(f"without what is once a process: {100 * later / steps:.1f} %")


def ratio(
    queries: int = 250,
    epochs: int = 8,
    at_once: int = 2,
    searches: int = 5,
    limit: int = 1600,
) -> None:
    """Compares how soon a search and random search are as good as a full grid.

    Args:
        queries: of the world.
        epochs: of a whole trial.
        at_once: trials at a time.
        searches: how many of each, of other seeds.
        limit: epochs of a search, at most.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), queries, epochs, at_once, OF_RATIO, 1.0, narrow=True)
        bench.start_from_clicks()
        marks = run_grid(bench)
        spent: dict[str, list[tuple[int, int]]] = {mark: [] for mark in marks}
        for seed in range(searches):
            study, search = bench.begin(f"search_{seed}", seed)
            study.pruner = make_pruner(early_stopping=True, grace_epochs=2)
            bench.enqueue_known(study)
            ours = bench.run_until(study, search, max(marks.values()), limit)
            study, search = bench.begin(f"random_{seed}", seed)
            study.sampler = optuna.samplers.RandomSampler(seed=seed)
            random = bench.run_until(study, search, max(marks.values()), limit)
            for mark, wanted in marks.items():
                took = epochs_until(ours, wanted, limit), epochs_until(random, wanted, limit)
                spent[mark].append(took)
                print(f"seed {seed}, {mark}: epochs {took[0]}, of random search {took[1]}")
            of_epoch = [told["seconds"].sum() / told["epochs"].sum() for told in (ours, random)]
            print("seconds an epoch: {:.2f}, of random search {:.2f}".format(*of_epoch), flush=True)
    for mark, epochs_of_each in spent.items():
        of_ours, of_random = np.transpose(epochs_of_each)
        by_sums = of_random.sum() / of_ours.sum()
        by_pairs = np.exp(np.log(of_random / of_ours).mean())
        print(f"{mark}: random search takes {by_sums:.2f} times as long ({by_pairs:.2f} by pairs)")


def run_grid(bench: Bench) -> dict[str, float]:
    """Trains a grid; returns what a search is to reach, by two measures."""
    study, search = bench.begin("grid", seed=0)
    points = list(_grid(bench.labels))
    for point in points:
        study.enqueue_trial(point)
    grid = bench.run(study, search, len(points))
    best = points[int(grid[ALL].argmax())]
    again = [bench.under_other_seed(best, seed) for seed in (1, 2, 3)]
    marks = {
        "the grid's best": float(grid[ALL].max()),
        "its mean under other seeds": float(np.mean(again)),
    }
    print(f"grid: {len(grid)} trials, {grid['seconds'].sum():.0f} s, {marks}, {best}", flush=True)
    return marks


def epochs_until(told: pd.DataFrame, wanted: float, limit: int) -> int:
    """Epochs of training until a trial was as good, at most the limit.

    Args:
        told: epochs, ended and nDCG@10 of each trial.
        wanted: how good.
        limit: in epochs; what comes later does not count.
    """
    in_order = told.sort_values("ended")
    spent = in_order["epochs"].cumsum()
    there = spent[in_order[ALL] >= wanted]
    return min(int(there.iloc[0]), limit) if len(there) else limit


def _grid(labels: Iterable[str]) -> Iterator[dict[str, Any]]:
    for kind, ranges in MIXES.items():
        names = [LABELS, LEARNING_RATE, LOSS, *(f"{kind}.{name}" for name in ranges)]
        for values in itertools.product(labels, LEARNING_RATES, LOSSES, *ranges.values()):
            yield {KIND: kind, **dict(zip(names, values, strict=True))}


def _annotate(folder: Path) -> None:
    """Annotations as good as a judge's: the human grades, some of them off by one."""
    judgments = read_collection(folder / "collection").judgments.to_pandas()
    wrong = np.random.default_rng(0).random(len(judgments)) < 0.3
    grade = (judgments["grade"] + np.where(wrong, 1, 0)).clip(0, 3)
    table = judgments[["query_id", "doc_id"]].assign(
        annotator="benchmark", strategy="pointwise", prompt_id="p", grade=grade, confidence=1.0
    )
    table = table.assign(expected_grade=grade.astype(float), error=None)
    write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "llm", "annotations")


if __name__ == "__main__":
    auto_cli([overhead, ratio])
