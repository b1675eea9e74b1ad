"""What a search finds on the default world, against the points that are known before it.

    python ray_jobs/pipeline.py --config configs/demo.yaml
    python -m benchmarks.front

It searches the demo's world for head and tail at once, as `tune` does, by trials as long as the
demo's. Then it trains every known point, and the points of the front that are best by nDCG@10 of
all, again under other seeds, and measures them on the test queries by human grades, which chose
nothing. It prints the front, and a table: of each ranker the mean over seeds with its 95 % interval
(Student's t), and its difference from fusion, in the mean over seeds, with the 95 % interval over
queries (a bootstrap of pairs). Where a run was cut short, it goes on.
"""

import json
from pathlib import Path

import optuna
import pandas as pd
from jsonargparse import auto_cli
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from scipy import stats

from cluster.connection import connect
from corpus.tables import read_collection
from evaluation.measures import MAIN_MEASURE, measure_run, query_buckets
from evaluation.significance import compare
from rankers.data.lists import candidate_ids
from rankers.scoring.pool import score_candidates
from rankers.settings import (
    BatchingSettings,
    OptimizationSettings,
    ResourceSettings,
    TrainingSettings,
)
from tuning.finalists import rank_trials
from tuning.inputs import Sources
from tuning.journal import JOURNAL
from tuning.known_points import CLICKS, FUSION, SHRUNK
from tuning.objectives import read_objectives
from tuning.retraining import train_finalists, trial_name
from tuning.study import STUDY
from tuning.tune import tune

OBJECTIVES = ["nDCG@10_high", "nDCG@10_low"]
BASELINE = FUSION  # the best known point on this world (docs/reproduce.md)
GROUPS = ("all", "high", "low")


def front(
    demo: Path = Path("runs/demo"),
    output: Path = Path("runs/front"),
    trials: int = 16,
    found: int = 3,
    seeds: int = 3,
    at_once: int = 2,
) -> None:
    """Searches, trains again, and prints.

    Args:
        demo: what the demo has left.
        output: folder for the search and its rankers.
        trials: of the search, known points among them.
        found: how many of the search's own are trained again.
        seeds: other seeds that each is trained under, at least 2.
        at_once: trainings at a time.
    """
    folders = {CLICKS: "click_labels", SHRUNK: "shrunk_labels", FUSION: "fused_labels"}
    labels = {name: demo / folder for name, folder in folders.items()}
    sources = Sources(demo / "collection", labels, demo / "annotations")
    training = TrainingSettings(
        optimization=OptimizationSettings(epochs=1, learning_rate=5e-4),
        batching=BatchingSettings(lists_per_step=4),
        resources=ResourceSettings(workers=1),
    )
    tune(
        *(sources.collection, labels, sources.annotations, output, training),
        objectives=OBJECTIVES,
        trials=trials,
        concurrent_trials=at_once,
        finalists=0,
        resume=output.exists(),
    )
    connect()
    storage = JournalStorage(JournalFileBackend(str(output / JOURNAL)))
    study = optuna.load_study(study_name=STUDY, storage=storage)
    ranked = rank_trials(study, read_objectives(OBJECTIVES, {}))
    measures = {trial_name(trial): trial.user_attrs["measures"] for trial in ranked}
    validated = pd.DataFrame(measures).T[["nDCG@10_all", *OBJECTIVES]]
    on_front = {trial_name(trial) for trial in study.best_trials}
    validated["front"] = [name in on_front for name in validated.index]
    print("by validation:", validated.round(4).to_string(), sep="\n")
    known = [trial for trial in ranked if "known" in trial.user_attrs]
    ours = [trial for trial in ranked if "known" not in trial.user_attrs][:found]
    for trial in ours:
        told = trial.user_attrs
        print(f"{trial_name(trial)}: labels {told['labels']}, {json.dumps(told['mix'])}")
    tokens = (output / "tokens").absolute()
    rankers = train_finalists(
        [*known, *ours], seeds, sources, training, output.absolute(), tokens, at_once, 1.0
    )
    names = {trial.number: trial_name(trial) for trial in ranked}
    places = {(names[number], seed): place for (number, seed), place in rankers.items()}
    table = compare_rankers(sources.collection, places)
    print(f"by {seeds} other seeds, on the test queries:", table.to_string(index=False), sep="\n")
    table.to_csv(output / "front.csv", index=False)


def compare_rankers(folder: Path, rankers: dict[tuple[str, int], Path]) -> pd.DataFrame:
    """A row for each ranker, the best first.

    Args:
        folder: of the collection.
        rankers: the folder of each ranker, by its name and seed.
    """
    collection = read_collection(folder)
    places = {f"{name} {seed}": str(place) for (name, seed), place in rankers.items()}
    runs = score_candidates(candidate_ids(collection, "test"), collection.documents, places)
    values = pd.concat(
        measure_run(runs[f"{name} {seed}"], collection.judgments).assign(ranker=name, seed=seed)
        for name, seed in rankers
    )
    values = values[values["measure"] == MAIN_MEASURE]
    bucket = values["query_id"].map(query_buckets(collection))
    rows: dict[str, dict[str, str]] = {}
    for group in GROUPS:
        of_group = values if group == "all" else values[bucket == group]
        queries = of_group["query_id"].drop_duplicates()
        grouped = pd.DataFrame({"query_id": queries, "group": group})
        by_seed = of_group.pivot_table("value", "ranker", "seed")
        half = by_seed.sem(axis=1) * stats.t.ppf(0.975, by_seed.shape[1] - 1)
        tests = compare(of_group, grouped, BASELINE).set_index("ranker")
        title = f"{group} ({len(queries)} queries)"
        means = by_seed.mean(axis=1).sort_values(ascending=False)
        for name in map(str, means.index):
            row = rows.setdefault(name, {"ranker": name})
            row[title] = f"{means[name]:.4f} ± {half[name]:.4f}"
            if name != BASELINE:
                test = tests.loc[name]
                between = f"{test['low']:+.4f} to {test['high']:+.4f}"
                row[f"{group}, from {BASELINE}"] = f"{test['difference']:+.4f} ({between})"
    return pd.DataFrame(rows.values()).fillna("")


if __name__ == "__main__":
    auto_cli(front)
