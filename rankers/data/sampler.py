"""The order in which training sees lists: known beforehand, so that it can be taken up anywhere."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rankers.data.lists import ListBatch, pad_lists
from rankers.data.micro_batches import without_pairs
from rankers.data.store import ListFile

# What a worker takes of a step: parts, each as a table and as tensors.
Parts = list[tuple[pa.Table, ListBatch]]


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


def read_steps(
    lists: ListFile,
    steps: list[NDArray[np.int64]],
    rank: int,
    workers: int,
    accumulation: int,
    pad_token_id: int,
    tokens_per_pass: int,
) -> Iterator[Parts]:
    """What one worker takes of each step; the next is read and padded while one is learned from.

    Args:
        lists: all of them.
        steps: the rows of each step, over all workers.
        rank: of the worker.
        workers: how many share a step. Where a step has fewer lists than workers or parts, some
            parts are empty and have no pass. The last one has, also of a worker without a list.
        accumulation: parts of the worker's share.
        pad_token_id: of the tokenizer.
        tokens_per_pass: the most tokens of a pass, with padding.
    """

    def read(step: NDArray[np.int64]) -> Parts:
        # The empty ones first, since workers sum their gradients with the last.
        shares = np.array_split(step[rank::workers], accumulation)[::-1]
        tables = [lists.take(rows) for rows in shares]
        parts = [(table, pad_lists(table, pad_token_id, tokens_per_pass)) for table in tables]
        if rank >= len(step):
            # Without a list it runs the model on what another learns from, and no score counts.
            others = pad_lists(lists.take(step[:1]), pad_token_id, tokens_per_pass).passes
            table, batch = parts[-1]
            parts[-1] = table, replace(batch, passes=without_pairs(others))
        return parts

    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, step) for step in steps[:1]]
        for step in [*steps[1:], None]:
            parts = ahead.pop().result() if ahead else None
            if step is not None:
                ahead.append(reader.submit(read, step))
            if parts is not None:
                yield parts
