"""The training objective: one forward pass, two losses, and the mix between them."""

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


def mixed_objective(
    scores: Tensor,
    click_label: Tensor,
    annotation_label: Tensor,
    annotation_weight: Tensor,
    click_weight: Tensor,
    loss: LossName,
) -> ObjectiveValue:
    """Mixes the losses of both signals for lists that were scored once.

    A document that one of the signals says nothing of takes no part in that signal's loss; it
    still takes part in the other's. Labels are brought to the scale that the loss asks for:
    `softmax` learns their share of the list's sum, the pointwise losses learn them clipped to
    [0, 1], the others learn them as they are. Pointwise losses are means over a list's documents
    and the pairwise logistic and hinge losses means over its pairs, so that long lists weigh no
    more than short ones.

    Args:
        scores: float (lists, documents).
        click_label: inverse-propensity-weighted clicks an impression, from 0; NaN where unknown.
        annotation_label: grades divided by the highest, in [0, 1]; NaN where unknown.
        annotation_weight: how much each annotation counts, shaped as annotation_label.
        click_weight: from a `Mix`, in [0, 1], shape (lists,).
        loss: the name of one of `rankers.losses.LOSSES`.
    """
    click_loss = _signal_loss(scores, click_label, loss)
    annotation_loss = _signal_loss(scores, annotation_label, loss, annotation_weight)
    weight = click_weight.to(scores.device)
    return ObjectiveValue(
        loss=(weight * click_loss + (1 - weight) * annotation_loss).sum(),
        click_loss=click_loss.detach().sum(),
        annotation_loss=annotation_loss.detach().sum(),
    )


def _signal_loss(
    scores: Tensor, label: Tensor, loss: LossName, weights: Tensor | None = None
) -> Tensor:
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
