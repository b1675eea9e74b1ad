"""The click loss of lists from the sessions of their queries."""

import torch
from torch import Tensor, nn

from rankers.click_objectives import CLICK_OBJECTIVES, ClickObjectiveName
from rankers.page_tensors import Pages

# The bias is learned from about the last hundred steps, since the scores that it follows change,
# and where it starts from counts as ten sessions.
MEMORY = 0.99
PRIOR = 10.0


class SessionLoss(nn.Module):
    """Mean loss of each query's sessions, and the bias of positions where the objective learns it.

    Args:
        name: of the objective.
        positions: of the longest page.
        propensities: of positions, in (0, 1], as many as are known; the last one stands for those
            beyond. None where the objective needs none.
        max_weight: the most that one click can weigh.

    Attributes:
        bias: float32 (2, positions), see `rankers.click_objectives`.
    """

    bias: Tensor
    sums: Tensor

    def __init__(
        self,
        name: ClickObjectiveName,
        positions: int,
        propensities: Tensor | None = None,
        max_weight: float = 20.0,
    ) -> None:
        super().__init__()
        self.objective = CLICK_OBJECTIVES[name]
        self.max_weight = max_weight
        bias = torch.ones(2, positions)
        if self.objective.needs_propensities:
            assert propensities is not None
            last = torch.arange(positions).clamp(max=len(propensities) - 1)
            bias[0] = propensities[last].clamp(min=1 / max_weight)
        sums = torch.full((2, positions), PRIOR)
        if self.objective.estimate is not None:
            sums[0, 1:] *= self.objective.start
            bias = self.objective.estimate(sums)
        self.register_buffer("bias", bias)
        self.register_buffer("sums", sums)

    def forward(self, scores: Tensor, pages: Pages) -> Tensor:
        """The mean loss of each list's sessions, shape (lists,); 0 where there are none.

        Args:
            scores: float (lists, documents).
            pages: of these lists, on the same device.
        """
        shown, where = _on_pages(scores, pages)
        bias = self.bias[:, : where.shape[1]]
        loss = self.objective.loss(shown, pages.clicks, where, bias)
        weight = torch.ones_like(loss)
        if self.objective.weight is not None:
            weight = self.objective.weight(shown, pages.clicks, where, bias)
        zeros = scores.new_zeros(len(scores))
        total = zeros.index_add(0, pages.of_list, pages.sessions * loss)
        count = zeros.index_add(0, pages.of_list, pages.sessions * weight)
        return total / count.clamp(min=1e-9)

    def evidence(self, scores: Tensor, pages: Pages) -> Tensor | None:
        """What a batch says of the bias, to be summed over workers; None where it is given."""
        if self.objective.evidence is None:
            return None
        shown, where = _on_pages(scores.detach(), pages)
        width = where.shape[1]
        rows = self.objective.evidence(shown, pages.clicks, where, self.bias[:, :width])
        sums = torch.zeros_like(self.sums)
        sums[:, :width] = (pages.sessions[:, None, None] * rows).sum(0)
        return sums

    def learn(self, evidence: Tensor) -> None:
        """Takes the evidence of a step's batches, of all workers, into the bias."""
        assert self.objective.estimate is not None
        self.sums = MEMORY * self.sums + evidence
        bias = self.objective.estimate(self.sums)
        self.bias = bias.clamp(1 / self.max_weight, self.max_weight)


def _on_pages(scores: Tensor, pages: Pages) -> tuple[Tensor, Tensor]:
    """Scores at the positions of pages, and where a page shows a document of its list."""
    where = pages.document >= 0
    return scores[pages.of_list[:, None], pages.document.clamp(min=0)], where
