"""The losses of labels, in one table: what each makes of a list's labels, and what of it teaches.

Labels are inverse-propensity-weighted clicks an impression, or grades divided by the highest. Which
loss to take: docs/losses.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rankers.losses.listwise import listmle_loss, softmax_loss
from rankers.losses.masking import Loss
from rankers.losses.pairwise import (
    approx_ndcg_loss,
    lambdarank_loss,
    ordered_pairs,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
)
from rankers.losses.pointwise import pointwise_mse_loss, pointwise_sigmoid_loss

# Functions of labels from 0 and of which of them are known (bool), both (lists, documents).
OfLabels = Callable[[Tensor, Tensor], Tensor]


def as_they_are(label: Tensor, where: Tensor) -> Tensor:
    """Labels for losses that divide by what labels add up to themselves, or heed only order."""
    return label


def share_of_list(label: Tensor, where: Tensor) -> Tensor:
    """Each label's share of its list's sum, so that no list pulls harder by larger numbers."""
    return label / label.sum(-1, keepdim=True).clamp(min=1e-9)


def clipped(label: Tensor, where: Tensor) -> Tensor:
    """Labels as probabilities: a click's inverse propensity can lie above 1."""
    return label.clamp(0, 1)


def one_a_list(label: Tensor, where: Tensor) -> Tensor:
    """For losses that a list has one of, however long it is; shape (lists,), as those below."""
    return label.new_ones(label.shape[:-1])


def documents(label: Tensor, where: Tensor) -> Tensor:
    """How many documents are known."""
    return where.sum(-1)


def pairs(label: Tensor, where: Tensor) -> Tensor:
    """How many pairs of documents have an order."""
    return ordered_pairs(label, where).sum((-2, -1))


def some_known(label: Tensor, where: Tensor) -> Tensor:
    """Every label teaches, that of an irrelevant document too; bool (lists,), as those below."""
    return where.any(-1)


def one_relevant_of_several(label: Tensor, where: Tensor) -> Tensor:
    """A relevant document has to have another one beside it to come before."""
    return (label > 0).any(-1) & (where.sum(-1) > 1)


def some_order(label: Tensor, where: Tensor) -> Tensor:
    """Two labels differ."""
    return ordered_pairs(label, where).any(-1).any(-1)


@dataclass(frozen=True)
class LabelLoss:
    """One way of learning from the labels of a list.

    Attributes:
        loss: of lists, shape (lists,), the sum of a list's terms.
        teaches: which lists can have a gradient that is not zero, bool (lists,).
        scale: the labels as the loss takes them, (lists, documents).
        terms: what each list's loss is divided by, so that long lists weigh no more than short
            ones, (lists,).
    """

    loss: Loss
    teaches: OfLabels
    scale: OfLabels = as_they_are
    terms: OfLabels = one_a_list


LABEL_LOSSES: dict[str, LabelLoss] = {
    "softmax": LabelLoss(softmax_loss, one_relevant_of_several, scale=share_of_list),
    "listmle": LabelLoss(listmle_loss, one_relevant_of_several),
    "pairwise_logistic": LabelLoss(pairwise_logistic_loss, some_order, terms=pairs),
    "pairwise_hinge": LabelLoss(pairwise_hinge_loss, some_order, terms=pairs),
    "lambdarank": LabelLoss(lambdarank_loss, some_order),
    "approx_ndcg": LabelLoss(approx_ndcg_loss, some_order),
    "pointwise_sigmoid": LabelLoss(
        pointwise_sigmoid_loss, some_known, scale=clipped, terms=documents
    ),
    "pointwise_mse": LabelLoss(pointwise_mse_loss, some_known, scale=clipped, terms=documents),
}


def label_loss(scores: Tensor, label: Tensor, name: str, weights: Tensor | None = None) -> Tensor:
    """The loss of each list by one signal's labels, float (lists,).

    A document that the signal says nothing of takes no part in it.

    Args:
        scores: float (lists, documents).
        label: from 0, NaN where unknown, same shape.
        name: one of `LABEL_LOSSES`.
        weights: how much each label counts, same shape; 1 by default.
    """
    row = LABEL_LOSSES[name]
    where, label = _known(label)
    if weights is not None:
        weights = weights.nan_to_num(0.0)
    sums = row.loss(scores, row.scale(label, where), where=where, weights=weights)
    return sums / row.terms(label, where).clamp(min=1)


def teaches(label: Tensor, name: str) -> Tensor:
    """Whether a loss can learn something from a list's labels, bool (lists,).

    Args:
        label: from 0, NaN where unknown, (lists, documents).
        name: one of `LABEL_LOSSES`.
    """
    where, label = _known(label)
    return LABEL_LOSSES[name].teaches(label, where)


def _known(label: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels are known, and the labels with 0 where they are not."""
    where = ~torch.isnan(label)
    return where, label.nan_to_num(0.0)
