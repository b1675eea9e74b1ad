"""The position-based model: known values, recovery of what made the clicks."""

from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from clicks import PositionBasedModel
from corpus.errors import InputError
from corpus.schemas import SCHEMAS


def make_sessions(
    query_ids: list[str], doc_ids: list[list[str]], clicks: list[list[bool]]
) -> pa.Table:
    session_ids = [f"s{row}" for row in range(len(query_ids))]
    return pa.table([session_ids, query_ids, doc_ids, clicks], schema=SCHEMAS["sessions"])


def simulate(
    examination: NDArray[np.float64],
    attractiveness: NDArray[np.float64],
    session_count: int,
    seed: int,
) -> pa.Table:
    """Sessions of a position-based user; each page is a random order of a query's documents."""
    rng = np.random.default_rng(seed)
    query_count, doc_count = attractiveness.shape
    query = rng.integers(query_count, size=session_count)
    docs = rng.permuted(np.tile(np.arange(doc_count), (session_count, 1)), axis=1)
    docs = docs[:, : len(examination)]
    clicks = rng.random(docs.shape) < examination * attractiveness[query[:, None], docs]
    return make_sessions(query.astype(str).tolist(), docs.astype(str).tolist(), clicks.tolist())


def repeat(sessions: pa.Table, times: int) -> pa.Table:
    copies = pa.concat_tables([sessions] * times)
    return copies.set_column(0, "session_id", pa.array([str(i) for i in range(copies.num_rows)]))


TINY = make_sessions(
    ["q", "q", "q", "r"],
    [["a", "b"], ["b", "a"], ["a", "b"], ["a", "c"]],
    [[True, False], [False, True], [True, True], [False, False]],
)

pages = st.permutations(["a", "b", "c"]).flatmap(
    lambda docs: st.tuples(
        st.sampled_from(["q", "r"]), st.just(docs), st.lists(st.booleans(), min_size=3, max_size=3)
    )
)
logs = st.lists(pages, min_size=1, max_size=25).map(
    lambda log: make_sessions(*map(list, zip(*log, strict=True)))
)


def test_recovers_what_made_the_clicks_within_the_sampling_error() -> None:
    examination = np.array([1.0, 0.7, 0.45, 0.3, 0.2])
    attractiveness = np.random.default_rng(3).beta(1, 2, size=(20, 8))
    session_count = 30_000
    sessions = simulate(examination, attractiveness, session_count, seed=4)
    model = PositionBasedModel().fit(sessions)
    assert model.converged_

    # Orders are random, so a position's click rate estimates examination * mean attractiveness,
    # and examination is its ratio to the first position's; the error is that of the ratio.
    rate = examination * attractiveness.mean()
    variance = rate * (1 - rate) / session_count
    error = np.sqrt(variance + examination**2 * variance[0]) / attractiveness.mean()
    assert np.all(np.abs(model.examination_ - examination)[1:] < 4 * error[1:])
    assert model.examination_[0] == 1.0

    # A trial of probability p = e * a holds the information e^2 / (p (1 - p)) about a. An eighth
    # of the query's documents is at each position.
    table = model.relevance()
    query, doc = (table[name].cast(pa.int64()).to_numpy() for name in ("query_id", "doc_id"))
    truth = attractiveness[query, doc]
    probability = np.outer(truth, examination)
    sessions_of_query = pc.value_counts(sessions["query_id"]).field("counts").to_numpy().mean()
    information = (examination**2 / (probability * (1 - probability))).sum(axis=1)
    information *= sessions_of_query / attractiveness.shape[1]
    score = (table["relevance"].to_numpy() - truth) * np.sqrt(information)
    assert np.sqrt(np.mean(score**2)) < 1.2
    assert np.abs(score).max() < 5


def test_with_much_evidence_it_is_the_maximum_of_the_plain_likelihood() -> None:
    counts = np.array([[40, 30], [18, 11]])  # Clicks of two documents at two positions, of 100.
    rows = [
        (["a", "b"] if first == 0 else ["b", "a"], [n < counts[first, 0], n < counts[1 - first, 1]])
        for first in (0, 1)
        for n in range(100)
    ]
    sessions = make_sessions(["q"] * len(rows), [docs for docs, _ in rows], [c for _, c in rows])

    def negative_log_likelihood(logits: NDArray[np.float64]) -> float:
        second, a, b = 1 / (1 + np.exp(-logits))
        probability = np.outer([a, b], [1, second])
        log_likelihood = counts * np.log(probability) + (100 - counts) * np.log(1 - probability)
        return -float(log_likelihood.sum())

    best = minimize(negative_log_likelihood, np.zeros(3))
    model = PositionBasedModel(max_iterations=5000, tolerance=1e-12).fit(repeat(sessions, 20))
    fitted = [model.examination_[1], *model.relevance()["relevance"].to_pylist()]
    # Half a step of the grid of levels is 0.008.
    assert fitted == pytest.approx(1 / (1 + np.exp(-best.x)), abs=0.016)
    assert model.log_likelihood(sessions) == pytest.approx(-best.fun / 200, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(logs, st.randoms(use_true_random=False))
def test_the_order_of_sessions_makes_no_difference(sessions: pa.Table, random: Random) -> None:
    order = list(range(sessions.num_rows))
    random.shuffle(order)
    models = [PositionBasedModel(50).fit(log) for log in (sessions, sessions.take(order))]
    np.testing.assert_allclose(models[0].examination_, models[1].examination_, rtol=1e-6)
    tables = [model.relevance() for model in models]
    assert tables[0].select([0, 1]).equals(tables[1].select([0, 1]))
    np.testing.assert_allclose(tables[0]["relevance"], tables[1]["relevance"], rtol=1e-5)


def test_more_evidence_moves_a_document_from_the_prior_to_its_click_rate() -> None:
    attractiveness = np.full((30, 2), 0.2)
    others = simulate(np.array([1.0]), attractiveness, 3000, seed=5)
    estimates = []
    for times in (1, 10, 100):
        clicked = make_sessions(["zebra"] * times, [["x"]] * times, [[True]] * times)
        sessions = repeat(pa.concat_tables([others, clicked]), 1)
        last = PositionBasedModel().fit(sessions).relevance().to_pylist()[-1]
        assert last["query_id"] == "zebra"
        estimates.append(last["relevance"])
    assert 0.2 < estimates[0] < 0.3
    assert estimates[0] < estimates[1] < estimates[2]
    assert estimates[2] > 0.95


def test_pages_of_different_lengths_and_a_log_without_clicks_are_fitted() -> None:
    sessions = make_sessions(["q", "q"], [["a"], ["b", "a", "c"]], [[False], [False] * 3])
    model = PositionBasedModel().fit(sessions)
    assert model.examination_.shape == (3,)
    assert model.relevance()["doc_id"].to_pylist() == ["a", "b", "c"]
    assert 1 < model.perplexity(sessions) < 2


def test_says_whether_it_converged_and_refuses_no_iterations() -> None:
    model = PositionBasedModel(max_iterations=2).fit(TINY)
    assert not model.converged_
    assert model.iterations_ == 2
    with pytest.raises(InputError, match="max_iterations"):
        PositionBasedModel(max_iterations=0)
