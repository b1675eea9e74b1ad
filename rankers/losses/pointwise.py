"""Losses that look at each document by itself: sigmoid cross entropy and squared error.

Memory and time are linear in the documents. `rankers.losses.listwise` says what all losses share.
"""

import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor

from rankers.losses.masking import mask_lists


def pointwise_sigmoid_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Sigmoid cross entropy of each document.

    :math:`\sum_i w_i (-y_i \log \sigma(s_i) - (1 - y_i) \log \sigma(-s_i))`

    Take it where the sigmoid of a score is to be a probability that means the same for every query,
    as a threshold needs it. Where only the order within a list matters, that asks for more than is
    needed. It is logistic regression's loss; equal to Rax's `pointwise_sigmoid_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: probabilities of relevance, clipped to [0, 1], same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

    >>> import torch
    >>> pointwise_sigmoid_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(4.4888)
    """
    lists = mask_lists(scores, labels, where, weights)
    losses = F.binary_cross_entropy_with_logits(
        lists.scores, lists.labels.clamp(0, 1), reduction="none"
    )
    # A masked document has a loss, of a score of zero, but no weight.
    return (losses * lists.weights).sum(-1)


def pointwise_mse_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Squared error: :math:`\sum_i w_i (y_i - s_i)^2`.

    Take it where the score itself is to be the label, as a rate or the score of another ranker.
    Cossock & Zhang, "Subset ranking using regression", COLT 2006; equal to Rax's
    `pointwise_mse_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: the values to predict, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

    >>> import torch
    >>> pointwise_mse_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(11.)
    """
    lists = mask_lists(scores, labels, where, weights)
    return ((lists.scores - lists.labels) ** 2 * lists.weights).sum(-1)
