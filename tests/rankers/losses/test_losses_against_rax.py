"""Losses against values that Rax computed, in float64, with rax 0.4.0 and jax 0.5.3.

Each value comes of ``loss(scores, labels, **options, reduce_fn=reduce)``, with ``jax.numpy.mean``
and ``jax.numpy.sum``, and `loss` one of

    rax.softmax_loss, rax.listmle_loss, rax.pairwise_logistic_loss, rax.pairwise_hinge_loss,
    rax.pointwise_sigmoid_loss, rax.pointwise_mse_loss,
    rax.approx_t12n(rax.ndcg_metric),
    functools.partial(rax.pairwise_logistic_loss,
        lambdaweight_fn=functools.partial(rax.dcg_lambdaweight, normalize=True))

A mean is over lists that hold a document for softmax, ListMLE and approximate nDCG, over pairs with
an order for pairwise losses, and over documents for pointwise ones. That is counted here, as
Tandem's losses are a sum for each list.

The last is LambdaRank. Rax multiplies it by the list's length, 5, and takes its mean over pairs, so
only its sum is compared. Rax's ListMLE takes no weights.
"""

import pytest
import torch

from rankers.losses.label_losses import LABEL_LOSSES

SCORES = [[0.3, -1.2, 2.5, 0.7, 1.1], [1.5, 1.5, -0.4, 0.2, -2.0], [0.6, 0.1, -0.3, 4.0, 1.0]]
LABELS = [[1.0, 0.0, 3.0, 0.0, 2.0], [0.25, 1.0, 0.5, 0.0, 0.5], [2.0, 0.0, 1.0, 0.0, 0.0]]
WHERE = [[True] * 5, [True, True, False, True, True], [False] * 5]
WEIGHTS = [[1.0, 0.5, 2.0, 1.5, 0.25], [0.75, 1.0, 3.0, 0.5, 2.0], [1.0, 1.0, 1.0, 1.0, 1.0]]

OPTIONS = {
    "plain": {},
    "masked": {"where": torch.tensor(WHERE)},
    "weighted": {
        "where": torch.tensor(WHERE),
        "weights": torch.tensor(WEIGHTS, dtype=torch.float64),
    },
}
MEANS_AND_SUMS = {
    ("softmax", "plain"): (7.923237483, 23.769712450),
    ("softmax", "masked"): (5.414605143, 10.829210286),
    ("softmax", "weighted"): (5.749506429, 11.499012858),
    ("listmle", "plain"): (7.785013601, 23.355040803),
    ("listmle", "masked"): (4.555891671, 9.111783342),
    ("pairwise_logistic", "plain"): (0.991263057, 24.781576429),
    ("pairwise_logistic", "masked"): (0.642449290, 9.636739344),
    ("pairwise_logistic", "weighted"): (1.011965075, 15.179476118),
    ("pairwise_hinge", "plain"): (1.232, 30.8),
    ("pairwise_hinge", "masked"): (0.726666667, 10.9),
    ("pairwise_hinge", "weighted"): (1.2, 18.0),
    ("approx_ndcg", "plain"): (-0.680905815, -2.042717445),
    ("approx_ndcg", "masked"): (-0.766118915, -1.532237831),
    ("approx_ndcg", "weighted"): (-0.748085715, -1.496171430),
    ("pointwise_sigmoid", "plain"): (0.921373932, 13.820608979),
    ("pointwise_sigmoid", "masked"): (0.637771362, 5.739942256),
    ("pointwise_sigmoid", "weighted"): (0.713281949, 6.419537545),
    ("pointwise_mse", "plain"): (2.2035, 33.0525),
    ("pointwise_mse", "masked"): (1.286944444, 11.5825),
    ("pointwise_mse", "weighted"): (1.843263889, 16.589375),
}
LAMBDARANK_SUMS = {"plain": 16.778205535, "masked": 3.856703465, "weighted": 12.440049434}
# The gradient of the weighted sum with respect to the first list's scores.
WEIGHTED_GRADIENTS = {
    "softmax": [-0.46296266, 0.11982923, -1.15323073, 0.80116557, 0.69519859],
    "pairwise_logistic": [-0.50410583, 0.25346031, -0.92708937, 0.98271787, 0.19501702],
    "pairwise_hinge": [-0.75, 0.0, 0.0, 1.25, -0.5],
    "approx_ndcg": [0.02688306, 0.0088117, -0.12579089, 0.04188071, 0.04821543],
    "pointwise_sigmoid": [-0.42555748, 0.11573761, -0.15171636, 1.00228166, -0.06243497],
    "pointwise_mse": [-1.4, -1.2, -2.0, 2.1, -0.45],
}


@pytest.mark.parametrize(("loss", "case"), MEANS_AND_SUMS)
def test_means_and_sums(loss: str, case: str) -> None:
    scores, labels = torch.tensor([SCORES, LABELS], dtype=torch.float64)
    mean, total = MEANS_AND_SUMS[loss, case]
    values = LABEL_LOSSES[loss].loss(scores, labels, **OPTIONS[case])
    assert values.sum().item() == pytest.approx(total, abs=1e-8)
    terms = count_terms(loss, WHERE if case != "plain" else [[True] * 5] * 3)
    assert values.sum().item() / terms == pytest.approx(mean, abs=1e-8)


def count_terms(loss: str, where: list[list[bool]]) -> int:
    """What Rax's mean is over."""
    known = [
        [label for label, here in zip(*row, strict=True) if here]
        for row in zip(LABELS, where, strict=True)
    ]
    if loss.startswith("pointwise"):
        return sum(len(labels) for labels in known)
    if loss.startswith("pairwise"):
        return sum(better > worse for labels in known for better in labels for worse in labels)
    return sum(bool(labels) for labels in known)


@pytest.mark.parametrize("case", LAMBDARANK_SUMS)
def test_lambdarank(case: str) -> None:
    scores, labels = torch.tensor([SCORES, LABELS], dtype=torch.float64)
    values = LABEL_LOSSES["lambdarank"].loss(scores, labels, **OPTIONS[case])
    assert 5 * values.sum().item() == pytest.approx(LAMBDARANK_SUMS[case], abs=1e-8)


@pytest.mark.parametrize("loss", WEIGHTED_GRADIENTS)
def test_gradients(loss: str) -> None:
    scores, labels = torch.tensor([SCORES, LABELS], dtype=torch.float64)
    scores.requires_grad_()
    LABEL_LOSSES[loss].loss(scores, labels, **OPTIONS["weighted"]).sum().backward()
    assert scores.grad[0].tolist() == pytest.approx(WEIGHTED_GRADIENTS[loss], abs=1e-7)
