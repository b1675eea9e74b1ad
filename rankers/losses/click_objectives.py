"""Unbiased learning to rank: losses of the clicks of sessions, freed of the bias of positions.

Every function here takes

    scores  float (rows, positions), of the documents that a page shows, by position
    clicks  float (rows, positions), the share of a row's sessions that clicked, in [0, 1]
    where   bool (rows, positions), which positions show a document
    bias    float (2, positions), above 0: of clicked documents, and of those that are not

and returns the mean of a row's sessions. A row stands for equal sessions or, where the loss is
linear in the clicks, for all sessions of one page.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor

from rankers.losses.listwise import softmax_loss
from rankers.losses.pointwise import pointwise_sigmoid_loss

OfSessions = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
OfPages = Callable[[Tensor, Tensor], Tensor]
# A document of a thousandth of the first one's chances tells nothing of the position any more.
LARGEST_RATIO = 1000.0


@dataclass(frozen=True)
class ClickObjective:
    """One way of learning from clicks.

    Attributes:
        loss: of a row's sessions, shape (rows,).
        teaches: of clicks and where, which rows can have a loss that is not zero, bool (rows,).
        weight: what a row's sessions count in the mean over a query's sessions, shape (rows,); one
            each where there is none.
        evidence: what they say of the bias, shape (rows, 2, positions), to be summed over
            sessions; None where the bias is given from outside.
        estimate: the bias that such sums, shape (2, positions), amount to.
        start: the bias of all positions but the first before anything is learned.
        needs_propensities: whether the bias is that of given propensities.
        linear: whether pages with summed clicks have the loss and gradient of their sessions. The
            others compare clicked with unclicked documents of a session, so that it matters which
            clicks came together: they need each kind of session for itself.
    """

    loss: OfSessions
    teaches: OfPages
    weight: OfSessions | None = None
    evidence: OfSessions | None = None
    estimate: Callable[[Tensor], Tensor] | None = None
    start: float = 1.0
    needs_propensities: bool = False
    linear: bool = True


def naive(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Softmax cross entropy of the clicks as they are: the baseline, with all their bias."""
    return softmax_loss(scores, clicks, where=where)


def inverse_propensity(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Softmax cross entropy of clicks weighted by their inverse propensity.

    Joachims, Swaminathan & Schnabel, "Unbiased learning-to-rank with biased feedback", WSDM 2017,
    with the softmax loss of Ai et al., SIGIR 2018. Unbiased where propensities are right and none
    is clipped.
    """
    return softmax_loss(scores, clicks / bias[0], where=where)


def inverse_propensity_weight(
    scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor
) -> Tensor:
    """The sum of a session's weights, which the self-normalised estimator divides by.

    Swaminathan & Joachims, "The self-normalized estimator for counterfactual learning", NeurIPS
    2015, within each query: its loss is a weighted mean of the losses of its clicks.
    A little bias for much less variance.
    """
    return torch.where(where, clicks / bias[0], 0.0).sum(-1)


def inverse_relevance(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Clicks weighted by inverse relevance, from which dual learning takes propensities.

    Ai et al., "Unbiased learning to rank with unbiased propensity estimation", SIGIR 2018:
    the propensity model has the softmax loss of clicks weighted by R_1 / R_k, with R
    the softmax of the scores. Where it has a parameter for each position, that loss is least where
    the propensities have the shares of these sums, which are taken without steps towards them.
    """
    ratio = (scores[:, :1] - scores).detach().exp().clamp(max=LARGEST_RATIO)
    clicked = torch.where(where & where[:, :1], clicks * ratio, 0.0)
    return torch.stack([clicked, torch.zeros_like(clicked)], dim=1)


def expected_relevance(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Sigmoid cross entropy of the relevance that regression EM expects.

    Wang et al., "Position bias estimation for unbiased learning to rank in personal search", WSDM
    2018: P(relevant | no click) = (1 - e) r / (1 - e r), with the
    examination e and r the sigmoid of the score. The expectation is learned itself, where the
    paper draws labels from it.
    """
    relevance = scores.detach().sigmoid()
    unseen = (1 - bias[0]) * relevance / (1 - bias[0] * relevance).clamp(min=1e-6)
    label = clicks + (1 - clicks) * unseen
    documents = where.sum(-1).clamp(min=1)
    return pointwise_sigmoid_loss(scores, label, where=where) / documents


def expected_examination(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Examinations that regression EM expects, and impressions.

    P(examined | no click) = e (1 - r) / (1 - e r), in the same paper.
    """
    relevance = scores.detach().sigmoid()
    overlooked = bias[0] * (1 - relevance) / (1 - bias[0] * relevance).clamp(min=1e-6)
    examined = torch.where(where, clicks + (1 - clicks) * overlooked, 0.0)
    return torch.stack([examined, where.to(examined.dtype)], dim=1)


def pairwise_debiasing(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Logistic loss of clicked over unclicked documents, each divided by its position's ratio.

    Hu et al., "Unbiased LambdaMART: an unbiased pairwise learning-to-rank algorithm", WWW 2019,
    without the weights of nDCG: of a pair, l / (t+ t-).
    """
    ratio = bias[0][:, None] * bias[1][None, :]
    return (_pair_losses(scores, clicks, where) / ratio).sum((-2, -1))


def debiased_pairs(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """The losses that are due to each position of the clicked, and of the unclicked document.

    A position's ratio t+ is its sum of l / t- by that of the first position, and t- likewise, in
    the same paper (with its p = 0).
    """
    losses = _pair_losses(scores.detach(), clicks, where)
    clicked = (losses / bias[1]).sum(-1)
    unclicked = (losses / bias[0][:, None]).sum(-2)
    return torch.stack([clicked, unclicked], dim=1)


def propensity_ratio(scores: Tensor, clicks: Tensor, where: Tensor, bias: Tensor) -> Tensor:
    """Logistic loss of clicked over unclicked documents, weighted by p(unclicked) / p(clicked).

    Wang et al., "Non-clicks mean irrelevant? Propensity ratio scoring as a correction", WSDM 2021:
    a document without a click is irrelevant only as far as it was examined.
    """
    ratio = bias[0][None, :] / bias[0][:, None]
    return (_pair_losses(scores, clicks, where) * ratio).sum((-2, -1))


def _one_clicked_of_several(clicks: Tensor, where: Tensor) -> Tensor:
    return (where & (clicks > 0)).any(-1) & (where.sum(-1) > 1)


def _some_shown(clicks: Tensor, where: Tensor) -> Tensor:
    return where.any(-1)


def _clicked_and_unclicked(clicks: Tensor, where: Tensor) -> Tensor:
    return (where & (clicks > 0)).any(-1) & (where & (clicks < 1)).any(-1)


def _pair_losses(scores: Tensor, clicks: Tensor, where: Tensor) -> Tensor:
    """Logistic losses of each clicked document (-2) over each unclicked one (-1)."""
    clicked = torch.where(where, clicks, 0.0)
    unclicked = torch.where(where, 1 - clicks, 0.0)
    margin = scores[:, :, None] - scores[:, None, :]
    return clicked[:, :, None] * unclicked[:, None, :] * F.softplus(-margin)


def _by_first(sums: Tensor) -> Tensor:
    return sums / sums[:, :1]


def _examined_share(sums: Tensor) -> Tensor:
    """Clicks leave the scale free; as everywhere here, the first position is always examined."""
    share = sums[0] / sums[1]
    return torch.stack([(share / share[0]).clamp(max=1), torch.ones_like(share)])


CLICK_OBJECTIVES: dict[str, ClickObjective] = {
    "naive": ClickObjective(naive, _one_clicked_of_several),
    "ipw": ClickObjective(inverse_propensity, _one_clicked_of_several, needs_propensities=True),
    "self_normalised_ipw": ClickObjective(
        inverse_propensity,
        _one_clicked_of_several,
        weight=inverse_propensity_weight,
        needs_propensities=True,
    ),
    "dual_learning": ClickObjective(
        inverse_propensity,
        _one_clicked_of_several,
        evidence=inverse_relevance,
        estimate=_by_first,
    ),
    "regression_em": ClickObjective(
        expected_relevance,
        _some_shown,
        evidence=expected_examination,
        estimate=_examined_share,
        start=0.5,  # of what is always examined, EM never learns otherwise
    ),
    "pairwise_debiasing": ClickObjective(
        pairwise_debiasing,
        _clicked_and_unclicked,
        evidence=debiased_pairs,
        estimate=_by_first,
        linear=False,
    ),
    "propensity_ratio": ClickObjective(
        propensity_ratio, _clicked_and_unclicked, needs_propensities=True, linear=False
    ),
}
