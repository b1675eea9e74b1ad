"""Scores candidate lists with saved rankers, by one pool of Ray actors.

A few lists are in memory here: the pool scores blocks of pairs, and their scores come back. Many
are in files, piece by piece: an actor reads a piece, scores it and writes it, the driver counts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from numpy.typing import NDArray
from ray.data import ExecutionResources
from rich.progress import MofNCompleteColumn

from cluster.blocks import table_as_row
from cluster.connection import connect
from cluster.metrics import count
from cluster.resources import Asked, check_room, wait_for_room
from corpus.errors import InputError
from corpus.progress import Progress
from corpus.texts import document_column
from rankers.data.lists import document_rows
from rankers.scoring.actors import PooledScorer
from rankers.scoring.blocks import refuse_unsound, scoring_blocks
from rankers.scoring.pieces import SCORES, scored_piece
from rankers.settings import Precision

POOL_SETTINGS = "scorers, cpus_per_scorer, use_gpu"


@dataclass(frozen=True)
class Pool:
    """Processes that score, each with a copy of the ranker.

    Attributes:
        scorers: how many.
        cpus_per_scorer: CPUs that Ray sets aside for each.
        use_gpu: whether each takes a GPU.
        precision: as of `PairScorer`.
    """

    scorers: int = 1
    cpus_per_scorer: float = 0.5
    use_gpu: bool = False
    precision: Precision = "fp32"

    def check(self) -> None:
        """Refuses a pool that cannot be made.

        Raises:
            InputError: there are no scorers, or the cluster can never have room for so many.
        """
        if self.scorers < 1:
            raise InputError(f"scorers must be at least 1, not {self.scorers}")
        if not self.cpus_per_scorer >= 0:
            raise InputError(f"cpus_per_scorer must be at least 0, not {self.cpus_per_scorer}")
        check_room(self.asked, setting=POOL_SETTINGS)

    @property
    def asked(self) -> Asked:
        """What the pool asks of the cluster."""
        each = {"CPU": self.cpus_per_scorer, "GPU": 1.0 if self.use_gpu else 0.0}
        return Asked("scorers", self.scorers, each)

    def map(
        self, rows: ray.data.Dataset, scorer: type[Any], arguments: tuple[Any, ...]
    ) -> Iterator[pa.Table]:
        """What scorers make of the rows of a data set.

        Args:
            rows: of a row a scorer makes a table.
            scorer: from `rankers.scoring.actors`.
            arguments: of its constructor, but for precision and use_gpu.

        Raises:
            InputError: a scorer has refused.
        """
        wait_for_room(replace(self.asked, count=1), setting=POOL_SETTINGS)
        scored = rows.map_batches(
            scorer,
            fn_constructor_args=(*arguments, self.precision, self.use_gpu),
            batch_format="pyarrow",
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=self.scorers),
            num_cpus=self.asked.each["CPU"],
            num_gpus=self.asked.each["GPU"],
        )
        # The limit that `connect` sets is of tasks; scorers are as many as are asked for.
        scored.context.execution_options.resource_limits = ExecutionResources.for_limits()
        for part in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            if "refusal" in part.column_names:
                raise InputError(part["refusal"].drop_null()[0].as_py())
            yield part


def score_candidates(
    lists: pa.Table,
    documents: pa.Table,
    rankers: Mapping[str, str | Path],
    pool: Pool = Pool(),
) -> dict[str, pd.DataFrame]:
    """Scores every document of every list with each ranker.

    Args:
        lists: from `rankers.data.lists.candidate_ids`.
        documents: the table `documents`.
        rankers: from `ranker_place`, by name; every node must reach them.
        pool: that scores.

    Returns:
        For each ranker query_id, doc_id, score, in the order of `lists`.

    Raises:
        InputError: a score is NaN or infinite, a ranker cannot be loaded by an actor, or there is
            no GPU.
    """
    left = [(name, "all") for name in rankers]
    scored = score_pieces({"all": lists}, left, documents, rankers, pool)
    tables = {name: table for name, _, table in scored}
    return {name: tables[name].select(SCORES).to_pandas() for name in rankers}


def score_pieces(
    pieces: Mapping[str, pa.Table],
    left: Iterable[tuple[str, str]],
    documents: pa.Table,
    rankers: Mapping[str, str | Path],
    pool: Pool,
) -> Iterator[tuple[str, str, pa.Table]]:
    """Scores pieces of lists that are in memory, block by block.

    Texts lie once in the object store; blocks hold their rows.

    Args:
        pieces: lists from `rankers.data.lists.candidate_ids`, by the name of the piece.
        left: the rankers and pieces to score, by their names.
        documents: the table `documents`.
        rankers: from `ranker_place`, by name; every node must reach them.
        pool: that scores.

    Yields:
        Ranker, piece and what `scored_piece` makes of the scores, as soon as they are there.

    Raises:
        InputError: as `score_candidates`.
    """
    connect()
    lists = pa.concat_tables(pieces.values())
    texts = document_column(documents)
    rows = document_rows(lists, documents)
    first_list = dict(zip(pieces, _starts([p.num_rows for p in pieces.values()]), strict=True))
    first_pair = np.append(0, np.cumsum(rows.value_lengths().to_numpy()))
    waiting: dict[tuple[str, int], tuple[str, NDArray[np.float32]]] = {}
    missing: Counter[tuple[str, int]] = Counter()
    blocks = []
    for name, piece in left:
        first, length = first_list[piece], pieces[piece].num_rows
        pairs = int(first_pair[first + length] - first_pair[first])
        key = (name, int(first_pair[first]))
        waiting[key] = piece, np.full(pairs, np.nan, np.float32)
        missing[key] = pairs
        for block in scoring_blocks(rows.slice(first, length), texts, [name], pool.scorers):
            # Pairs and lists are numbered over all pieces.
            for column, start in (("pair", key[1]), ("list", first)):
                place = block.schema.get_field_index(column)
                block = block.set_column(place, column, pc.add(block[column], start))
            blocks.append(table_as_row(block))
    if not blocks:
        return
    begins = np.array([first_pair[first] for first in first_list.values()])
    arguments = (
        {name: str(place) for name, place in rankers.items()},
        ray.put(lists.select(["text", "frequency", "bucket"])),
        ray.put(texts),
    )
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        bar = progress.add_task("score pairs", total=missing.total())
        # from_arrow would ask a task what each block is, and start a process for each of them.
        for part in pool.map(ray.data.from_blocks(blocks), PooledScorer, arguments):
            ranker, pair = part["ranker"][0].as_py(), part["pair"].to_numpy()
            begin = int(begins[np.searchsorted(begins, pair[0], side="right") - 1])
            piece, scores = waiting[ranker, begin]
            scores[pair - begin] = part["score"].to_numpy()
            missing[ranker, begin] -= len(pair)
            progress.update(bar, advance=part.num_rows)
            count("tandem_pairs", part.num_rows, "rerank", ranker)
            if missing[ranker, begin] == 0:
                scored = scored_piece(pieces[piece], pa.array(waiting.pop((ranker, begin))[1]))
                refuse_unsound(scored, ranker)
                yield ranker, piece, scored


def _starts(lengths: list[int]) -> list[int]:
    return np.cumsum([0, *lengths[:-1]]).tolist()
