"""Ranking losses: pure functions of scores and labels, with Rax's signature and definitions.

Every loss takes tensors of shape (..., documents) and returns a scalar, or one value a list with
``reduction="none"``. A document where `where` is False has no influence on value or gradient. A
list without documents or without a relevant one has a loss and a gradient of zero where the
formula gives it nothing to learn; it never gives NaN.

Source of signature and definitions: Jagerman et al., "Rax: composable learning-to-rank using JAX",
KDD 2022.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
Loss = Callable[..., Tensor]


def softmax_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Listwise softmax cross entropy: :math:`-\sum_i w_i y_i \log \mathrm{softmax}(s)_i`.

    ListNet's top-one loss (Cao et al., ICML 2007) for labels that sum to one; click-supervised
    rankers use it as in Ai et al., SIGIR 2018.

    Args:
        scores: floats of shape (..., documents).
        labels: non-negative relevance, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.
        reduction: "mean" or "sum" over lists, or "none" for shape (...).

    >>> softmax_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(1.4076)
    """
    where = torch.ones_like(scores, dtype=torch.bool) if where is None else where
    labels = torch.where(where, labels, 0.0)
    if weights is not None:
        labels = labels * weights
    # The lowest finite score rather than minus infinity: an all-masked list stays finite.
    masked = scores.masked_fill(~where, torch.finfo(scores.dtype).min)
    per_list = -(labels * F.log_softmax(masked, dim=-1).masked_fill(~where, 0.0)).sum(-1)
    return _reduce(per_list, reduction)


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

    Args:
        scores: floats of shape (..., documents).
        labels: probabilities of relevance in [0, 1], same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.
        reduction: "mean" over the documents that count, "sum", or "none" for one sum a list,
            shape (...).

    >>> pointwise_sigmoid_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(1.4963)
    """
    per_document = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    return _reduce_documents(per_document, where, weights, reduction)


def pointwise_mse_loss(
    scores: Tensor,
    labels: Tensor,
    *,
    where: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Squared error: :math:`\sum_i w_i (y_i - s_i)^2`.

    Args:
        scores: floats of shape (..., documents).
        labels: the values to predict, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.
        reduction: "mean" over the documents that count, "sum", or "none" for one sum a list,
            shape (...).

    >>> pointwise_mse_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(3.6667)
    """
    return _reduce_documents((scores - labels) ** 2, where, weights, reduction)


LOSSES: dict[str, Loss] = {
    "softmax": softmax_loss,
    "pointwise_sigmoid": pointwise_sigmoid_loss,
    "pointwise_mse": pointwise_mse_loss,
}


def _reduce_documents(
    per_document: Tensor, where: Tensor | None, weights: Tensor | None, reduction: Reduction
) -> Tensor:
    where = torch.ones_like(per_document, dtype=torch.bool) if where is None else where
    per_document = torch.where(where, per_document, 0.0)
    if weights is not None:
        per_document = per_document * weights
    if reduction == "mean":
        return per_document.sum() / where.sum().clamp(min=1)
    return _reduce(per_document.sum(-1), reduction)


def _reduce(per_list: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return per_list
    return per_list.sum() if reduction == "sum" else per_list.sum() / max(per_list.numel(), 1)
