"""What rankers learn from clicks: each objective, each click model's labels, and the oracle.

    python -m benchmarks.click_objectives --output runs/click_objectives

For each seed a simulated world, and from the same start the same ranker trained on its clicks in
each way; nDCG@10 of the test queries against the grades that the simulated users' clicks follow, by
frequency bucket. "ipw, oracle" weights clicks by the examination that made them: the ceiling.
Propensities are otherwise learned from the same clicks by EM. GlobalCTR and RankCTR are left out,
since they say the same of every document of a list. An interrupted run goes on where it stopped.

The ranker is a perceptron over latent semantic features of query and document, as such comparisons
commonly use one over a data set's features: it learns in seconds and from every start, so that what
differs is what is learned from, not whether a cross-encoder begins to learn.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import ray
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import sem
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from torch import Tensor, nn

from clicks.fit_clicks import CLICK_MODELS
from clicks.labels import inverse_propensity_labels, relevance_labels
from clicks.propensities import estimate_propensities
from cluster.connection import connect
from corpus.frequency import BUCKETS
from corpus.simulation.user import examination_probability
from corpus.simulation.world import simulate_world
from corpus.splits import split_queries
from corpus.tables import Collection
from corpus.texts import document_text
from evaluation.measures import MAIN_MEASURE, mean_by_bucket, measure_run, query_buckets
from rankers.data.impressions import add_pages, longest_page
from rankers.data.lists import add_labels, candidate_lists
from rankers.data.padding import pad_pages
from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.losses.label_losses import label_loss
from rankers.losses.sessions import SessionLoss
from rankers.settings import ClickObjectiveName

LATENT = 64
HIDDEN = 64
MAX_WEIGHT = 20.0
ORACLE = "ipw, oracle"


@dataclass(frozen=True)
class Arm:
    """One way to learn from clicks.

    Attributes:
        name: what the table calls it.
        objective: of `CLICK_OBJECTIVES`; None to learn labels.
        labels: the name of a click model, or "ipw"; None to learn sessions.
        oracle: whether propensities are those that made the clicks.
    """

    name: str
    objective: ClickObjectiveName | None = None
    labels: str | None = None
    oracle: bool = False


ARMS = [
    *(Arm(name, objective=name) for name in CLICK_OBJECTIVES),  # type: ignore[arg-type]
    Arm(ORACLE, objective="ipw", oracle=True),
    Arm("labels: ipw", labels="ipw"),
    *(Arm(f"labels: {name}", labels=name) for name in list(CLICK_MODELS)[2:]),
]


def main(
    output: Path,
    seeds: int = 5,
    epochs: int = 30,
    queries: int = 400,
    documents: int = 800,
    sessions: int = 20_000,
) -> None:
    """Trains and measures; prints means over seeds with standard errors.

    Args:
        output: folder for the measures of each seed and way.
        seeds: number of worlds.
        epochs: of each training.
        queries: of each world.
        documents: of each world.
        sessions: of each world.
    """
    output.mkdir(parents=True, exist_ok=True)
    connect()
    world = (queries, documents, sessions)
    wanted = [(seed, arm) for seed in range(seeds) for arm in ARMS]
    left = [(seed, arm) for seed, arm in wanted if not measures_path(output, seed, arm).exists()]
    running = {run_arm.remote(seed, arm, world, epochs): (seed, arm) for seed, arm in left}
    with Progress() as progress:
        bar = progress.add_task("rankers", total=len(wanted), completed=len(wanted) - len(left))
        while running:
            [done], _ = ray.wait(list(running))
            seed, arm = running.pop(done)
            frame: pd.DataFrame = ray.get(done)
            frame.assign(arm=arm.name, seed=seed).to_parquet(measures_path(output, seed, arm))
            progress.advance(bar)
    print_measures(
        pd.concat([pd.read_parquet(measures_path(output, seed, arm)) for seed, arm in wanted])
    )


def measures_path(output: Path, seed: int, arm: Arm) -> Path:
    return output / f"{arm.name.replace(': ', '-').replace(', ', '-')}-{seed}.parquet"


# Logical CPUs are at least eight; as many rankers train at once as there are four of them.
@ray.remote(num_cpus=4)  # type: ignore[untyped-decorator]
def run_arm(seed: int, arm: Arm, world: tuple[int, int, int], epochs: int) -> pd.DataFrame:
    """Mean nDCG@10 on the test queries by bucket."""
    torch.set_num_threads(1)
    collection = simulate_world(seed, *world, judged=1.0).collection
    nobody = np.zeros(collection.queries.num_rows, dtype=np.bool_)  # judged, to split six to four
    collection = replace(collection, splits=split_queries(collection.queries, nobody, False, seed))
    features = Features(collection, seed)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(features.size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1), nn.Flatten(-2)
    )
    lists, loss = supervise(collection, arm)
    fit(model, features, lists, loss, epochs, seed)
    test = candidate_lists(collection, "test")
    with torch.no_grad():
        scores = model(features.of(test))
    pairs = test.select(["query_id", "doc_ids"]).to_pandas().explode("doc_ids")
    run = pairs.rename(columns={"doc_ids": "doc_id"}).assign(score=scores.flatten().numpy())
    buckets = query_buckets(collection)
    means = mean_by_bucket(measure_run(run, collection.judgments), buckets)
    return means[means["measure"] == MAIN_MEASURE]


class Features:
    """Latent semantic analysis of texts: the document, and where it meets the query."""

    def __init__(self, collection: Collection, seed: int) -> None:
        self._words = TfidfVectorizer(sublinear_tf=True)
        counts = self._words.fit_transform(document_text(collection.documents))
        self._latent = TruncatedSVD(LATENT, random_state=seed).fit(counts)
        self.size = 2 * LATENT + 1

    def of(self, lists: pa.Table) -> Tensor:
        """Of lists of equal length: float32 (lists, documents, size)."""
        documents = lists["documents"].to_pylist()
        query = self._embed(lists["text"].to_pylist())[:, None, :]
        document = self._embed([text for listed in documents for text in listed])
        document = document.reshape(len(documents), -1, LATENT)
        product = query * document
        cosine = product.sum(-1, keepdim=True)
        return torch.cat([LATENT**0.5 * product, document, cosine], dim=-1)

    def _embed(self, texts: list[str]) -> Tensor:
        latent = normalize(self._latent.transform(self._words.transform(texts)))
        return torch.tensor(latent, dtype=torch.float32)


def supervise(collection: Collection, arm: Arm) -> tuple[pa.Table, SessionLoss | None]:
    """Training lists with what the arm learns from, and the loss of sessions where it does."""
    lists, sessions = candidate_lists(collection, "train"), collection.sessions
    if arm.labels is not None and arm.labels != "ipw":
        made = relevance_labels(CLICK_MODELS[arm.labels]().fit(sessions), sessions)
        return add_labels(lists, made, None, "grade"), None
    propensities = estimate_propensities(sessions, "em", resamples=0)["propensity"].to_numpy()
    if arm.oracle:
        examination = examination_probability(len(propensities))
        propensities = examination / examination[0]
    if arm.labels == "ipw":
        made = inverse_propensity_labels([(sessions, propensities)], MAX_WEIGHT)
        return add_labels(lists, made, None, "grade"), None
    assert arm.objective is not None
    lists = add_pages(lists, sessions, CLICK_OBJECTIVES[arm.objective].linear)
    known = torch.tensor(propensities, dtype=torch.float32)
    return lists, SessionLoss(arm.objective, longest_page(lists), known, MAX_WEIGHT)


def fit(
    model: nn.Module,
    features: Features,
    lists: pa.Table,
    loss: SessionLoss | None,
    epochs: int,
    seed: int,
    lists_per_step: int = 4,
) -> None:
    """Trains the model on all lists, in an order by the seed."""
    inputs = features.of(lists)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(lists.num_rows)
        for at in range(0, len(order), lists_per_step):
            rows = order[at : at + lists_per_step]
            optimizer.zero_grad()
            value = click_loss(model(inputs[rows]), lists.take(rows), loss).mean()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def click_loss(scores: Tensor, lists: pa.Table, loss: SessionLoss | None) -> Tensor:
    """Of each list, by its labels or its sessions."""
    if loss is None:
        labels = torch.tensor(np.stack(lists["click_label"].to_numpy()), dtype=torch.float32)
        return label_loss(scores, labels, "softmax")
    pages = pad_pages(lists)
    if (evidence := loss.evidence(scores, pages)) is not None:
        loss.learn(evidence)
    value: Tensor = loss(scores, pages)
    return value


def print_measures(values: pd.DataFrame) -> None:
    """A row for each way: means over seeds, and what is gained on the naive one, seed by seed."""
    mean = values.groupby(["arm", "bucket"], sort=False, observed=True)["value"].mean()
    overall = values[values["bucket"] == "all"].pivot_table("value", "seed", "arm")
    gain = overall.sub(overall["naive"], axis=0)
    table = Table("learned from clicks by", *BUCKETS, "all", "gain on naive", title="nDCG@10")
    for arm in ARMS:
        cells = [f"{mean[arm.name, bucket]:.3f}" for bucket in (*BUCKETS, "all")]
        gained = gain[arm.name].to_numpy()
        cells.append(f"{gained.mean():+.3f} ± {sem(gained):.3f}")
        table.add_row(arm.name, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
