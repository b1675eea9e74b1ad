"""The order in which training sees lists: known beforehand, so that it can be taken up anywhere."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankers.batch import ListBatch
from rankers.data.micro_batches import without_pairs
from rankers.data.padding import BatchReader, list_traffic
from rankers.data.store import ListFile
from rankers.mixes import Mix, Traffic


def steps_per_epoch(lists: int, lists_per_step: int) -> int:
    """How many steps an epoch has."""
    return math.ceil(lists / lists_per_step)


def epoch_order(lists: int, lists_per_step: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The lists of each step of an epoch: each list once, shuffled by seed and epoch.

    Steps differ by one list at most, and do not depend on the number of workers.

    >>> [len(step) for step in epoch_order(10, 4, seed=0, epoch=0)]
    [4, 3, 3]
    """
    order = np.random.default_rng([seed, epoch]).permutation(lists)
    return np.array_split(order, steps_per_epoch(lists, lists_per_step))


def covered_steps(
    lists: ListFile, order: list[NDArray[np.int64]], mix: Mix, first: int, steps: int
) -> list[NDArray[np.int64]]:
    """The same steps without the lists that the mix does not train on at that time.

    A list that no loss counts need not be scored. A step may have none left.

    Args:
        lists: all lists to train on.
        order: rows of the lists of each step, from `epoch_order`.
        mix: the click weight; a stage of it may be for some buckets of frequency alone.
        first: how many steps of the whole training come before these.
        steps: of the whole training.
    """
    traffic = list_traffic(lists.columns(["frequency", "bucket", "impressions"]))
    covered = []
    for number, rows in enumerate(order):
        # Of the step's own lists alone: all lists at each step would be slow by the square.
        of_step = Traffic(**{name: values[rows] for name, values in vars(traffic).items()})
        covered.append(rows[mix.covers((first + number) / steps, of_step).numpy()])
    return covered


@dataclass(frozen=True)
class Share:
    """What one worker takes of a step.

    Attributes:
        rank: of the worker, from 0.
        workers: how many share a step. Where a step has fewer lists than workers or parts, some
            parts are empty and have no micro-batch. The last one has, also of a worker without a
            list.
        accumulation: parts of the worker's share.
    """

    rank: int = 0
    workers: int = 1
    accumulation: int = 1


def read_steps(
    lists: BatchReader, steps: list[NDArray[np.int64]], share: Share
) -> Iterator[list[ListBatch]]:
    """One worker's batches of each step; the next step is read while one is learned from.

    Args:
        lists: all lists to train on.
        steps: the rows of each step, over all workers; a step without rows has no batch.
        share: what is this worker's.
    """

    def read(step: NDArray[np.int64]) -> list[ListBatch]:
        if len(step) == 0:
            return []
        # The empty ones first, since workers sum their gradients with the last.
        mine = step[share.rank :: share.workers]
        parts = [lists.read(rows) for rows in np.array_split(mine, share.accumulation)[::-1]]
        if share.rank >= len(step):
            # Without a list it runs the model on what another learns from, and no score counts.
            others = without_pairs(lists.read(step[:1]).micro_batches)
            parts[-1] = replace(parts[-1], micro_batches=others)
        return parts

    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, step) for step in steps[:1]]
        for step in [*steps[1:], None]:
            parts = ahead.pop().result() if ahead else None
            if step is not None:
                ahead.append(reader.submit(read, step))
            if parts is not None:
                yield parts
