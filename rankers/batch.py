"""The batch: some lists of a step as tensors, with all that scoring and losses want of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankers.mixes import Traffic


@dataclass(frozen=True)
class MicroBatches:
    """Query-document pairs in groups of about one length, which the model reads one by one.

    Attributes:
        inputs: of each micro-batch the model's inputs, int64 (pairs, tokens), padded to its
            longest pair.
        pairs: which pairs they are, micro-batch after micro-batch, int64.
        tokens: how many tokens the pairs have.
        padded_tokens: how many tokens the model reads, with padding.
    """

    inputs: list[dict[str, Tensor]]
    pairs: NDArray[np.int64]
    tokens: int
    padded_tokens: int


@dataclass(frozen=True)
class Labels:
    """What both signals say of the documents of some lists.

    Attributes:
        click: click labels, float32 (lists, documents), from 0; NaN where clicks say nothing.
        annotation: grades or expected grades, same shape; NaN where there is no annotation.
        annotation_weight: how much each annotation counts, from 0, same shape; NaN where there is
            none.
    """

    click: Tensor
    annotation: Tensor
    annotation_weight: Tensor


@dataclass(frozen=True)
class Pages:
    """Pages of results that sessions showed, of about the same length, of some lists.

    Attributes:
        of_list: which list each page belongs to, int64 (pages,).
        document: the slot in that list of the document at each position, int64 (pages, positions);
            -1 beyond a page's last candidate, and for a document that is no candidate.
        clicks: the share of the page's sessions that clicked, float32 (pages, positions).
        sessions: how many sessions showed the page, float32 (pages,).
    """

    of_list: Tensor
    document: Tensor
    clicks: Tensor
    sessions: Tensor


@dataclass(frozen=True)
class ListBatch:
    """Some lists of a step.

    Attributes:
        rows: which rows of the lists' file they are, int64 (lists,).
        micro_batches: their pairs, as the model reads them.
        slots: where the score of each pair of the micro-batches belongs among the flattened
            (lists, documents), int64 (pairs,).
        where: which slots of the lists hold a document, bool (lists, documents).
        traffic: what the log tells of their queries, each tensor of shape (lists,); on the CPU,
            where the mix looks at it.
        labels: what both signals say of their documents; None where lists are only scored.
        pages: what their queries' sessions showed, in blocks of about one length; none where
            clicks are not learned from sessions.
    """

    rows: NDArray[np.int64]
    micro_batches: MicroBatches
    slots: Tensor
    where: Tensor
    traffic: Traffic
    labels: Labels | None = None
    pages: tuple[Pages, ...] = ()

    def __len__(self) -> int:
        return len(self.where)

    def to(self, device: torch.device) -> "ListBatch":
        """The same batch on a device, but for pairs, which go there by micro-batch, and traffic.

        From pinned memory it goes there while the processor does other things.
        """
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "ListBatch":
        """The same batch in memory that a GPU reads by itself, but for traffic."""
        inputs = [
            {name: tensor.pin_memory() for name, tensor in one.items()}
            for one in self.micro_batches.inputs
        ]
        batch = self._with(lambda tensor: tensor.pin_memory())
        return replace(batch, micro_batches=replace(self.micro_batches, inputs=inputs))

    def _with(self, change: Callable[[Tensor], Tensor]) -> "ListBatch":
        def changed(part: object) -> dict[str, Tensor]:
            return {name: change(value) for name, value in vars(part).items()}

        return replace(
            self,
            slots=change(self.slots),
            where=change(self.where),
            labels=None if self.labels is None else Labels(**changed(self.labels)),
            pages=tuple(Pages(**changed(pages)) for pages in self.pages),
        )
