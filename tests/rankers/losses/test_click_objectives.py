"""Objectives of clicks: values by hand, the bias that they learn, and what compaction keeps."""

import math
import tracemalloc
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from corpus.errors import InputError
from rankers.batch import Pages
from rankers.data.impressions import add_pages, refuse_unshown, shown_candidates
from rankers.data.padding import pad_pages
from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.losses.sessions import SessionLoss
from rankers.settings import ClickObjectiveName

NAMES: list[ClickObjectiveName] = list(get_args(ClickObjectiveName))
PROPENSITIES = torch.tensor([1.0, 0.5, 0.25])
SCORES = torch.tensor([[2.0, 1.0, 0.0]])
LOG_SHARES = SCORES[0] - math.log(math.e**2 + math.e + 1)


def one_page(clicks: list[float], document: tuple[int, ...] = (0, 1, 2)) -> list[Pages]:
    return [
        Pages(
            of_list=torch.tensor([0]),
            document=torch.tensor([document]),
            clicks=torch.tensor([clicks]),
            sessions=torch.tensor([1.0]),
        )
    ]


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("name", "clicks", "expected"),
    [
        ("naive", [0.0, 1.0, 1.0], -LOG_SHARES[1] - LOG_SHARES[2]),
        ("ipw", [0.0, 1.0, 1.0], -2 * LOG_SHARES[1] - 4 * LOG_SHARES[2]),
        ("self_normalised_ipw", [0.0, 1.0, 1.0], (-2 * LOG_SHARES[1] - 4 * LOG_SHARES[2]) / 6),
        ("dual_learning", [0.0, 1.0, 1.0], -LOG_SHARES[1] - LOG_SHARES[2]),
        ("regression_em", [0.0, 1.0, 0.0], (softplus(2) + softplus(-1) + math.log(2)) / 3),
        ("pairwise_debiasing", [0.0, 0.0, 1.0], softplus(2) + softplus(1)),
        ("propensity_ratio", [0.0, 0.0, 1.0], softplus(2) / 0.25 + softplus(1) * 0.5 / 0.25),
    ],
)
def test_values_by_hand(name: ClickObjectiveName, clicks: list[float], expected: float) -> None:
    loss = SessionLoss(name, positions=3, propensities=PROPENSITIES)
    assert loss(SCORES, one_page(clicks)).tolist() == pytest.approx([float(expected)], rel=1e-5)


def test_weights_are_clipped_and_the_last_propensity_goes_on() -> None:
    loss = SessionLoss("ipw", positions=4, propensities=PROPENSITIES, max_weight=3.0)
    assert loss.bias[0].tolist() == pytest.approx([1.0, 0.5, 1 / 3, 1 / 3])


@pytest.mark.parametrize("name", ["ipw", "self_normalised_ipw", "propensity_ratio"])
def test_a_position_of_unknown_propensity_has_no_part(name: ClickObjectiveName) -> None:
    unknown = SessionLoss(name, positions=3, propensities=torch.tensor([1.0, torch.nan, 0.25]))
    known = SessionLoss(name, positions=3, propensities=PROPENSITIES)
    without = one_page([1.0, 0.0, 1.0], document=(0, -1, 2))
    expected = known(SCORES, without).tolist()
    assert unknown(SCORES, one_page([1.0, 1.0, 1.0])).tolist() == pytest.approx(expected)
    beyond = SessionLoss(name, positions=5, propensities=torch.tensor([1.0, 0.5, torch.nan]))
    assert beyond.known.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_candidate_has_no_part(name: ClickObjectiveName) -> None:
    loss = SessionLoss(name, positions=3, propensities=PROPENSITIES)
    masked = one_page([1.0, 0.0, 1.0], document=(0, 1, -1))
    shorter = one_page([1.0, 0.0], document=(0, 1))
    assert loss(SCORES, masked).tolist() == pytest.approx(loss(SCORES, shorter).tolist())


@pytest.mark.parametrize("name", NAMES)
def test_a_list_without_sessions_has_no_loss(name: ClickObjectiveName) -> None:
    scores = torch.zeros(2, 3, requires_grad=True)
    loss = SessionLoss(name, positions=3, propensities=PROPENSITIES)
    values = loss(scores, one_page([1.0, 0.0, 0.0]))
    values.sum().backward()
    assert values[1] == 0
    assert scores.grad is not None
    assert scores.grad[1].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(scores.grad).all()


def lists_of(queries: int, documents: int) -> pa.Table:
    return pa.table(
        {
            "query_id": [f"q{query}" for query in range(queries)],
            "doc_ids": [[f"d{document}" for document in range(documents)]] * queries,
        }
    )


def sessions_table(rows: list[tuple[int, list[int], list[bool]]]) -> pa.Table:
    return pa.table(
        {
            "session_id": [f"s{row}" for row in range(len(rows))],
            "query_id": [f"q{query}" for query, _, _ in rows],
            "doc_ids": [[f"d{document}" for document in shown] for _, shown, _ in rows],
            "clicks": [clicks for _, _, clicks in rows],
        }
    )


def raw_pages(rows: list[tuple[int, list[int], list[bool]]], documents: int) -> list[Pages]:
    """A row for each session."""
    width = max(len(shown) for _, shown, _ in rows)
    document = torch.full((len(rows), width), -1)
    clicks = torch.zeros(len(rows), width)
    for row, (_, shown, clicked) in enumerate(rows):
        places = [place if place < documents else -1 for place in shown]
        document[row, : len(shown)] = torch.tensor(places)
        clicks[row, : len(shown)] = torch.tensor(clicked, dtype=torch.float32)
    of_list = torch.tensor([query for query, _, _ in rows])
    return [Pages(of_list, document, clicks, torch.ones(len(rows)))]


def as_double(blocks: list[Pages]) -> list[Pages]:
    return [
        replace(pages, clicks=pages.clicks.double(), sessions=pages.sessions.double())
        for pages in blocks
    ]


def gradient(
    name: ClickObjectiveName, scores: Tensor, pages: list[Pages], positions: int = 4
) -> tuple[Tensor, Tensor]:
    """Of the loss after a step of learning the bias, and that bias."""
    loss = SessionLoss(name, positions, propensities=PROPENSITIES).double()
    evidence = loss.evidence(scores, as_double(pages))
    if evidence is not None:
        loss.learn(evidence)
    scores = scores.clone().requires_grad_()
    loss(scores, as_double(pages)).sum().backward()
    assert scores.grad is not None
    return scores.grad, loss.bias


# Few pages of few documents, one of them (3) no candidate, so that sessions repeat.
SESSION = st.tuples(
    st.integers(0, 1),
    st.sampled_from([[0, 1, 2], [2, 1, 0], [1, 3, 0], [0]]),
    st.lists(st.booleans(), min_size=3, max_size=3),
).map(lambda row: (row[0], row[1], row[2][: len(row[1])]))


@pytest.mark.parametrize("name", NAMES)
@given(rows=st.lists(SESSION, min_size=1, max_size=40), seed=st.integers(0, 100))
def test_compacted_sessions_have_the_gradient_of_raw_ones(
    name: ClickObjectiveName, rows: list[tuple[int, list[int], list[bool]]], seed: int
) -> None:
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)).double()
    lists = lists_of(queries=2, documents=3)
    raw, raw_bias = gradient(name, scores, raw_pages(rows, documents=3))
    for linear in {False, CLICK_OBJECTIVES[name].linear}:
        pages = pad_pages(add_pages(lists, sessions_table(rows), linear))
        compacted, bias = gradient(name, scores, pages)
        torch.testing.assert_close(compacted, raw, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(bias, raw_bias, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if not CLICK_OBJECTIVES[name].linear])
def test_pairs_within_a_session_are_lost_in_summed_clicks(name: ClickObjectiveName) -> None:
    rows = [(0, [0, 1, 2], [True, True, False]), (0, [0, 1, 2], [False, False, True])]
    scores = torch.tensor([[0.3, -0.2, 0.5]]).double()
    lists = lists_of(queries=1, documents=3)
    of_sessions, _ = gradient(name, scores, raw_pages(rows, documents=3))
    of_pages, _ = gradient(
        name, scores, pad_pages(add_pages(lists, sessions_table(rows), linear=True))
    )
    assert not torch.allclose(of_sessions, of_pages, atol=1e-2)


@pytest.mark.parametrize("name", ["dual_learning", "regression_em", "pairwise_debiasing"])
def test_the_bias_of_positions_is_learned_from_clicks(name: ClickObjectiveName) -> None:
    """With the ranker's scores right, the ratios of the simulated examination are found."""
    rng = np.random.default_rng(0)
    examination = np.array([1.0, 0.6, 0.3])
    relevance = np.array([0.8, 0.5, 0.2, 0.1])
    shown = np.array([rng.permutation(4)[:3] for _ in range(30_000)])
    clicks = rng.random(shown.shape) < examination * relevance[shown]
    pages = [
        Pages(
            of_list=torch.zeros(len(shown), dtype=torch.int64),
            document=torch.tensor(shown),
            clicks=torch.tensor(clicks, dtype=torch.float32),
            sessions=torch.ones(len(shown)),
        )
    ]
    if name == "dual_learning":  # scores are logarithms of relevance there, else its logits
        scores = torch.tensor(np.log(relevance)[None], dtype=torch.float32)
    else:
        scores = torch.tensor(np.log(relevance / (1 - relevance))[None], dtype=torch.float32)
    loss = SessionLoss(name, positions=3)
    for _ in range(300):
        evidence = loss.evidence(scores, pages)
        assert evidence is not None
        loss.learn(evidence)
    # Pairwise ratios also hold what other clicks of the page leave to compare with.
    tolerance = 0.12 if name == "pairwise_debiasing" else 0.02
    np.testing.assert_allclose(loss.bias[0].numpy(), examination, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_long_pages_stand_apart(name: ClickObjectiveName) -> None:
    """Pages of 2 and of 40 results, in blocks, have the gradient that they have in one."""
    short = [(0, [0, 1], [True, False]), (0, [1, 0], [False, True])]
    long = (1, list(range(40)), [n % 7 == 3 for n in range(40)])
    scores = torch.randn(2, 40, generator=torch.Generator().manual_seed(0)).double()
    pages = pad_pages(add_pages(lists_of(2, 40), sessions_table([*short, long]), False))
    assert [tuple(block.document.shape) for block in pages] == [(2, 2), (1, 40)]
    whole = raw_pages([*short, long], documents=40)
    for one, other in zip(
        gradient(name, scores, pages, 40), gradient(name, scores, whole, 40), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_one_long_page_costs_what_it_shows() -> None:
    rows = [(0, [0, 1], [n % 2 == 0, n % 3 == 0]) for n in range(2_000)]
    long = (1, [0, *range(5, 20_000)], [True] * 19_996)  # of which the first two are candidates
    lists = add_pages(lists_of(2, 6), sessions_table([*rows, long]), False)
    tracemalloc.start()
    pages = pad_pages(lists)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [tuple(block.document.shape) for block in pages] == [(5, 2)]
    assert peak < 20_000_000


def test_sessions_without_a_candidate_are_refused() -> None:
    for session in ((0, [5], [True]), (4, [0], [True])):
        lists = add_pages(lists_of(1, 1), sessions_table([session]), linear=True)
        with pytest.raises(InputError, match="no click to learn from"):
            refuse_unshown(shown_candidates(lists))


@pytest.mark.parametrize("name", NAMES)
def test_biases_are_learned_on_the_device_of_the_scores(name: ClickObjectiveName) -> None:
    """The meta device refuses what mixes devices, as a GPU does; it holds no values."""
    meta = torch.device("meta")
    loss = SessionLoss(name, positions=3, propensities=PROPENSITIES).to(meta)
    [page] = one_page([0.0, 1.0, 0.0])
    pages = [Pages(*(getattr(page, field.name).to(meta) for field in fields(page)))]
    scores = SCORES.to(meta).requires_grad_()
    loss(scores, pages).sum().backward()
    if (evidence := loss.evidence(scores, pages)) is not None:
        for sums in (evidence, torch.ones(2, 3)):  # as it comes from workers, and from elsewhere
            loss.learn(sums)
    assert {loss.bias.device, loss.sums.device, scores.grad.device} == {meta}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("clicks", "document"),
    [
        ([0.0, 0.0, 0.0], (0, 1, 2)),
        ([0.0, 1.0, 0.0], (0, 1, 2)),
        ([0.0, 1.0, 0.0], (0, -1, 2)),  # no candidate
        ([1.0, 0.0, 0.0], (0, -1, -1)),
        ([1.0, 1.0, 1.0], (0, 1, 2)),
    ],
)
def test_lists_that_teach_are_those_with_a_gradient(
    name: ClickObjectiveName, clicks: list[float], document: tuple[int, ...]
) -> None:
    loss = SessionLoss(name, positions=3, propensities=PROPENSITIES)
    scores = torch.cat([SCORES, SCORES]).requires_grad_()
    pages = one_page(clicks, document)
    loss(scores, pages).sum().backward()
    learned = (scores.grad != 0).any(1)
    assert loss.teaches(pages, 2).tolist() == learned.tolist()
