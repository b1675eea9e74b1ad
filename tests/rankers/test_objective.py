import pytest
import torch

from rankers.losses import pointwise_mse_loss, softmax_loss
from rankers.objective import mixed_objective

SCORES = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]])
CLICKS = torch.tensor([[0.2, 0.0, 0.6], [torch.nan, torch.nan, torch.nan]])
EQUAL = torch.ones(2, 3)
GRADES = torch.tensor([[1.0, 0.0, torch.nan], [0.5, 0.5, 0.0]])


def test_mixes_the_two_losses_of_each_list() -> None:
    weight = torch.tensor([0.25, 0.75])
    value = mixed_objective(SCORES, CLICKS, GRADES, EQUAL, weight, "softmax")
    click = softmax_loss(SCORES[0], torch.tensor([0.25, 0.0, 0.75]))
    annotation = [
        softmax_loss(SCORES[0, :2], torch.tensor([1.0, 0.0])),
        softmax_loss(SCORES[1], torch.tensor([0.5, 0.5, 0.0])),
    ]
    expected = 0.25 * click + 0.75 * annotation[0] + 0.25 * annotation[1]
    assert value.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert value.click_loss.item() == pytest.approx(click.item(), rel=1e-6)
    assert value.annotation_loss.item() == pytest.approx(sum(annotation).item(), rel=1e-6)


@pytest.mark.parametrize("click_weight", [0.0, 1.0])
def test_a_signal_without_weight_has_no_gradient(click_weight: float) -> None:
    weight = torch.full((2,), click_weight)
    gradients = []
    for spoiled in (1.0, 3.0):
        scores = SCORES.clone().requires_grad_()
        clicks = CLICKS if click_weight else CLICKS * spoiled
        grades = GRADES if not click_weight else GRADES / spoiled
        mixed_objective(scores, clicks, grades, EQUAL, weight, "pointwise_mse").loss.backward()
        gradients.append(scores.grad)
    assert torch.equal(*gradients)


def test_pointwise_labels_are_clipped_to_one() -> None:
    clicks = torch.tensor([[4.0, 0.0, 0.0]])
    value = mixed_objective(
        SCORES[:1],
        clicks,
        torch.full((1, 3), torch.nan),
        EQUAL[:1],
        torch.ones(1),
        "pointwise_mse",
    )
    expected = pointwise_mse_loss(SCORES[:1], torch.tensor([[1.0, 0.0, 0.0]]))
    assert value.loss.item() == pytest.approx(expected.item())


def test_an_annotation_counts_by_its_weight() -> None:
    grades = torch.tensor([[1.0, 0.5, torch.nan]])
    weight = torch.tensor([[0.5, 0.25, torch.nan]])
    value = mixed_objective(
        SCORES[:1], torch.full((1, 3), torch.nan), grades, weight, torch.zeros(1), "softmax"
    )
    log_shares = torch.log_softmax(SCORES[0, :2], dim=-1)
    expected = -(0.5 * (1 / 1.5) * log_shares[0] + 0.25 * (0.5 / 1.5) * log_shares[1])
    assert value.loss.item() == pytest.approx(expected.item())
