"""The pool of engines in Ray's actors, and the budget that they share."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import numpy as np
import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from annotation.actor import Annotator
from annotation.demand import ENGINE_SETTINGS, asked_engines
from annotation.engines.token_spend import SPEND_FILE, TokenSpend, read_spend
from annotation.judge import Judge
from annotation.plan.selection import starts_of_runs
from annotation.summary import count_spent_tokens
from cluster.connection import connect
from cluster.resources import wait_for_room
from corpus.free_memory import give_back_free_memory
from corpus.mapped_tables import MappedRows
from corpus.places import Place, is_local, place_of
from corpus.tables import Collection, table_path

# Of an actor: one part is encoded while the engine answers another, and a third waits.
CALLS_AT_ONCE, PARTS_IN_HAND = 2, 3


def run_engines(
    pairs: pa.Table, tables: Collection, judge: Judge, output: Place | None
) -> Generator[pa.Table, None, None]:
    """Yields the annotated rows of each part, as `Annotator` returns them, in any order.

    The texts of a part are looked up when an engine can take it, so that neither this process nor
    Ray's object store holds those of all parts. The engines end with the generator: close it.

    Args:
        pairs: part, query_row and doc_row of each pair.
        tables: the collection, for the texts.
        judge: who annotates, and how.
        output: the folder of the file that counts spent tokens; None counts in memory only.
    """
    connect()
    wait_for_room(replace(asked_engines(judge.engine), count=1), setting=ENGINE_SETTINGS)
    # Memory that reading and hashing has freed would otherwise stay with this process.
    give_back_free_memory()
    spend = _open_spend(judge, output)
    start = ray.remote(Annotator).options(
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=CALLS_AT_ONCE,
        **judge.engine.actor_options(),
    )
    actors = [
        start.remote(judge, judge.engine.secret(), spend) for _ in range(judge.engine.actors())
    ]
    parts = part_texts(pairs, tables)
    # An engine that finds no room in the cluster must not keep parts from the others.
    starting = {actor.__ray_ready__.remote(): actor for actor in actors}
    asked: dict[ray.ObjectRef, ray.actor.ActorHandle] = {}
    all_asked = False
    try:
        while asked or not all_asked:
            [done], _ = ray.wait([*starting, *asked])
            answer = ray.get(done)
            if done in asked:
                actor, free = asked.pop(done), 1
                yield answer
            else:
                actor, free = starting.pop(done), PARTS_IN_HAND
            for part in islice(parts, free):
                asked[actor.annotate.remote(part)] = actor
                free -= 1
            all_asked |= free > 0
    finally:
        for actor in actors:
            ray.kill(actor)
        if spend is not None:
            # Without it the file says a little more than was spent; the job's own error says more.
            with suppress(ray.exceptions.RayError):
                spend.end()


def part_texts(pairs: pa.Table, tables: Collection) -> Iterator[pa.Table]:
    """The ids and texts of the pairs of each part, as `Annotator.annotate` takes them.

    Args:
        pairs: part, query_row and doc_row of each pair.
        tables: the collection that these are rows of.
    """
    queries = MappedRows(tables.queries.select(["query_id", "text"]))
    documents = MappedRows(tables.documents.select(["doc_id", "title", "body"]))
    part, query_row, doc_row = (pairs[name].to_numpy() for name in ("part", "query_row", "doc_row"))
    starts = starts_of_runs(part)
    for number in range(len(starts) - 1):
        here = np.s_[starts[number] : starts[number + 1]]
        query, document = queries.take(query_row[here]), documents.take(doc_row[here])
        columns = {"part": part[here], "query_row": query_row[here]}
        for texts in (query, document):
            columns |= zip(texts.column_names, texts.columns, strict=True)
        yield pa.table(columns)


def _open_spend(judge: Judge, output: Place | None) -> "SharedSpend | None":
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
        path: the file of the count, on the driver's machine or in a store; None keeps it in memory
            only.
        spent: tokens that earlier runs have spent.
    """

    def __init__(self, budget: int, path: Place | None = None, spent: int = 0) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(TokenSpend).options(num_cpus=0, scheduling_strategy=here)
        if path is not None and is_local(path):
            path = place_of(path.absolute())
        self._actor = actor.remote(budget, path, spent)

    def begin(self) -> None:
        """See `Spend`."""
        ray.get(self._actor.begin.remote())

    def reserve(self, tokens: int) -> bool:
        """See `Spend`."""
        return bool(ray.get(self._actor.reserve.remote(tokens)))

    def settle(self, reserved: int, charged: int) -> None:
        """See `Spend`."""
        ray.get(self._actor.settle.remote(reserved, charged))

    def end(self) -> None:
        """See `TokenSpend`."""
        ray.get(self._actor.end.remote())
