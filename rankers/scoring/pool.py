"""Scores candidate lists with saved rankers, by one pool of Ray actors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from rich.progress import MofNCompleteColumn

from cluster.blocks import table_as_row
from cluster.connection import connect
from cluster.metrics import count
from cluster.resources import Asked, check_room, wait_for_room
from corpus.errors import InputError
from corpus.progress import Progress
from corpus.texts import document_column
from rankers.data.lists import document_rows
from rankers.scoring.pair_scorer import PooledScorer
from rankers.settings import Precision

# So many that sorted micro-batches are hardly padded, but that each scorer gets several blocks.
MOST_PAIRS_PER_BLOCK = 1024
BLOCKS_PER_SCORER = 8
POOL_SETTINGS = "scorers, cpus_per_scorer, use_gpu"


def score_candidates(
    lists: pa.Table,
    documents: pa.Table,
    rankers: Mapping[str, str | Path],
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    precision: Precision = "fp32",
) -> dict[str, pd.DataFrame]:
    """Scores every document of every list with each ranker, by one pool of Ray actors.

    Texts lie once in the object store; blocks hold their rows.

    Args:
        lists: from `rankers.data.lists.candidate_ids`.
        documents: the table `documents`.
        rankers: from `ranker_place`, by name; every node must reach them.
        scorers: size of the pool.
        cpus_per_scorer: CPUs that Ray sets aside for each.
        use_gpu: whether each takes a GPU.
        precision: as of `PairScorer`.

    Returns:
        For each ranker query_id, doc_id, score, in the order of `lists`.

    Raises:
        InputError: a score is NaN or infinite, a ranker cannot be loaded by an actor, or there is
            no GPU.
    """
    connect()
    pool = asked_pool(scorers, cpus_per_scorer, use_gpu)
    wait_for_room(replace(pool, count=1), setting=POOL_SETTINGS)
    texts = document_column(documents)
    rows = document_rows(lists, documents)
    blocks = [table_as_row(block) for block in scoring_blocks(rows, texts, rankers, scorers)]
    scored = ray.data.from_arrow(blocks).map_batches(
        PooledScorer,
        fn_constructor_args=(
            {name: str(place) for name, place in rankers.items()},
            ray.put(lists.select(["text", "frequency", "bucket"])),
            ray.put(texts),
            precision,
            use_gpu,
        ),
        batch_format="pyarrow",
        batch_size=1,  # a row, which is a block of one ranker
        compute=ray.data.ActorPoolStrategy(size=scorers),
        num_cpus=pool.each["CPU"],
        num_gpus=pool.each["GPU"],
    )
    pairs = len(rows.flatten())
    scores = {name: np.full(pairs, np.nan, np.float32) for name in rankers}
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        bar = progress.add_task("score pairs", total=len(rankers) * pairs)
        for part in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            if "refusal" in part.column_names:
                raise InputError(part["refusal"][0].as_py())
            refuse_unsound(part, lists, rows)
            scores[part["ranker"][0].as_py()][part["pair"].to_numpy()] = part["score"].to_numpy()
            progress.update(bar, advance=part.num_rows)
            count("tandem_pairs", part.num_rows, "rerank", part["ranker"][0].as_py())
    ids = {
        "query_id": np.repeat(lists["query_id"].to_numpy(), rows.value_lengths().to_numpy()),
        "doc_id": lists["doc_ids"].combine_chunks().flatten().to_numpy(zero_copy_only=False),
    }
    return {name: pd.DataFrame({**ids, "score": scores[name]}) for name in rankers}


def check_pool(scorers: int, cpus_per_scorer: float, use_gpu: bool) -> None:
    """Refuses a pool that `score_candidates` could not make.

    Raises:
        InputError: there are no scorers, or the cluster can never have room for so many.
    """
    if scorers < 1:
        raise InputError(f"scorers must be at least 1, not {scorers}")
    if not cpus_per_scorer >= 0:
        raise InputError(f"cpus_per_scorer must be at least 0, not {cpus_per_scorer}")
    check_room(asked_pool(scorers, cpus_per_scorer, use_gpu), setting=POOL_SETTINGS)


def asked_pool(scorers: int, cpus_per_scorer: float, use_gpu: bool) -> Asked:
    """What `score_candidates`, whose arguments these are, asks of the cluster."""
    return Asked("scorers", scorers, {"CPU": cpus_per_scorer, "GPU": 1.0 if use_gpu else 0.0})


def refuse_unsound(scored: pa.Table, lists: pa.Table, rows: pa.ListArray) -> None:
    """Refuses scores that cannot be sorted: NaN and infinite ones.

    Args:
        scored: from `PairScorer`.
        lists: whose pairs they are, with query_id and doc_ids.
        rows: their documents, from `rankers.data.lists.document_rows`.

    Raises:
        InputError: naming the ranker and the first such pair.
    """
    unsound = scored.filter(pc.invert(pc.is_finite(scored["score"])))
    if unsound.num_rows == 0:
        return
    pair = unsound["pair"][0].as_py()
    ends = np.cumsum(rows.value_lengths().to_numpy())
    row = int(np.searchsorted(ends, pair, side="right"))
    query_id, doc_id = lists["query_id"][row], lists["doc_ids"].combine_chunks().flatten()[pair]
    ranker, score = unsound["ranker"][0], unsound["score"][0]
    raise InputError(
        f"the ranker {ranker} gives query {query_id.as_py()!r} and document {doc_id.as_py()!r} the "
        f"score {score}, which cannot be ranked by; look at its weights, and at the precision"
    )


def scoring_blocks(
    rows: pa.ListArray, texts: pa.Array, rankers: Iterable[str], scorers: int
) -> Iterator[pa.Table]:
    """Cuts pairs into blocks, as `PairScorer` takes them, those of the longest documents first.

    The pairs of a block are then of about one length, and the last blocks, which are the least
    work, leave no scorer long without any.

    Args:
        rows: the documents of each list, at least one in all, from
            `rankers.data.lists.document_rows`.
        texts: one for each document, from `corpus.texts.document_column`.
        rankers: names; each has all blocks.
        scorers: how many share the blocks.
    """
    document = rows.flatten().to_numpy()
    ends = np.cumsum(rows.value_lengths().to_numpy())
    length = pc.utf8_length(texts).to_numpy().astype(np.int32)
    order = np.argsort(-length[document], kind="stable")
    share = -(-len(order) // (BLOCKS_PER_SCORER * scorers))
    size = min(share, MOST_PAIRS_PER_BLOCK)
    for name in rankers:
        for first in range(0, len(order), size):
            pair = order[first : first + size]
            columns = {"pair": pair, "document": document[pair]}
            columns["list"] = np.searchsorted(ends, pair, side="right")
            yield pa.table({"ranker": pa.repeat(name, len(pair)), **columns})
