"""The click loss of lists from the sessions of their queries."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rankers.batch import Pages
from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.settings import ClickObjectiveName

# The bias is learned from about the last hundred steps, since the scores that it follows change,
# and where it starts from counts as ten sessions.
MEMORY = 0.99
PRIOR = 10.0


class SessionLoss(nn.Module):
    """Mean loss of each query's sessions, and the bias of positions where the objective learns it.

    Args:
        name: of the objective.
        positions: of the longest page.
        propensities: of positions, in (0, 1], NaN where unknown; the last one stands for those
            beyond. Documents at a position of which it is unknown have no part. None where the
            objective needs none.
        max_weight: the most that one click can weigh.

    Attributes:
        bias: float32 (2, positions), see `rankers.losses.click_objectives`.
    """

    bias: Tensor
    sums: Tensor
    known: Tensor

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
        bias, known = torch.ones(2, positions), torch.ones(positions, dtype=torch.bool)
        if self.objective.needs_propensities:
            assert propensities is not None
            last = torch.arange(positions).clamp(max=len(propensities) - 1)
            known = ~propensities[last].isnan()
            bias[0] = propensities[last].nan_to_num(1.0).clamp(min=1 / max_weight)
        sums = torch.full((2, positions), PRIOR)
        if self.objective.estimate is not None:
            sums[0, 1:] *= self.objective.start
            bias = self.objective.estimate(sums)
        self.register_buffer("bias", bias)
        self.register_buffer("sums", sums)
        self.register_buffer("known", known, persistent=False)

    def forward(self, scores: Tensor, blocks: Sequence[Pages]) -> Tensor:
        """The mean loss of each list's sessions, shape (lists,); 0 where there are none.

        Args:
            scores: float (lists, documents).
            blocks: the pages of these lists, on the same device.
        """
        total = count = scores.new_zeros(len(scores))
        for pages in blocks:
            shown, where = self._on_pages(scores, pages)
            bias = self.bias[:, : where.shape[1]]
            loss = self.objective.loss(shown, pages.clicks, where, bias)
            weight = torch.ones_like(loss)
            if self.objective.weight is not None:
                weight = self.objective.weight(shown, pages.clicks, where, bias)
            total = total.index_add(0, pages.of_list, pages.sessions * loss)
            count = count.index_add(0, pages.of_list, pages.sessions * weight)
        return total / count.clamp(min=1e-9)

    def teaches(self, blocks: Sequence[Pages], lists: int) -> Tensor:
        """Whether the sessions of each of so many lists teach something of it, bool (lists,)."""
        rows = torch.zeros(lists, device=self.bias.device)
        for pages in blocks:
            of_rows = self.objective.teaches(pages.clicks, self._where(pages))
            rows = rows.index_add(0, pages.of_list, of_rows.float())
        return rows > 0

    def evidence(self, scores: Tensor, blocks: Sequence[Pages]) -> Tensor | None:
        """What a batch says of the bias, to be summed over workers; None where it is given."""
        if self.objective.evidence is None:
            return None
        sums = torch.zeros_like(self.sums)
        for pages in blocks:
            shown, where = self._on_pages(scores.detach(), pages)
            width = where.shape[1]
            rows = self.objective.evidence(shown, pages.clicks, where, self.bias[:, :width])
            sums[:, :width] += (pages.sessions[:, None, None] * rows).sum(0)
        return sums

    def learn(self, evidence: Tensor) -> None:
        """Takes the evidence of a step's batches, of all workers, into the bias."""
        assert self.objective.estimate is not None
        self.sums = MEMORY * self.sums + evidence.to(self.sums.device)
        bias = self.objective.estimate(self.sums)
        self.bias = bias.clamp(1 / self.max_weight, self.max_weight)

    def _on_pages(self, scores: Tensor, pages: Pages) -> tuple[Tensor, Tensor]:
        """Scores at the positions of pages, and where documents have a part."""
        return scores[pages.of_list[:, None], pages.document.clamp(min=0)], self._where(pages)

    def _where(self, pages: Pages) -> Tensor:
        return (pages.document >= 0) & self.known[: pages.document.shape[1]]
