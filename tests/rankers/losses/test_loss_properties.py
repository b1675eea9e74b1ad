import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rankers.losses.label_losses import LABEL_LOSSES, label_loss
from rankers.losses.masking import Loss

Lists = tuple[np.ndarray, np.ndarray, np.ndarray]

LOSSES = {name: row.loss for name, row in LABEL_LOSSES.items()}

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
    """The value of each list, and the gradient of their sum."""
    scores = scores.clone().requires_grad_()
    values = loss(scores, labels, **options)
    return values.detach(), torch.autograd.grad(values.sum(), scores)[0]


@EVERY_LOSS
def test_weights_of_lists_are_weights_of_their_documents(loss: Loss) -> None:
    scores, labels = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    of_lists = loss(scores, labels, weights=torch.tensor([[2.0], [3.0]]))
    of_documents = loss(scores, labels, weights=torch.tensor([[2.0, 2.0], [3.0, 3.0]]))
    assert of_lists.tolist() == of_documents.tolist()


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
    per_list = loss(scores, labels, where=where)
    assert per_list.shape == scores.shape[:-1]
    for place in np.ndindex(per_list.shape):
        kept = where[place]
        alone = loss(scores[place][kept], labels[place][kept])
        assert per_list[place].item() == pytest.approx(alone.item(), abs=1e-9)


@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_what_a_loss_is_divided_by_passes_over_what_is_unknown(name: str) -> None:
    scores, labels = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 1.0, 0.5]])
    padded = torch.tensor([[1.0, 2.0, 0.5, 9.0], [9.0, 9.0, 9.0, 9.0]])
    unknown = math.nan
    padded_labels = torch.tensor([[0.0, 1.0, 0.5, unknown], [unknown] * 4])
    value = label_loss(padded, padded_labels, name)
    assert value.tolist() == pytest.approx([label_loss(scores, labels, name).item(), 0.0], rel=1e-6)


@EVERY_LOSS
@pytest.mark.parametrize("shape", [(1, 2), (3, 0), (0, 3), (0,), (2, 0, 3)])
def test_empty_lists_give_zero(loss: Loss, shape: tuple[int, ...]) -> None:
    scores, where = torch.full(shape, 3.0), torch.zeros(shape, dtype=torch.bool)
    value, gradient = value_and_gradient(loss, scores, torch.ones(shape), where=where)
    assert value.shape == shape[:-1]
    assert (value == 0).all()
    assert (gradient == 0).all()


@EVERY_LOSS_OF_A_LIST
@settings(max_examples=30)
@given(lists=LISTS)
def test_lists_without_a_relevant_document_give_zero(loss: Loss, lists: Lists) -> None:
    scores, _, where = (torch.tensor(array) for array in lists)
    value, gradient = value_and_gradient(loss, scores, torch.zeros_like(scores), where=where)
    assert (value == 0).all()
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
    torch.testing.assert_close(shifted, value, atol=1e-9, rtol=1e-6)
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
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()


@EVERY_LOSS
def test_gradients_are_those_of_the_values(loss: Loss) -> None:
    generator = torch.Generator().manual_seed(7)
    scores, weights = torch.randn(2, 2, 3, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 4, (2, 3, 5), generator=generator).double() / 3
    where = torch.rand(2, 3, 5, generator=generator) < 0.8
    assert torch.autograd.gradcheck(
        lambda given: loss(given, labels, where=where, weights=weights.exp()),
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
    expected = loss(scores.double(), labels.double())
    assert value.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@EVERY_LOSS
def test_no_value_is_waited_for(loss: Loss) -> None:
    """A tensor without data raises where a loss would read a value, or branch on one."""
    scores = torch.empty(2, 3, device="meta")
    where = torch.empty(2, 3, dtype=torch.bool, device="meta")
    assert loss(scores, scores, where=where, weights=scores).shape == (2,)
