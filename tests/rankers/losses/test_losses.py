import math

import numpy as np
import pytest
import torch

from rankers.losses.listwise import listmle_loss, softmax_loss
from rankers.losses.pairwise import (
    approx_ndcg_loss,
    lambdarank_loss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
)
from rankers.losses.pointwise import pointwise_mse_loss, pointwise_sigmoid_loss


def test_softmax_loss_by_hand() -> None:
    scores, labels = torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    total = math.exp(2) + math.exp(1) + math.exp(3)
    expected = -(math.log(math.exp(2) / total) + 2 * math.log(math.exp(3) / total))
    assert softmax_loss(scores, labels).item() == pytest.approx(expected, rel=1e-6)


def test_listmle_loss_by_hand() -> None:
    scores, labels = torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    first = math.log(math.exp(2) + math.exp(1) + math.exp(3)) - 3
    second = math.log(math.exp(2) + math.exp(1)) - 2
    assert listmle_loss(scores, labels).item() == pytest.approx(first + second, rel=1e-6)
    weights = torch.tensor([[3.0, 7.0, 0.5]])
    weighted = listmle_loss(scores, labels, weights=weights)
    assert weighted.item() == pytest.approx(0.5 * first + 3 * second, rel=1e-6)


def test_listmle_takes_equal_labels_in_the_order_given() -> None:
    scores = torch.tensor([[0.5, 2.0, -1.0]])
    tied = listmle_loss(scores, torch.tensor([[1.0, 1.0, 0.0]]))
    ordered = listmle_loss(scores, torch.tensor([[2.0, 1.0, 0.0]]))
    assert tied.item() == ordered.item()


def test_pairwise_losses_by_hand() -> None:
    scores, labels = torch.tensor([[0.0, 2.0, 1.5]]), torch.tensor([[2.0, 1.0, 1.0]])
    logistic = [math.log(1 + math.exp(2)), math.log(1 + math.exp(1.5))]
    assert pairwise_logistic_loss(scores, labels).item() == pytest.approx(sum(logistic))
    assert pairwise_hinge_loss(scores, labels).item() == pytest.approx(3 + 2.5)
    weights = torch.tensor([[4.0, 9.0, 9.0]])
    weighted = pairwise_hinge_loss(scores, labels, weights=weights)
    assert weighted.item() == pytest.approx(4 * (3 + 2.5))


@pytest.mark.parametrize("shape", [(1,), (5,), (4, 2), (2, 3, 9)])
@pytest.mark.parametrize("weighted", [False, True])
def test_lambdarank_loss_as_loops_compute_it(shape: tuple[int, ...], weighted: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    # Rounded, so that some scores are equal.
    scores = (4 * torch.randn(shape, generator=generator)).round() / 2
    labels = torch.randint(0, 9, shape, generator=generator) / 2
    where = torch.rand(shape, generator=generator) < 0.8
    weights = 0.5 + torch.rand(shape, generator=generator) if weighted else torch.ones(shape)
    per_list = lambdarank_loss(scores, labels, where=where, weights=weights)
    for place in np.ndindex(per_list.shape):
        kept = where[place]
        rows = (given[place][kept].tolist() for given in (scores, labels, weights))
        assert per_list[place].item() == pytest.approx(_lambdarank_of_a_list(*rows), rel=1e-4)


def _lambdarank_of_a_list(scores: list[float], labels: list[float], weights: list[float]) -> float:
    documents = range(len(scores))
    ranked = sorted(documents, key=lambda i: -scores[i])
    gains = [weight * (2**label - 1) for weight, label in zip(weights, labels, strict=True)]
    ideal = sum(gain / math.log2(2 + i) for i, gain in enumerate(sorted(gains, reverse=True)))

    def dcg(order: list[int]) -> float:
        return sum(gains[i] / math.log2(2 + place) for place, i in enumerate(order))

    total = 0.0
    for i in documents:
        for j in documents:
            if labels[i] > labels[j]:
                swapped = [{i: j, j: i}.get(k, k) for k in ranked]
                change = abs(dcg(ranked) - dcg(swapped)) / ideal
                total += weights[i] * change * math.log1p(math.exp(scores[j] - scores[i]))
    return total


def test_approx_ndcg_loss_by_hand() -> None:
    scores, labels = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]])
    ranks = [1 + 1 / (1 + math.exp(-1)), 1 + 1 / (1 + math.exp(1))]
    dcg = 3 / math.log2(1 + ranks[0]) + 1 / math.log2(1 + ranks[1])
    ideal = 3 + 1 / math.log2(3)
    assert approx_ndcg_loss(scores, labels).item() == pytest.approx(-dcg / ideal)


def test_approx_ndcg_nears_ndcg_where_scores_lie_far_apart() -> None:
    scores, labels = torch.tensor([[300.0, 100.0, 200.0]]), torch.tensor([[0.0, 1.0, 0.5]])
    gain = math.sqrt(2) - 1
    ndcg = (gain / math.log2(3) + 1 / 2) / (1 + gain / math.log2(3))
    assert approx_ndcg_loss(scores, labels).item() == pytest.approx(-ndcg)


def test_pointwise_losses_by_hand() -> None:
    scores, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.5]])
    sigmoid = 1 / (1 + math.exp(-2))
    entropy = [math.log(2), -0.5 * math.log(sigmoid) - 0.5 * math.log(1 - sigmoid)]
    assert pointwise_sigmoid_loss(scores, labels).item() == pytest.approx(sum(entropy))
    assert pointwise_mse_loss(scores, labels).item() == pytest.approx(1 + 1.5**2)


def test_pointwise_sigmoid_loss_clips_labels() -> None:
    scores = torch.tensor([[0.5, -2.0]])
    clipped = pointwise_sigmoid_loss(scores, torch.tensor([[1.0, 0.0]]))
    assert pointwise_sigmoid_loss(scores, torch.tensor([[3.0, -1.0]])).item() == clipped.item()


def test_weights_scale_documents() -> None:
    scores, labels = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    doubled = softmax_loss(scores, labels, weights=torch.tensor([[2.0, 5.0]]))
    assert doubled.item() == pytest.approx(2 * softmax_loss(scores, labels).item())
    only_first = pointwise_mse_loss(scores, labels + 1, weights=torch.tensor([[1.0, 0.0]]))
    assert only_first.item() == pytest.approx(1.0)
