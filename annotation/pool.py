"""The pool of engines in Ray's actors, and the budget that they share."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from annotation.actor import PooledAnnotator
from annotation.demand import ENGINE_SETTINGS, asked_engines
from annotation.engines.token_spend import SPEND_FILE, Spend, TokenSpend, read_spend
from annotation.judge import Judge
from annotation.summary import count_spent_tokens
from cluster.blocks import table_as_row
from cluster.connection import connect
from cluster.resources import wait_for_room
from corpus.tables import Collection, table_path


def run_engines(
    pairs: pa.Table, tables: Collection, judge: Judge, output: Path | None
) -> Iterator[pa.Table]:
    """Yields the annotated rows of each part, as `Annotator` returns them, in any order.

    Args:
        pairs: part, query_row and doc_row of each pair.
        tables: the collection, for the texts.
        judge: who annotates, and how.
        output: the folder of the file that counts spent tokens; None counts in memory only.
    """
    connect()
    wait_for_room(replace(asked_engines(judge.engine), count=1), setting=ENGINE_SETTINGS)
    # Memory that reading and hashing has freed would otherwise stay with this process.
    pa.default_memory_pool().release_unused()
    starts = np.flatnonzero(np.diff(pairs["part"], prepend=-1))
    stops = [*starts[1:], pairs.num_rows]
    parts = [table_as_row(pairs[a:b]) for a, b in zip(starts, stops, strict=True)]
    dataset = ray.data.from_arrow(parts)
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    annotated = dataset.map_batches(
        PooledAnnotator,
        fn_constructor_kwargs={
            "judge": judge,
            "queries": ray.put(tables.queries),
            "documents": ray.put(tables.documents),
            "secret": judge.engine.secret(),
            "spend": _open_spend(judge, output),
        },
        batch_size=1,
        batch_format="pyarrow",
        # Two batches at a time: one is encoded while the engine answers the other.
        compute=ActorPoolStrategy(
            size=judge.engine.actors(),
            max_concurrent_calls_per_actor=2,
            enable_true_multi_threading=True,
        ),
        **judge.engine.actor_options(),
    )
    yield from annotated.iter_batches(batch_size=None, batch_format="pyarrow")


def _open_spend(judge: Judge, output: Path | None) -> Spend | None:
    """The count of spent tokens, with those of earlier runs; None where there is no budget."""
    budget = judge.engine.budget()
    if budget is None:
        return None
    if output is None:
        return SharedSpend(budget)
    before = max(
        read_spend(output / SPEND_FILE), count_spent_tokens(table_path(output, "annotations"))
    )
    return SharedSpend(budget, output / SPEND_FILE, before)


class SharedSpend:
    """A `TokenSpend` beside the driver, so that engines on any machine count in one file.

    Args:
        budget: the limit of prompt and generated tokens together.
        path: the file of the count on the driver's machine; None keeps it in memory only.
        spent: tokens that earlier runs have spent.
    """

    def __init__(self, budget: int, path: Path | None = None, spent: int = 0) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(TokenSpend).options(num_cpus=0, scheduling_strategy=here)
        self._actor = actor.remote(budget, path and path.absolute(), spent)

    def begin(self) -> None:
        """See `Spend`."""
        ray.get(self._actor.begin.remote())

    def reserve(self, tokens: int) -> bool:
        """See `Spend`."""
        return bool(ray.get(self._actor.reserve.remote(tokens)))

    def settle(self, reserved: int, charged: int) -> None:
        """See `Spend`."""
        ray.get(self._actor.settle.remote(reserved, charged))
