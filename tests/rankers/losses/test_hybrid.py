from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rankers.batch import Labels, ListBatch, MicroBatches
from rankers.losses.hybrid import Objective, ObjectiveValue, signal_shares
from rankers.losses.label_losses import LABEL_LOSSES
from rankers.losses.listwise import softmax_loss
from rankers.losses.pointwise import pointwise_mse_loss
from rankers.mixes import Constant, Mix, Traffic
from rankers.settings import LossName

SCORES = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]])
CLICKS = torch.tensor([[0.2, 0.0, 0.6], [torch.nan, torch.nan, torch.nan]])
EQUAL = torch.ones(2, 3)
GRADES = torch.tensor([[1.0, 0.0, torch.nan], [0.5, 0.5, 0.0]])


class Given(Mix):
    """Click weights by hand, and which lists are covered."""

    def __init__(self, weight: Tensor, covered: list[bool] | None = None) -> None:
        self.weight, self.covered = weight, covered

    def __call__(self, progress: float, traffic: Traffic) -> Tensor:
        return self.weight

    def covers(self, progress: float, traffic: Traffic) -> Tensor:
        return torch.tensor(self.covered or [True] * len(self.weight))


def mixed(
    scores: Tensor,
    clicks: Tensor,
    grades: Tensor,
    grade_weight: Tensor,
    click_weight: Tensor | Mix,
    loss: LossName,
    **settings: Any,
) -> ObjectiveValue:
    mix = click_weight if isinstance(click_weight, Mix) else Given(click_weight)
    objective = Objective(mix, loss, highest_grade=1, **settings)
    batch = batch_of(clicks, grades, grade_weight, [4, 16][: len(scores)])
    value: ObjectiveValue = objective(scores[..., None], batch, 0.0)
    return value


def batch_of(
    clicks: Tensor,
    grades: Tensor,
    grade_weight: Tensor | None = None,
    frequency: list[int] | None = None,
) -> ListBatch:
    """Lists with labels, by default searched once, twice and so on; without their texts."""
    lists = len(clicks)
    searches = torch.tensor(list(range(1, lists + 1)) if frequency is None else frequency)
    if grade_weight is None:
        grade_weight = torch.where(grades.isnan(), torch.nan, 1.0)
    return ListBatch(
        rows=np.arange(lists),
        micro_batches=MicroBatches([], np.arange(0), 0, 0),
        slots=torch.arange(0),
        where=torch.ones(clicks.shape, dtype=torch.bool),
        traffic=Traffic(searches, torch.zeros(lists, dtype=torch.int64), torch.zeros(lists)),
        labels=Labels(clicks, grades, grade_weight),
    )


def test_mixes_the_two_losses_of_each_list() -> None:
    weight = torch.tensor([0.25, 0.75])
    value = mixed(SCORES, CLICKS, GRADES, EQUAL, weight, "softmax")
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
        mixed(scores, clicks, grades, EQUAL, weight, "pointwise_mse").loss.backward()
        gradients.append(scores.grad)
    assert torch.equal(*gradients)


def test_pointwise_labels_are_clipped_to_one() -> None:
    clicks = torch.tensor([[4.0, 0.0, 0.0]])
    value = mixed(
        SCORES[:1],
        clicks,
        torch.full((1, 3), torch.nan),
        EQUAL[:1],
        torch.ones(1),
        "pointwise_mse",
    )
    expected = pointwise_mse_loss(SCORES[:1], torch.tensor([[1.0, 0.0, 0.0]])) / 3
    assert value.loss.item() == pytest.approx(expected.item())


def test_an_annotation_counts_by_its_weight() -> None:
    grades = torch.tensor([[1.0, 0.5, torch.nan]])
    weight = torch.tensor([[0.5, 0.25, torch.nan]])
    value = mixed(
        SCORES[:1], torch.full((1, 3), torch.nan), grades, weight, torch.zeros(1), "softmax"
    )
    log_shares = torch.log_softmax(SCORES[0, :2], dim=-1)
    expected = -(0.5 * (1 / 1.5) * log_shares[0] + 0.25 * (0.5 / 1.5) * log_shares[1])
    assert value.loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("loss", LABEL_LOSSES)
def test_lists_that_neither_signal_knows_teach_nothing(loss: LossName) -> None:
    scores = SCORES.clone().requires_grad_()
    unknown = torch.full((2, 3), torch.nan)
    value = mixed(scores, unknown, unknown, unknown, torch.full((2,), 0.5), loss).loss
    value.backward()
    assert value.item() == 0
    assert (scores.grad == 0).all()


def test_what_a_stage_does_not_cover_teaches_nothing() -> None:
    mix = Given(torch.tensor([0.25, 0.75]), covered=[False, True])
    value = mixed(SCORES, CLICKS, GRADES, EQUAL, mix, "softmax")
    expected = 0.25 * softmax_loss(SCORES[1], torch.tensor([0.5, 0.5, 0.0]))
    assert value.loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("query_weight", "mean_power", "weights"),
    [("query", 1.0, [1, 1]), ("square_root", 3.0, [2 / 3, 4 / 3]), ("session", 10.0, [0.4, 1.6])],
)
def test_queries_weigh_in_the_click_loss_by_their_searches(
    query_weight: str, mean_power: float, weights: list[float]
) -> None:
    clicks = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    settings = {"query_weight": query_weight, "mean_power": mean_power}
    value = mixed(SCORES, clicks, GRADES, EQUAL, torch.ones(2), "softmax", **settings)
    losses = softmax_loss(SCORES, clicks)
    assert value.loss.item() == pytest.approx(
        (torch.tensor(weights, dtype=torch.float32) @ losses).item(), rel=1e-6
    )


def test_balanced_losses_pull_alike() -> None:
    scores = SCORES.clone().requires_grad_()
    clicks = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    value = mixed(scores, clicks, GRADES, EQUAL, torch.full((2,), 0.5), "softmax", balance=True)
    # Each signal's mean loss is one, and there are two lists.
    assert value.loss.item() == pytest.approx(2.0, rel=1e-5)
    alone = mixed(SCORES, 7 * clicks, GRADES, EQUAL, torch.ones(2), "approx_ndcg", balance=True)
    assert abs(alone.loss.item()) == pytest.approx(2.0, rel=1e-5)


def test_each_head_learns_from_its_signal() -> None:
    scores = torch.stack([SCORES, SCORES.flip(1)], dim=-1).requires_grad_()
    objective = Objective(Given(torch.tensor([0.25, 0.25])), "softmax", highest_grade=1)
    value = objective(scores, batch_of(CLICKS, GRADES, EQUAL, [4, 16]), 0.0)
    click, annotation = (
        mixed(score, CLICKS, GRADES, EQUAL, torch.full((2,), weight), "softmax").loss
        for score, weight in ((SCORES, 1.0), (SCORES.flip(1), 0.0))
    )
    assert value.loss.item() == pytest.approx((0.25 * click + 0.75 * annotation).item(), rel=1e-6)
    value.loss.backward()
    # The second list has no clicks, so its click head has nothing to learn from.
    assert (scores.grad[1, :, 0] == 0).all()
    assert (scores.grad[1, :, 1] != 0).any()


UNKNOWN = torch.full((10, 3), torch.nan)


def step_gradient(
    objective: Objective, scores: Tensor, clicks: Tensor, grades: Tensor, parts: int
) -> Tensor:
    """The gradient of a step in so many parts, as workers and accumulation have it."""
    scores = scores.clone().requires_grad_()
    rows = torch.arange(len(scores)).tensor_split(parts)
    batches = [batch_of(clicks[part], grades[part]) for part in rows]
    weights = torch.stack([objective.weights(batch, 0.0) for batch in batches]).sum(0)
    for part, batch in zip(rows, batches, strict=True):
        value = objective(scores[part][..., None], batch, 0.0, signal_shares(weights))
        value.loss.backward()
    assert scores.grad is not None
    return scores.grad


@pytest.mark.parametrize("unlabelled", [torch.nan, 0.0])
@pytest.mark.parametrize("parts", [1, 3, 12])
def test_with_thirty_percent_clicked_the_gradient_is_that_of_the_mean_over_the_clicked(
    parts: int, unlabelled: float
) -> None:
    scores = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    clicks = torch.full((10, 3), unlabelled)
    clicks[[1, 4, 8]] = torch.tensor([0.02, 0.0, 0.01])
    objective = Objective(Constant(1.0), "softmax", highest_grade=1)
    gradient = step_gradient(objective, scores, clicks, UNKNOWN, parts)
    expected = scores[[1, 4, 8]].clone().requires_grad_()
    softmax_loss(expected, torch.tensor([[2 / 3, 0.0, 1 / 3]] * 3)).mean().backward()
    torch.testing.assert_close(gradient[[1, 4, 8]], expected.grad)
    assert gradient.abs().sum() == gradient[[1, 4, 8]].abs().sum()


@pytest.mark.parametrize("parts", [1, 4])
def test_each_signal_is_the_mean_over_its_lists_times_the_mean_click_weight(parts: int) -> None:
    scores = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    clicks, grades = UNKNOWN.clone(), UNKNOWN.clone()
    clicks[:3] = torch.tensor([1.0, 0.0, 0.0])
    grades[2:7] = torch.tensor([0.0, 1.0, 0.5])
    objective = Objective(Constant(0.4), "softmax", highest_grade=1)
    gradient = step_gradient(objective, scores, clicks, grades, parts)
    expected = scores.clone().requires_grad_()
    click = softmax_loss(expected[:3], clicks[:3]).mean()
    annotation = softmax_loss(expected[2:7], grades[2:7] / 1.5).mean()
    (0.4 * click + 0.6 * annotation).backward()
    torch.testing.assert_close(gradient, expected.grad)


def test_where_all_lists_have_both_labels_a_step_is_the_mean_over_lists() -> None:
    weights = torch.tensor([[0.3 + 0.9, 0.3 + 0.9], [0.7 + 0.1, 0.7 + 0.1]])
    assert signal_shares(weights).tolist() == pytest.approx([0.5, 0.5])


def test_no_list_weighs_more_than_it_would_alone() -> None:
    """Seven lists at 0.99 without clicks do not make one at 0.01 speak for them."""
    shares = signal_shares(torch.tensor([[7 * 0.99 + 0.01, 0.01], [7 * 0.01 + 0.99, 0.0]]))
    assert shares.tolist() == [1.0, 0.0]


def test_a_hinge_without_loss_counts_in_the_mean() -> None:
    """What has labels is covered, also where nothing is left to learn."""
    scores = torch.tensor([[5.0, 0.0], [0.0, 0.0]])
    clicks = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    objective = Objective(Constant(1.0), "pairwise_hinge", highest_grade=1, balance=True)
    value = objective(scores[..., None], batch_of(clicks, clicks), 0.0)
    assert value.clicked.item() == 2
    assert objective.usual.tolist() == [[1.0, 2.0], [1.0, 2.0]]


META = torch.device("meta")


@pytest.mark.parametrize("loss", LABEL_LOSSES)
def test_labels_are_learned_from_on_the_device_of_the_scores(loss: LossName) -> None:
    """The meta device refuses what mixes devices, as a GPU does; it holds no values."""
    objective = Objective(Constant(0.5), loss, highest_grade=1, balance=True).to(META)
    scores = torch.zeros(2, 3, 1, device=META, requires_grad=True)
    value = objective(scores, batch_of(CLICKS, GRADES).to(META), 0.0, torch.ones(2))
    value.loss.backward()
    assert {value.loss.device, objective.usual.device, scores.grad.device} == {META}
