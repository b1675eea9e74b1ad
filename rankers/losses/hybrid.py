"""The training objective: one forward pass, a loss of each signal, and the mix between them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rankers.batch import ListBatch
from rankers.losses.label_losses import label_loss, teaches
from rankers.losses.sessions import SessionLoss
from rankers.mixes import Mix
from rankers.models.list_ranker import CLICK_HEAD, RELEVANCE_HEAD
from rankers.settings import LossName, QueryWeight

POWER = {"query": 0.0, "square_root": 0.5, "session": 1.0}
# A signal's usual loss is what it was over about the last hundred steps.
MEMORY = 0.99


@dataclass
class ObjectiveValue:
    """What the objective makes of one batch of lists; each a scalar.

    Attributes:
        loss: the mixed loss, summed over the lists that are covered; carries the gradient.
        click_loss: the unmixed click loss, summed over lists.
        annotation_loss: the unmixed annotation loss, summed over lists.
        click_weight: the mix's click weight, summed over lists.
        clicked: how many lists the clicks teach something of.
        annotated: how many lists the annotations teach something of.
    """

    loss: Tensor
    click_loss: Tensor
    annotation_loss: Tensor
    click_weight: Tensor
    clicked: Tensor
    annotated: Tensor


class Objective(nn.Module):
    """The loss of lists by both signals, and what of it is learned along with the ranker.

    Args:
        mix: the click weight.
        loss: the name of one of `rankers.losses.label_losses.LABEL_LOSSES`, for labels.
        highest_grade: of the annotations; their labels are divided by it.
        sessions: the loss of clicks in sessions; None where clicks are learned from labels.
        query_weight: how much a query weighs in the click loss: as every other (query), or by the
            square root (square_root) or the number (session) of its searches.
        mean_power: mean over the training queries of that power of the searches, so that the click
            loss as a whole weighs the same.
        balance: divide each signal's loss by its running mean, so that both pull alike where the
            click weight is one half.

    Attributes:
        sum_over_workers: sums a tensor over the workers that share a step; for one worker, which
            is where it starts, the tensor itself.
    """

    usual: Tensor

    def __init__(
        self,
        mix: Mix,
        loss: LossName,
        highest_grade: int,
        sessions: SessionLoss | None = None,
        query_weight: QueryWeight = "query",
        mean_power: float = 1.0,
        balance: bool = False,
    ) -> None:
        super().__init__()
        self.mix, self.loss, self.highest_grade = mix, loss, highest_grade
        self.sessions, self.balance = sessions, balance
        self.power, self.mean_power = POWER[query_weight], mean_power
        self.sum_over_workers: Callable[[Tensor], Tensor] = _same
        # Sums, with the memory above, of both signals' losses and of the lists that had them.
        self.register_buffer("usual", torch.zeros(2, 2))

    def forward(
        self, scores: Tensor, batch: ListBatch, progress: float, shares: Tensor | None = None
    ) -> ObjectiveValue:
        """The loss of a batch of lists that were scored once.

        Args:
            scores: float (lists, documents, heads), from `rankers.models.list_ranker.ListRanker`.
            batch: the lists, on the device of the scores.
            progress: the share of training that is done.
            shares: of the step, from `signal_shares`: what the losses of each signal are
                multiplied by; 1 by default.
        """
        labels, traffic = batch.labels, batch.traffic
        assert labels is not None
        click_scores, relevance_scores = scores[..., CLICK_HEAD], scores[..., RELEVANCE_HEAD]
        grade = labels.annotation / self.highest_grade
        annotation_loss = label_loss(relevance_scores, grade, self.loss, labels.annotation_weight)
        if self.sessions is None:
            click_loss = label_loss(click_scores, labels.click, self.loss)
        else:
            click_loss = self.sessions(click_scores, batch.pages)
            if (evidence := self.sessions.evidence(click_scores, batch.pages)) is not None:
                self.sessions.learn(self.sum_over_workers(evidence))
        losses = torch.stack([click_loss, annotation_loss])
        taught = self._taught(batch)
        pull = losses
        if self.balance:
            pull = losses / self._usual_loss(losses.detach(), taught)[:, None]
        if shares is not None:
            pull = pull * shares.to(pull)[:, None]
        click_weight = self.mix(progress, traffic)
        click_factor = click_weight * traffic.frequency.float() ** self.power / self.mean_power
        factors = torch.stack([click_factor, 1 - click_weight])
        factors = factors * self.mix.covers(progress, traffic)
        return ObjectiveValue(
            loss=(factors.to(pull.device) * pull).sum(),
            click_loss=losses[0].detach().sum(),
            annotation_loss=losses[1].detach().sum(),
            click_weight=click_weight.sum(),
            clicked=taught[0].sum(),
            annotated=taught[1].sum(),
        )

    def weights(self, batch: ListBatch, progress: float) -> Tensor:
        """What the mix gives both signals of some lists, and how much of it falls on known ones.

        Args:
            batch: the lists.
            progress: the share of training that is done.

        Returns:
            float64 (2, 2), to be summed over the parts and workers of a step for `signal_shares`:
            of clicks and of annotations (rows) the weight over all lists that the mix covers, and
            over those that the signal teaches something of.
        """
        click_weight = self.mix(progress, batch.traffic).double()
        weight = torch.stack([click_weight, 1 - click_weight])
        weight = weight * self.mix.covers(progress, batch.traffic)
        taught = self._taught(batch).to(weight.device)
        return torch.stack([weight.sum(1), (weight * taught).sum(1)], dim=1)

    def _taught(self, batch: ListBatch) -> Tensor:
        """Whether clicks and annotations teach something of each list, bool (2, lists)."""
        assert batch.labels is not None
        annotated = teaches(batch.labels.annotation, self.loss)
        if self.sessions is None:
            clicked = teaches(batch.labels.click, self.loss)
        else:
            clicked = self.sessions.teaches(batch.pages, len(annotated))
        return torch.stack([clicked, annotated])

    def _usual_loss(self, losses: Tensor, taught: Tensor) -> Tensor:
        """The running mean size of each signal's loss where it has one; 1 before it had any."""
        seen = torch.stack([losses.abs().sum(1), taught.sum(1)], dim=1).to(self.usual.dtype)
        self.usual = MEMORY * self.usual + self.sum_over_workers(seen)
        total, lists = self.usual.T
        return torch.where(lists > 0, total / lists.clamp(min=1e-9), 1.0).clamp(min=1e-9)


def _same(value: Tensor) -> Tensor:
    return value


def signal_shares(weights: Tensor) -> Tensor:
    """What each signal's losses of a step are multiplied by, so that their sum is a mean.

    A signal's loss is its weighted mean over the lists that it teaches something of, times its mean
    weight over all lists: the weight of lists that lack a label goes to those that have one, in
    proportion to their own. None weighs more than it would in a step of its own.

    Args:
        weights: from `Objective.weights`, summed over the parts and workers of the step.

    Returns:
        float64 (2,), of clicks and of annotations; 0 where nobody teaches anything.

    Of ten lists, three with clicks, clicks alone: each counts a third.

    >>> signal_shares(torch.tensor([[10.0, 3.0], [0.0, 0.0]]))
    tensor([0.3333, 0.0000])

    Equal weights: half for the mean of the three, half for the mean of all ten annotated ones.

    >>> signal_shares(torch.tensor([[5.0, 1.5], [5.0, 5.0]]))
    tensor([0.3333, 0.1000])
    """
    every, known = weights.unbind(1)
    shares = every / (every.sum() * known)
    return torch.where(known > 0, shares.clamp(max=1), 0.0)
