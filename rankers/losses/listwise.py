"""Ranking losses: pure functions of scores and labels, with Rax's signature and definitions.

Every loss takes tensors of shape (..., documents) and returns a scalar, or one value a list with
``reduction="none"``. A document where `where` is False has no influence on value or gradient,
whatever it holds. A list without documents or without a relevant one, that is with a label above
zero, has a loss and a gradient of zero; only the pointwise losses learn from labels that are all
zero. It never gives NaN. Values are float32, or float64 where the scores are.

Source of signature and definitions: Jagerman et al., "Rax: composable learning-to-rank using JAX",
KDD 2022. What a mean is taken over is Rax's choice too: lists that hold a document for listwise
losses, pairs with an order for pairwise ones, documents for pointwise ones, each over all lists;
weights change the terms, not their number. Where Rax returns every term without a reduction, and
zero for a masked one, ``reduction="none"`` sums them by list, so that it has one shape for all.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor

from rankers.losses.masking import Loss, MaskedLists, Reduction, mask_lists, reduce_lists
from rankers.losses.pairwise import (
    approx_ndcg_loss,
    lambdarank_loss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
)


def softmax_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Listwise softmax cross entropy: :math:`-\sum_i w_i y_i \log \mathrm{softmax}(s)_i`.

    ListNet's top-one loss (Cao et al., "Learning to rank: from pairwise approach to listwise
    approach", ICML 2007, section 4) for labels that sum to one; click-supervised rankers use it as
    in Ai et al., SIGIR 2018. Equal to Rax's `softmax_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: non-negative relevance, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.
        reduction: "mean" over the lists that hold a document, "sum", or "none" for shape (...).

    >>> softmax_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(1.4076)
    """
    lists = mask_lists(scores, labels, where, weights)
    # The lowest finite score rather than minus infinity: an all-masked list stays finite.
    masked = lists.scores.masked_fill(~lists.where, torch.finfo(lists.scores.dtype).min)
    log_shares = F.log_softmax(masked, dim=-1).masked_fill(~lists.where, 0.0)
    per_list = -(lists.labels * lists.weights * log_shares).sum(-1)
    return reduce_lists(per_list, lists.where.any(-1), reduction)


def listmle_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Minus the log-likelihood of the order of the labels under Plackett and Luce's model.

    .. math::
        -\sum_i w_i \log \frac{e^{s_i}}{\sum_{j: r_j \ge r_i} e^{s_j}}

    with ranks r by falling label, equal labels in the order given.

    Xia et al., "Listwise approach to learning to rank: theory and algorithm", ICML 2008, section
    4. Equal to Rax's `listmle_loss` without a key, except that a list without a label above zero
    gives zero, not the likelihood of the order given, and that it takes weights.

    Args:
        scores: floats of shape (..., documents).
        labels: relevance from 0, of which only the order counts, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document's term, or (..., 1) of each list; 1 by default.
        reduction: "mean" over the lists that hold a document, "sum", or "none" for shape (...).

    >>> listmle_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(3.5345)
    """
    lists = mask_lists(scores, labels, where, weights)
    # Masked documents come last, so that no document before them sees them in its sum.
    order = lists.labels.masked_fill(~lists.where, -math.inf).argsort(
        dim=-1, descending=True, stable=True
    )
    lowest = torch.finfo(lists.scores.dtype).min
    ordered = lists.scores.masked_fill(~lists.where, lowest).gather(-1, order)
    remaining = ordered.flip(-1).logcumsumexp(-1).flip(-1)
    terms = (remaining - ordered) * lists.weights.gather(-1, order)
    relevant = (lists.labels > 0).any(-1)
    per_list = terms.masked_fill(~lists.where.gather(-1, order), 0.0).sum(-1)
    per_list = per_list.masked_fill(~relevant, 0.0)
    return reduce_lists(per_list, lists.where.any(-1), reduction)


def pointwise_sigmoid_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Sigmoid cross entropy of each document.

    :math:`\sum_i w_i (-y_i \log \sigma(s_i) - (1 - y_i) \log \sigma(-s_i))`

    Equal to Rax's `pointwise_sigmoid_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: probabilities of relevance, clipped to [0, 1], same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.
        reduction: "mean" over the documents of all lists, "sum", or "none" for each list's sum.

    >>> pointwise_sigmoid_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(1.4963)
    """
    lists = mask_lists(scores, labels, where, weights)
    losses = F.binary_cross_entropy_with_logits(
        lists.scores, lists.labels.clamp(0, 1), reduction="none"
    )
    return _pointwise_loss(losses, lists, reduction)


def pointwise_mse_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared error: :math:`\sum_i w_i (y_i - s_i)^2`.

    Equal to Rax's `pointwise_mse_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: the values to predict, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.
        reduction: "mean" over the documents of all lists, "sum", or "none" for each list's sum.

    >>> pointwise_mse_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(3.6667)
    """
    lists = mask_lists(scores, labels, where, weights)
    return _pointwise_loss((lists.scores - lists.labels) ** 2, lists, reduction)


LOSSES: dict[str, Loss] = {
    "softmax": softmax_loss,
    "listmle": listmle_loss,
    "pairwise_logistic": pairwise_logistic_loss,
    "pairwise_hinge": pairwise_hinge_loss,
    "lambdarank": lambdarank_loss,
    "approx_ndcg": approx_ndcg_loss,
    "pointwise_sigmoid": pointwise_sigmoid_loss,
    "pointwise_mse": pointwise_mse_loss,
}


def _pointwise_loss(losses: Tensor, lists: MaskedLists, reduction: Reduction) -> Tensor:
    # A masked document has a loss, of a score of zero, but no weight.
    return reduce_lists((losses * lists.weights).sum(-1), lists.where.sum(-1), reduction)
