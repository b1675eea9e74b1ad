import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rankers.losses import (
    LOSSES,
    Loss,
    approx_ndcg_loss,
    lambdarank_loss,
    listmle_loss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
    pointwise_mse_loss,
    pointwise_sigmoid_loss,
    softmax_loss,
)

Lists = tuple[np.ndarray, np.ndarray, np.ndarray]

POINTWISE = [loss for name, loss in LOSSES.items() if name.startswith("pointwise")]
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
EVERY_LOSS_OF_A_LIST = pytest.mark.parametrize(
    "loss", [pytest.param(loss, id=name) for name, loss in LOSSES.items() if loss not in POINTWISE]
)
LABELS = st.integers(0, 16).map(lambda quarters: quarters / 4)
LISTS = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=st.floats(-8, 8, width=32)),
        hnp.arrays(np.float32, shape, elements=LABELS),
        hnp.arrays(np.bool_, shape),
    )
)
ANYTHING = st.sampled_from([math.nan, math.inf, -math.inf, 1e30, -5.0, 0.0])


def value_and_gradient(
    loss: Loss, scores: Tensor, labels: Tensor, **options: object
) -> tuple[Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    value = loss(scores, labels, **options)
    return value.detach(), torch.autograd.grad(value, scores)[0]


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
    assert pairwise_logistic_loss(scores, labels).item() == pytest.approx(np.mean(logistic))
    assert pairwise_hinge_loss(scores, labels).item() == pytest.approx((3 + 2.5) / 2)
    weights = torch.tensor([[4.0, 9.0, 9.0]])
    assert pairwise_hinge_loss(
        scores, labels, weights=weights, reduction="sum"
    ).item() == pytest.approx(4 * (3 + 2.5))


@given(lists=LISTS, weighted=st.booleans())
def test_lambdarank_loss_as_loops_compute_it(lists: Lists, weighted: bool) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    weights = 0.5 + torch.arange(scores.numel()).reshape(scores.shape) if weighted else None
    flat = (-1, scores.shape[-1]) if scores.numel() else (0, 1)
    given_weights = torch.ones_like(scores) if weights is None else weights
    expected = [
        _lambdarank_of_a_list(
            *zip(*((s, y, w) for s, y, w, m in zip(*rows, strict=True) if m), strict=True)
        )
        for rows in zip(
            *(tensor.reshape(flat).tolist() for tensor in (scores, labels, given_weights, where)),
            strict=True,
        )
        if any(rows[3])
    ]
    value = lambdarank_loss(scores, labels, where=where, weights=weights)
    assert value.item() == pytest.approx(sum(expected) / max(len(expected), 1), rel=1e-4, abs=1e-6)


def _lambdarank_of_a_list(
    scores: tuple[float, ...], labels: tuple[float, ...], weights: tuple[float, ...]
) -> float:
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
    assert pointwise_sigmoid_loss(scores, labels).item() == pytest.approx(np.mean(entropy))
    assert pointwise_mse_loss(scores, labels).item() == pytest.approx((1 + 1.5**2) / 2)


def test_pointwise_sigmoid_loss_clips_labels() -> None:
    scores = torch.tensor([[0.5, -2.0]])
    clipped = pointwise_sigmoid_loss(scores, torch.tensor([[1.0, 0.0]]))
    assert pointwise_sigmoid_loss(scores, torch.tensor([[3.0, -1.0]])).item() == clipped.item()


def test_weights_scale_documents() -> None:
    scores, labels = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    doubled = softmax_loss(scores, labels, weights=torch.tensor([[2.0, 5.0]]))
    assert doubled.item() == pytest.approx(2 * softmax_loss(scores, labels).item())
    only_first = pointwise_mse_loss(
        scores, labels + 1, weights=torch.tensor([[1.0, 0.0]]), reduction="sum"
    )
    assert only_first.item() == pytest.approx(1.0)


@EVERY_LOSS
def test_weights_of_lists_are_weights_of_their_documents(loss: Loss) -> None:
    scores, labels = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    of_lists = loss(scores, labels, weights=torch.tensor([[2.0], [3.0]]))
    of_documents = loss(scores, labels, weights=torch.tensor([[2.0, 2.0], [3.0, 3.0]]))
    assert of_lists.item() == of_documents.item()


@EVERY_LOSS
@settings(max_examples=30)
@given(lists=LISTS, other=st.tuples(ANYTHING, ANYTHING, ANYTHING))
def test_masked_documents_have_no_influence(
    loss: Loss, lists: Lists, other: tuple[float, float, float]
) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    weights = torch.linspace(0.5, 2, max(scores.shape[-1], 1))[: scores.shape[-1]].expand_as(scores)
    expected = value_and_gradient(loss, scores, labels, where=where, weights=weights)
    spoiled = (
        given.masked_fill(~where, fill)
        for given, fill in zip((scores, labels, weights), other, strict=True)
    )
    scores, labels, weights = spoiled
    value, gradient = value_and_gradient(loss, scores, labels, where=where, weights=weights)
    assert torch.equal(value, expected[0])
    assert torch.equal(gradient, expected[1])
    assert (gradient[~where] == 0).all()
    assert torch.isfinite(gradient).all()


@EVERY_LOSS
@settings(max_examples=30)
@given(lists=LISTS)
def test_a_masked_list_is_as_one_that_never_held_the_masked_documents(
    loss: Loss, lists: Lists
) -> None:
    scores, labels, where = (torch.tensor(array, dtype=torch.float64) for array in lists)
    where = where.bool()
    per_list = loss(scores, labels, where=where, reduction="none")
    assert per_list.shape == scores.shape[:-1]
    for place in np.ndindex(per_list.shape):
        kept = where[place]
        alone = loss(scores[place][kept], labels[place][kept], reduction="sum")
        assert per_list[place].item() == pytest.approx(alone.item(), abs=1e-9)


@EVERY_LOSS
@settings(max_examples=30)
@given(lists=LISTS)
def test_reductions_agree(loss: Loss, lists: Lists) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    per_list = loss(scores, labels, where=where, reduction="none")
    total = loss(scores, labels, where=where, reduction="sum")
    assert torch.isfinite(per_list).all()
    assert total.item() == pytest.approx(per_list.sum().item(), rel=1e-5, abs=1e-5)


@EVERY_LOSS
def test_a_mean_passes_over_what_is_masked(loss: Loss) -> None:
    scores, labels = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 1.0, 0.5]])
    padded = torch.tensor([[1.0, 2.0, 0.5, 9.0], [9.0, 9.0, 9.0, 9.0]])
    padded_labels = torch.tensor([[0.0, 1.0, 0.5, 9.0], [9.0, 0.0, 9.0, 9.0]])
    where = torch.tensor([[True, True, True, False], [False, False, False, False]])
    value = loss(padded, padded_labels, where=where)
    assert value.item() == pytest.approx(loss(scores, labels).item(), rel=1e-6)


@EVERY_LOSS
@pytest.mark.parametrize("shape", [(1, 2), (3, 0), (0, 3), (0,), (2, 0, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_empty_lists_give_zero(loss: Loss, shape: tuple[int, ...], reduction: str) -> None:
    scores, where = torch.full(shape, 3.0), torch.zeros(shape, dtype=torch.bool)
    value, gradient = value_and_gradient(
        loss, scores, torch.ones(shape), where=where, reduction=reduction
    )
    assert value.item() == 0
    assert (gradient == 0).all()


@EVERY_LOSS_OF_A_LIST
@settings(max_examples=30)
@given(lists=LISTS)
def test_lists_without_a_relevant_document_give_zero(loss: Loss, lists: Lists) -> None:
    scores, _, where = (torch.tensor(array) for array in lists)
    value, gradient = value_and_gradient(loss, scores, torch.zeros_like(scores), where=where)
    assert value.item() == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("loss", POINTWISE)
def test_pointwise_losses_learn_from_labels_that_are_all_zero(loss: Loss) -> None:
    _, gradient = value_and_gradient(loss, torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    assert (gradient > 0).all()


@EVERY_LOSS
@settings(max_examples=30)
@given(data=st.data(), documents=st.integers(1, 6))
def test_the_order_of_documents_does_not_matter(
    loss: Loss, data: st.DataObject, documents: int
) -> None:
    values = st.lists(st.integers(-40, 40), min_size=documents, max_size=documents, unique=True)
    scores = torch.tensor(data.draw(values), dtype=torch.float64) / 8
    labels = torch.tensor(data.draw(values), dtype=torch.float64).abs() / 16
    labels = labels + torch.arange(documents) * 1e-3
    order = data.draw(st.permutations(range(documents)))
    value, gradient = value_and_gradient(loss, scores, labels)
    permuted, permuted_gradient = value_and_gradient(loss, scores[order], labels[order])
    assert permuted.item() == pytest.approx(value.item(), abs=1e-9)
    assert torch.allclose(permuted_gradient, gradient[order])


@EVERY_LOSS_OF_A_LIST
@settings(max_examples=30)
@given(shift=st.integers(-50, 50), lists=LISTS)
def test_a_shift_of_all_scores_does_not_matter(loss: Loss, shift: int, lists: Lists) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    # To sixteenths, so that the shift makes no scores equal that were not.
    scores = (scores.double() * 16).round() / 16
    value, gradient = value_and_gradient(loss, scores, labels, where=where)
    shifted, shifted_gradient = value_and_gradient(loss, scores + shift, labels, where=where)
    assert shifted.item() == pytest.approx(value.item(), abs=1e-9)
    assert torch.allclose(gradient, shifted_gradient)


@EVERY_LOSS
@settings(max_examples=30)
@given(lists=LISTS, scale=st.sampled_from([1.0, 1e4]), label_scale=st.sampled_from([1, 200, 1e-40]))
def test_gradients_of_large_scores_and_labels_are_finite(
    loss: Loss, lists: Lists, scale: float, label_scale: float
) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    scores = scores.sign() * scale
    value, gradient = value_and_gradient(loss, scores, labels * label_scale, where=where)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()


@EVERY_LOSS
def test_gradients_are_those_of_the_values(loss: Loss) -> None:
    generator = torch.Generator().manual_seed(7)
    scores, weights = torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 4, (2, 3, 5), generator=generator).double() / 3
    where = torch.rand(2, 3, 5, generator=generator) < 0.8
    assert torch.autograd.gradcheck(
        lambda given: loss(given, labels, where=where, weights=weights.exp(), reduction="none"),
        scores.requires_grad_(),
    )


@EVERY_LOSS
@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_computed_in_single(
    loss: Loss, dtype: torch.dtype, result: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(4, 300, generator=generator).to(dtype)
    labels = torch.randint(0, 4, scores.shape, generator=generator).to(dtype)
    value, gradient = value_and_gradient(loss, scores, labels)
    assert value.dtype == result
    assert gradient.dtype == dtype
    assert value.item() == pytest.approx(loss(scores.double(), labels.double()).item(), rel=1e-5)


@EVERY_LOSS
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_value_is_waited_for(loss: Loss, reduction: str) -> None:
    """A tensor without data raises where a loss would read a value, or branch on one."""
    scores = torch.empty(2, 3, device="meta")
    where = torch.empty(2, 3, dtype=torch.bool, device="meta")
    value = loss(scores, scores, where=where, weights=scores, reduction=reduction)
    assert value.shape == ((2,) if reduction == "none" else ())
