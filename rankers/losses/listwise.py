"""Ranking losses that look at a list as a whole: softmax and ListMLE.

All losses of this room are pure functions with Rax's signature and definitions (Jagerman et al.,
"Rax: composable learning-to-rank using JAX", KDD 2022). They take tensors of shape (..., documents)
and return one value a list, shape (...): the sum of its terms. Rax returns the terms themselves
where it reduces nothing, and zero for a masked one. What a list's value is divided by in training
stands in `rankers.losses.label_losses`.

A document where `where` is False has no influence on value or gradient, whatever it holds. A list
without documents or without a relevant one, that is with a label above zero, has a loss and a
gradient of zero; only the pointwise losses learn from labels that are all zero. No loss is ever
NaN. Values are float32, or float64 where the scores are. Which loss to take: docs/losses.md.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor

from rankers.losses.masking import mask_lists


def softmax_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Listwise softmax cross entropy: :math:`-\sum_i w_i y_i \log \mathrm{softmax}(s)_i`.

    Take it first: labels may be grades or rates of any size, several documents may be relevant, and
    memory and time are linear in the documents.

    ListNet's top-one loss (Cao et al., "Learning to rank: from pairwise approach to listwise
    approach", ICML 2007, section 4) for labels that sum to one; click-supervised rankers use it as
    in Ai et al., SIGIR 2018. Equal to Rax's `softmax_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: non-negative relevance, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

    >>> softmax_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(1.4076)
    """
    lists = mask_lists(scores, labels, where, weights)
    # The lowest finite score rather than minus infinity: an all-masked list stays finite.
    masked = lists.scores.masked_fill(~lists.where, torch.finfo(lists.scores.dtype).min)
    log_shares = F.log_softmax(masked, dim=-1).masked_fill(~lists.where, 0.0)
    return -(lists.labels * lists.weights * log_shares).sum(-1)


def listmle_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Minus the log-likelihood of the order of the labels under Plackett and Luce's model.

    .. math::
        -\sum_i w_i \log \frac{e^{s_i}}{\sum_{j: r_j \ge r_i} e^{s_j}}

    with ranks r by falling label, equal labels in the order given.

    Take it where the whole order is known, as where labels are scores of a better ranker. Where
    many labels are equal, as with grades, it learns the order given among these as if it meant
    something. Memory is linear in the documents.

    Xia et al., "Listwise approach to learning to rank: theory and algorithm", ICML 2008, section
    4. Equal to Rax's `listmle_loss` without a key, except that a list without a label above zero
    gives zero, not the likelihood of the order given, and that it takes weights.

    Args:
        scores: floats of shape (..., documents).
        labels: relevance from 0, of which only the order counts, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document's term, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

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
    return per_list.masked_fill(~relevant, 0.0)
