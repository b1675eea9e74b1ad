"""What all ranking losses share: which documents count, and in which precision."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Loss = Callable[..., Tensor]


class MaskedLists(NamedTuple):
    """The arguments of a loss, all of shape (..., documents); zero where a document is masked.

    Attributes:
        scores: float32 or float64.
        labels: of the same dtype.
        weights: of the same dtype; one where none were given.
        where: which documents count, bool.
    """

    scores: Tensor
    labels: Tensor
    weights: Tensor
    where: Tensor


def mask_lists(
    scores: Tensor, labels: Tensor, where: Tensor | None, weights: Tensor | None
) -> MaskedLists:
    """Zeroes what is masked, whatever it holds, NaN included, and its gradient with it.

    Half precision becomes float32, since it holds neither ranks nor sums over a list.

    >>> lists = mask_lists(
    ...     torch.tensor([1.0, torch.nan]), torch.tensor([2, 0]), torch.tensor([True, False]), None
    ... )
    >>> lists.scores, lists.labels
    (tensor([1., 0.]), tensor([2., 0.]))
    """
    dtype = torch.promote_types(scores.dtype, torch.float32)
    where = torch.ones_like(scores, dtype=torch.bool) if where is None else where
    weights = torch.ones_like(scores) if weights is None else weights
    scores, labels, weights = (
        torch.where(where, given.to(dtype), 0.0) for given in (scores, labels, weights)
    )
    return MaskedLists(scores, labels, weights, where)
