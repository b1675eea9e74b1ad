"""The training objective: one forward pass, a loss of each signal, and the mix between them."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rankers.losses import LOSSES
from rankers.pairwise_losses import ordered_pairs

LossName = Literal[
    "softmax",
    "listmle",
    "pairwise_logistic",
    "pairwise_hinge",
    "lambdarank",
    "approx_ndcg",
    "pointwise_sigmoid",
    "pointwise_mse",
]


@dataclass
class ObjectiveValue:
    """What one batch of lists gives.

    Attributes:
        loss: the mixed loss, summed over lists; carries the gradient.
        click_loss: the unmixed click loss, summed over lists.
        annotation_loss: the unmixed annotation loss, summed over lists.
    """

    loss: Tensor
    click_loss: Tensor
    annotation_loss: Tensor


def mix_losses(click_loss: Tensor, annotation_loss: Tensor, click_weight: Tensor) -> ObjectiveValue:
    """Mixes the losses of both signals for lists that were scored once.

    Args:
        click_loss: of each list, shape (lists,), from `label_loss` or a `SessionLoss`.
        annotation_loss: the same of annotations.
        click_weight: from a `Mix`, in [0, 1], shape (lists,).
    """
    weight = click_weight.to(click_loss.device)
    return ObjectiveValue(
        loss=(weight * click_loss + (1 - weight) * annotation_loss).sum(),
        click_loss=click_loss.detach().sum(),
        annotation_loss=annotation_loss.detach().sum(),
    )


def label_loss(
    scores: Tensor, label: Tensor, loss: LossName, weights: Tensor | None = None
) -> Tensor:
    """The loss of each list by one signal's labels, shape (lists,).

    A document that the signal says nothing of takes no part in it. Labels are brought to the scale
    that the loss asks for: `softmax` learns their share of the list's sum, the pointwise losses
    learn them clipped to [0, 1], the others learn them as they are. Pointwise losses are means over
    a list's documents and the pairwise logistic and hinge losses means over its pairs, so that
    long lists weigh no more than short ones.

    Args:
        scores: float (lists, documents).
        label: from 0, NaN where unknown, same shape: inverse-propensity-weighted clicks an
            impression, or grades divided by the highest.
        loss: the name of one of `rankers.losses.LOSSES`.
        weights: how much each label counts, same shape; 1 by default.
    """
    label = label.to(scores.device)
    where = ~torch.isnan(label)
    label = label.nan_to_num(0.0)
    if weights is not None:
        weights = weights.to(scores.device).nan_to_num(0.0)
    terms = label.new_ones(label.shape[:-1])
    if loss == "softmax":
        label = label / label.sum(-1, keepdim=True).clamp(min=1e-9)
    elif loss in ("pointwise_sigmoid", "pointwise_mse"):
        label = label.clamp(0, 1)
        terms = where.sum(-1).clamp(min=1)
    elif loss in ("pairwise_logistic", "pairwise_hinge"):
        terms = ordered_pairs(label, where).sum((-2, -1)).clamp(min=1)
    return LOSSES[loss](scores, label, where=where, weights=weights, reduction="none") / terms
