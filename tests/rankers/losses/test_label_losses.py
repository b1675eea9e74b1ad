from typing import get_args

import pytest
import torch

from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.losses.label_losses import LABEL_LOSSES, label_loss, teaches
from rankers.settings import ClickObjectiveName, LossName


def test_the_tables_are_what_settings_can_name() -> None:
    assert get_args(LossName) == tuple(LABEL_LOSSES)
    assert get_args(ClickObjectiveName) == tuple(CLICK_OBJECTIVES)


@pytest.mark.parametrize(
    ("name", "scaled", "terms"),
    [
        ("softmax", [0.5 / 2.75, 0.0, 2.25 / 2.75], 1),
        ("listmle", [0.5, 0.0, 2.25], 1),
        ("pairwise_logistic", [0.5, 0.0, 2.25], 3),
        ("pairwise_hinge", [0.5, 0.0, 2.25], 3),
        ("lambdarank", [0.5, 0.0, 2.25], 1),
        ("approx_ndcg", [0.5, 0.0, 2.25], 1),
        ("pointwise_sigmoid", [0.5, 0.0, 1.0], 3),
        ("pointwise_mse", [0.5, 0.0, 1.0], 3),
    ],
)
def test_labels_are_scaled_and_a_list_weighs_by_the_mean_over_what_is_known(
    name: LossName, scaled: list[float], terms: int
) -> None:
    scores = torch.tensor([[0.5, -1.0, 2.0, 7.0], [1.0, 0.0, 3.0, 0.0]])
    label = torch.tensor([[0.5, 0.0, 2.25, torch.nan], [torch.nan] * 4])
    loss = LABEL_LOSSES[name].loss(scores[0, :3], torch.tensor(scaled)) / terms
    assert label_loss(scores, label, name).tolist() == pytest.approx([loss.item(), 0.0])
    weights = torch.tensor([[0.5, 2.0, 0.25, torch.nan], [torch.nan] * 4])
    loss = LABEL_LOSSES[name].loss(scores[0, :3], torch.tensor(scaled), weights=weights[0, :3])
    weighted = label_loss(scores, label, name, weights)
    assert weighted.tolist() == pytest.approx([loss.item() / terms, 0.0])


@pytest.mark.parametrize("name", LABEL_LOSSES)
@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_lists_and_lists_of_nothing_have_no_loss(name: LossName, shape: tuple[int, int]) -> None:
    assert label_loss(torch.ones(shape), torch.ones(shape), name).tolist() == [0.0] * shape[0]
    assert teaches(torch.ones(shape), name).tolist() == [False] * shape[0]


@pytest.mark.parametrize(
    ("name", "label", "learned"),
    [
        ("softmax", [0.0, 0.0], False),
        ("softmax", [0.5, 0.5], True),
        ("softmax", [1.0, torch.nan], False),
        ("listmle", [0.1, 0.0], True),
        ("pairwise_hinge", [0.5, 0.5], False),
        ("pairwise_hinge", [0.5, 0.4], True),
        ("lambdarank", [0.5, torch.nan], False),
        ("pointwise_mse", [0.0, torch.nan], True),
        ("pointwise_sigmoid", [torch.nan, torch.nan], False),
    ],
)
def test_what_a_loss_can_learn_from(name: LossName, label: list[float], learned: bool) -> None:
    assert teaches(torch.tensor([label]), name).tolist() == [learned]
    scores = torch.tensor([[0.1, 0.0]], requires_grad=True)
    label_loss(scores, torch.tensor([label]), name).sum().backward()
    assert bool(scores.grad.any()) == learned
