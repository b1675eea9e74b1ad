import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankers.losses import LOSSES, Loss, pointwise_mse_loss, pointwise_sigmoid_loss, softmax_loss

LISTS = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=st.floats(-8, 8, width=32)),
        hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.bool_, shape),
    )
)
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def test_softmax_loss_by_hand() -> None:
    scores, labels = torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    total = math.exp(2) + math.exp(1) + math.exp(3)
    expected = -(math.log(math.exp(2) / total) + 2 * math.log(math.exp(3) / total))
    assert softmax_loss(scores, labels).item() == pytest.approx(expected, rel=1e-6)


def test_pointwise_losses_by_hand() -> None:
    scores, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.5]])
    sigmoid = 1 / (1 + math.exp(-2))
    entropy = [math.log(2), -0.5 * math.log(sigmoid) - 0.5 * math.log(1 - sigmoid)]
    assert pointwise_sigmoid_loss(scores, labels).item() == pytest.approx(np.mean(entropy))
    assert pointwise_mse_loss(scores, labels).item() == pytest.approx((1 + 1.5**2) / 2)


def test_weights_scale_documents() -> None:
    scores, labels = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    doubled = softmax_loss(scores, labels, weights=torch.tensor([[2.0, 5.0]]))
    assert doubled.item() == pytest.approx(2 * softmax_loss(scores, labels).item())
    only_first = pointwise_mse_loss(
        scores, labels + 1, weights=torch.tensor([[1.0, 0.0]]), reduction="sum"
    )
    assert only_first.item() == pytest.approx(1.0)


@EVERY_LOSS
@given(lists=LISTS)
def test_masked_documents_have_no_influence(
    loss: Loss, lists: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    scores.requires_grad_()
    other_scores = torch.where(where, scores, 100.0).detach().requires_grad_()
    other_labels = torch.where(where, labels, 1.0)
    value = loss(scores, labels, where=where)
    other = loss(other_scores, other_labels, where=where)
    assert value.item() == pytest.approx(other.item(), rel=1e-5, abs=1e-6)
    value.backward()
    other.backward()
    assert torch.allclose(scores.grad, other_scores.grad, atol=1e-6)
    assert (scores.grad[~where] == 0).all()


@EVERY_LOSS
@given(lists=LISTS)
def test_reductions_agree_and_are_finite(
    loss: Loss, lists: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    per_list = loss(scores, labels, where=where, reduction="none")
    assert per_list.shape == scores.shape[:-1]
    assert torch.isfinite(per_list).all()
    total = loss(scores, labels, where=where, reduction="sum")
    assert total.item() == pytest.approx(per_list.sum().item(), rel=1e-5, abs=1e-5)


@EVERY_LOSS
def test_empty_lists_give_zero(loss: Loss) -> None:
    scores = torch.tensor([[1.0, -2.0]], requires_grad=True)
    value = loss(scores, torch.ones(1, 2), where=torch.zeros(1, 2, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert (scores.grad == 0).all()


def test_a_list_without_a_relevant_document_gives_softmax_nothing_to_learn() -> None:
    scores = torch.tensor([[1.0, -2.0]], requires_grad=True)
    value = softmax_loss(scores, torch.zeros(1, 2))
    value.backward()
    assert value.item() == 0
    assert (scores.grad == 0).all()


@given(shift=st.floats(-50, 50), lists=LISTS)
def test_softmax_loss_ignores_a_shift_of_all_scores(
    shift: float, lists: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    scores, labels, where = (torch.tensor(array) for array in lists)
    value = softmax_loss(scores, labels, where=where)
    shifted = softmax_loss(scores + shift, labels, where=where)
    assert value.item() == pytest.approx(shifted.item(), rel=1e-4, abs=1e-4)
