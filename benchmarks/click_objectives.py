"""What rankers learn from clicks: each objective, each click model's labels, and the oracle.

    python benchmarks/click_objectives.py --output runs/click_objectives

For each seed a simulated world, and from the same start the same small BERT trained on its clicks
in each way; nDCG@10 of the test queries against the grades that the simulated users' clicks follow,
by frequency bucket. "ipw, oracle" weights clicks by the examination that made them: the ceiling.
Propensities are otherwise learned from the same clicks by EM. GlobalCTR and RankCTR are left out,
since they say the same of every document of a list. An interrupted run goes on where it stopped.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.pop(0)  # this folder, where a file has the name of a package

import numpy as np
import pandas as pd
import pyarrow as pa
import ray
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from clicks.click_labels import inverse_propensity_labels, relevance_labels
from clicks.fitting import CLICK_MODELS
from clicks.propensities import estimate_propensities
from cluster import connect
from corpus.frequency import BUCKETS
from corpus.simulator import examination_probability
from corpus.splits import split_queries
from corpus.tables import Collection
from corpus.world import simulate_world
from rankers.click_objectives import CLICK_OBJECTIVES, ClickObjectiveName
from rankers.cross_encoder import load_cross_encoder, score_lists
from rankers.evaluation import MAIN_MEASURE, mean_by_bucket, measure_run, query_buckets
from rankers.lists import add_labels, candidate_lists, pad_lists, tokenize_lists
from rankers.objective import label_loss
from rankers.page_tensors import pad_pages
from rankers.pages import add_pages, longest_page
from rankers.session_loss import SessionLoss
from rankers.small_bert import build_small_bert
from rankers.train_loop import warm_up_and_decay

CPU = torch.device("cpu")
MAX_LENGTH = 64
MAX_WEIGHT = 20.0
ORACLE = "ipw, oracle"


@dataclass(frozen=True)
class Arm:
    """One way to learn from clicks.

    Attributes:
        name: of it.
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
    epochs: int = 6,
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
    collection = simulate_world(seed, *world).collection
    collection = replace(collection, splits=split_queries(collection.queries, seed))
    with tempfile.TemporaryDirectory() as folder:
        build_small_bert(collection, Path(folder), seed)
        model, tokenizer = load_cross_encoder(folder, MAX_LENGTH)
    lists, loss = supervise(collection, arm)
    fit(model, tokenizer, tokenize_lists(lists, tokenizer, MAX_LENGTH), loss, epochs, seed)
    test = tokenize_lists(candidate_lists(collection, "test"), tokenizer, MAX_LENGTH)
    run = score(model, tokenizer, test)
    buckets = query_buckets(collection.queries, (3, 7))
    means = mean_by_bucket(measure_run(run, collection.judgments), buckets)
    return means[means["measure"] == MAIN_MEASURE]


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
    tokenizer: PreTrainedTokenizerBase,
    lists: pa.Table,
    loss: SessionLoss | None,
    epochs: int,
    seed: int,
    lists_per_step: int = 4,
    learning_rate: float = 1e-3,
) -> None:
    """Trains as `rankers.train_loop` does, in this process."""
    steps = -(-lists.num_rows // lists_per_step) * epochs
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
    schedule = LambdaLR(optimizer, lambda step: warm_up_and_decay(step, steps))
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(lists.num_rows)
        for at in range(0, len(order), lists_per_step):
            tokenized = lists.take(order[at : at + lists_per_step])
            batch = pad_lists(tokenized, tokenizer)
            scores = score_lists(model, batch, CPU)
            optimizer.zero_grad()
            value = click_loss(scores, tokenized, batch, loss).mean()
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def click_loss(
    scores: Tensor, tokenized: pa.Table, batch: dict[str, Tensor], loss: SessionLoss | None
) -> Tensor:
    """Of each list, by its labels or its sessions."""
    if loss is None:
        return label_loss(scores, batch["click_label"], "softmax")
    pages = pad_pages(tokenized, CPU)
    if (evidence := loss.evidence(scores, pages)) is not None:
        loss.learn(evidence)
    value: Tensor = loss(scores, pages)
    return value


def score(model: nn.Module, tokenizer: PreTrainedTokenizerBase, lists: pa.Table) -> pd.DataFrame:
    """query_id, doc_id, score."""
    model.train(False)
    frames = []
    for at in range(0, lists.num_rows, 16):
        batch = lists.slice(at, 16)
        padded = pad_lists(batch, tokenizer)
        with torch.no_grad():
            scores = score_lists(model, padded, CPU)[padded["where"]]
        pairs = batch.select(["query_id", "doc_ids"]).to_pandas().explode("doc_ids")
        frames.append(pairs.rename(columns={"doc_ids": "doc_id"}).assign(score=scores.numpy()))
    return pd.concat(frames)


def print_measures(values: pd.DataFrame) -> None:
    """A row for each way: mean and standard error over seeds, by bucket."""
    grouped = values.groupby(["arm", "bucket"], sort=False, observed=True)["value"]
    mean, error = grouped.mean(), grouped.sem()
    table = Table("learned from clicks by", *BUCKETS, "all", title="nDCG@10")
    for arm in ARMS:
        cells = [f"{mean[arm.name, b]:.3f} ± {error[arm.name, b]:.3f}" for b in (*BUCKETS, "all")]
        table.add_row(arm.name, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
