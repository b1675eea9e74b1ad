"""Ranking losses over pairs of a list's documents: logistic, hinge, LambdaRank, approximate nDCG.

Their memory and time grow with the square of a list's length. `rankers.losses.listwise` says what
all losses share.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor

from rankers.losses.masking import MaskedLists, mask_lists


def pairwise_logistic_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Logistic loss of pairs: :math:`\sum_{y_i > y_j} w_i \log(1 + e^{-(s_i - s_j)})`.

    Take it where labels tell which of two documents is better and nothing more, and every pair is
    to count the same, wherever in the list.

    RankNet's cross entropy for pairs whose order is known: Burges et al., "Learning to rank using
    gradient descent", ICML 2005, section 3. Equal to Rax's `pairwise_logistic_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: relevance, of which only the order counts, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each pair by its better document, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

    >>> pairwise_logistic_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(1.6265)
    """
    lists = mask_lists(scores, labels, where, weights)
    return _pairwise_loss(lists, lambda difference: -F.logsigmoid(difference))


def pairwise_hinge_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Hinge loss of pairs: :math:`\sum_{y_i > y_j} w_i \max(0, 1 - (s_i - s_j))`.

    Take it where the logistic loss would be taken, and a pair that is right by a margin of 1 has
    nothing more to learn.

    The ranking SVM's loss: Joachims, "Optimizing search engines using clickthrough data", KDD
    2002, section 4.2. Equal to Rax's `pairwise_hinge_loss`.

    Args:
        scores: floats of shape (..., documents).
        labels: relevance, of which only the order counts, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each pair by its better document, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

    >>> pairwise_hinge_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(2.)
    """
    lists = mask_lists(scores, labels, where, weights)
    return _pairwise_loss(lists, lambda difference: F.relu(1 - difference))


def lambdarank_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Logistic loss of pairs, each weighted by how much swapping it would change nDCG.

    .. math::
        \sum_{y_i > y_j} w_i |\Delta_{ij}| \log(1 + e^{-(s_i - s_j)}), \quad
        \Delta_{ij} = (G_i - G_j) \left(\frac{1}{\log_2(1 + r_i)} - \frac{1}{\log_2(1 + r_j)}\right)

    with ranks r by falling score, equal scores in the order given; gains
    :math:`G_i = w_i (2^{y_i} - 1)` divided by the ideal DCG. The weights :math:`\Delta` carry no
    gradient.

    Take it where nDCG decides: most of it comes from pairs at the top of the list as it is ranked
    now.

    Its gradient is LambdaRank's: Burges, "From RankNet to LambdaRank to LambdaMART: an overview",
    MSR-TR-2010-82, section 4. As a loss it stands in Wang et al., "The LambdaLoss framework for
    ranking metric optimization", CIKM 2018. A list's sum is that of Rax's
    `pairwise_logistic_loss` with `dcg_lambdaweight(normalize=True)`, less Rax's factor of the
    list's length, which would count padding.

    Args:
        scores: floats of shape (..., documents).
        labels: relevance from 0, fractions included, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document, or (..., 1) of each list; 1 by default.

    Returns:
        Float of shape (...).

    >>> lambdarank_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(0.5257)
    """
    lists = mask_lists(scores, labels, where, weights)
    gains = _normalized_gains(lists)
    # Masked documents come last, so that they take no rank from the others.
    order = lists.scores.masked_fill(~lists.where, -math.inf).argsort(
        dim=-1, descending=True, stable=True
    )
    discounts = _discount(order.argsort(dim=-1).to(lists.scores.dtype) + 1)
    delta = (_differences(gains) * _differences(discounts)).abs()
    losses = delta * lists.weights.unsqueeze(-1) * -F.logsigmoid(_differences(lists.scores))
    pairs = ordered_pairs(lists.labels, lists.where)
    return losses.masked_fill(~pairs, 0.0).sum((-2, -1))


def approx_ndcg_loss(
    scores: Tensor, labels: Tensor, *, where: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    r"""Minus nDCG, with each rank replaced by a smooth one.

    .. math::
        -\sum_i \frac{G_i}{\log_2(1 + \hat r_i)}, \quad
        \hat r_i = 1 + \sum_{j \ne i} \sigma(s_j - s_i)

    with gains :math:`G_i = w_i (2^{y_i} - 1)` divided by the ideal DCG. The sigmoid's temperature
    is 1, so scores that lie far apart hardly move.

    Take it where nDCG decides and the ranker is good already, for a further training of one whose
    scores lie within a few units of each other.

    Qin et al., "A general approximation framework for direct optimization of information retrieval
    measures", Information Retrieval 13, 2010; Bruch et al., "Revisiting approximate metric
    optimization in the age of deep neural networks", SIGIR 2019. Equal to Rax's
    `approx_t12n(ndcg_metric)`.

    Args:
        scores: floats of shape (..., documents).
        labels: relevance from 0, fractions included, same shape.
        where: which documents count, bool, same shape; all by default.
        weights: of each document's gain; 1 by default.

    Returns:
        Float of shape (...), from -1 to 0.

    >>> approx_ndcg_loss(torch.tensor([2.0, 1.0, 3.0]), torch.tensor([1.0, 0.0, 0.0]))
    tensor(-0.6309)
    """
    lists = mask_lists(scores, labels, where, weights)
    documents = lists.scores.shape[-1]
    itself = torch.eye(documents, dtype=torch.bool, device=lists.scores.device)
    above = torch.sigmoid(-_differences(lists.scores))
    above = above.masked_fill(itself | ~lists.where.unsqueeze(-2), 0.0)
    return -(_normalized_gains(lists) * _discount(1 + above.sum(-1))).sum(-1)


def ordered_pairs(labels: Tensor, where: Tensor) -> Tensor:
    """Which pairs have an order to learn: both documents count, and the first has more relevance.

    Args:
        labels: of shape (..., documents).
        where: which documents count, bool, same shape.

    Returns:
        Bool of shape (..., documents, documents), the better document first.

    >>> ordered_pairs(torch.tensor([1.0, 0.0]), torch.tensor([True, True]))
    tensor([[False,  True],
            [False, False]])
    """
    both = where.unsqueeze(-1) & where.unsqueeze(-2)
    return (labels.unsqueeze(-1) > labels.unsqueeze(-2)) & both


def _pairwise_loss(lists: MaskedLists, loss: Callable[[Tensor], Tensor]) -> Tensor:
    pairs = ordered_pairs(lists.labels, lists.where)
    losses = loss(_differences(lists.scores)) * lists.weights.unsqueeze(-1)
    return losses.masked_fill(~pairs, 0.0).sum((-2, -1))


def _differences(values: Tensor) -> Tensor:
    """Each document's value less every other's, (..., documents, documents)."""
    return values.unsqueeze(-1) - values.unsqueeze(-2)


def _discount(ranks: Tensor) -> Tensor:
    return 1 / torch.log2(1 + ranks)


def _normalized_gains(lists: MaskedLists) -> Tensor:
    """Weighted gains 2^label - 1 divided by the DCG of the best order; zero if none is positive."""
    # Gains are taken relative to 2^(the highest label), which the division by the ideal DCG takes
    # out again: a click's inverse propensity as label does not overflow.
    highest = F.pad(lists.labels, (0, 1)).amax(-1, keepdim=True)
    gains = torch.exp2(lists.labels - highest) * -torch.expm1(-math.log(2) * lists.labels)
    gains = gains * lists.weights
    ranks = torch.arange(1, gains.shape[-1] + 1, dtype=gains.dtype, device=gains.device)
    ideal = (gains.sort(dim=-1, descending=True).values * _discount(ranks)).sum(-1, keepdim=True)
    return gains / torch.where(ideal == 0, 1.0, ideal)
