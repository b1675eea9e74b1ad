"""The order in which training sees lists: known beforehand, so that it can be taken up anywhere."""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from rankers.batch import ListBatch
from rankers.data.micro_batches import without_pairs
from rankers.data.padding import BatchReader, list_traffic
from rankers.data.store import ListFile
from rankers.mixes import Mix

# A million lists of ten documents of 128 tokens are 5 GiB on the disk of a node.
LISTS_OF_WINDOW = 1_000_000


def steps_per_epoch(lists: int, lists_per_step: int) -> int:
    """How many steps an epoch has."""
    return math.ceil(lists / lists_per_step)


class EpochOrder(Sequence[NDArray[np.int64]]):
    """The lists of each step of an epoch: each list once, shuffled by seed and epoch.

    Steps differ by one list at most, and do not depend on the number of workers. Lists that lie in
    many files are shuffled by windows: of files in an order of their own, those that come to
    `LISTS_OF_WINDOW` lists together, so that a step needs few files and an order of few lists is in
    memory. One window that takes all lists is shuffled as if they were one file.

    Args:
        counts: lists of each file.
        lists_per_step: the most that a step has.
        seed: of the order.
        epoch: from 0.
        first: step of the epoch to begin with.

    >>> [len(step) for step in EpochOrder([10], 4, seed=0, epoch=0)]
    [4, 3, 3]
    """

    def __init__(
        self, counts: Sequence[int], lists_per_step: int, seed: int, epoch: int, first: int = 0
    ) -> None:
        self._seed, self._first = [seed, epoch], first
        starts, sizes = np.cumsum([0, *counts]), np.array(counts)
        lists = int(starts[-1])
        files = np.arange(len(counts))
        if lists > LISTS_OF_WINDOW:
            files = np.random.default_rng(self._seed).permutation(files)
        # The rows of each window, as ranges, and where in the epoch it ends.
        window = (np.cumsum(sizes[files]) - 1) // LISTS_OF_WINDOW
        parts = [files[window == number] for number in np.unique(window)]
        self._windows = [[(starts[file], starts[file + 1]) for file in part] for part in parts]
        self._ends = np.cumsum([sizes[part].sum() for part in parts])
        steps = steps_per_epoch(lists, lists_per_step)
        # As np.array_split has it: the first ones have the list more.
        each, more = divmod(lists, steps)
        self._sizes = each, more, steps
        self._kept: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self._sizes[2] - self._first

    @overload
    def __getitem__(self, step: int) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, step: slice) -> list[NDArray[np.int64]]: ...

    def __getitem__(self, step: int | slice) -> NDArray[np.int64] | list[NDArray[np.int64]]:
        if isinstance(step, slice):
            return [self[number] for number in range(*step.indices(len(self)))]
        if not 0 <= step < len(self):
            raise IndexError(step)
        each, more, _ = self._sizes
        number = step + self._first
        start = number * each + min(number, more)
        end = start + each + (number < more)
        rows = []
        while start < end:
            window = int(np.searchsorted(self._ends, start, side="right"))
            before = int(self._ends[window - 1]) if window else 0
            upto = min(end, int(self._ends[window]))
            rows.append(self._window(window)[start - before : upto - before])
            start = upto
        return np.concatenate(rows)

    def _window(self, number: int) -> NDArray[np.int64]:
        if number not in self._kept:
            rows = np.concatenate([np.arange(*ends) for ends in self._windows[number]])
            seed = self._seed if len(self._windows) == 1 else [*self._seed, number]
            # Only a step between two windows looks at the one before.
            self._kept = {kept: self._kept[kept] for kept in self._kept if kept == number - 1}
            self._kept[number] = rows[np.random.default_rng(seed).permutation(len(rows))]
        return self._kept[number]


def covered_steps(
    lists: ListFile, order: Sequence[NDArray[np.int64]], mix: Mix, first: int, steps: int
) -> Iterator[NDArray[np.int64]]:
    """The same steps without the lists that the mix does not train on at that time.

    A list that no loss counts need not be scored. A step may have none left.

    Args:
        lists: all lists to train on.
        order: rows of the lists of each step, from `EpochOrder`.
        mix: the click weight; a stage of it may be for some buckets of frequency alone.
        first: how many steps of the whole training come before these.
        steps: of the whole training.
    """
    for number, rows in enumerate(order):
        traffic = list_traffic(lists.columns(["frequency", "bucket", "impressions"], rows))
        yield rows[mix.covers((first + number) / steps, traffic).numpy()]


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
    lists: BatchReader, steps: Iterable[NDArray[np.int64]], share: Share
) -> Iterator[list[ListBatch]]:
    """One worker's batches of each step; the next step is read while one is learned from.

    Args:
        lists: all lists to train on.
        steps: the rows of each step, over all workers; a step without rows has no batch.
        share: what is this worker's.
    """
    rest = iter(steps)

    def read() -> list[ListBatch] | None:
        step = next(rest, None)
        if step is None:
            return None
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
        ahead = reader.submit(read)
        while (parts := ahead.result()) is not None:
            ahead = reader.submit(read)
            yield parts
