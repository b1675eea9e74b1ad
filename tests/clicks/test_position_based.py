"""The position-based model: known values, recovery of what made the clicks, and real searches."""

import itertools
import json
import os
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from clicks import PositionBasedModel
from clicks.position_based import LEVELS
from corpus.errors import InputError
from corpus.tables import SCHEMAS

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("TANDEM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
TREC = SHARED_DATA / "trec-session-2014"


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


def read_trec(name: str) -> pa.Table:
    path = TREC / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set TANDEM_SHARED_DATA to the folder of the test data")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return make_sessions(
        [row["query_id"] for row in rows],
        [row["doc_ids"] for row in rows],
        [[bool(click) for click in row["clicks"]] for row in rows],
    )


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
    assert model.prior_mean_ == pytest.approx(attractiveness.mean(), abs=0.03)

    # A trial of probability p = e * a holds the information e^2 / (p (1 - p)) about a.
    table = model.attractiveness_
    query, doc = (table[name].cast(pa.int64()).to_numpy() for name in ("query_id", "doc_id"))
    truth = attractiveness[query, doc]
    probability = np.outer(truth, examination)
    per_position = table["impressions"].to_numpy()[:, None] / len(examination)
    information = (per_position * examination**2 / (probability * (1 - probability))).sum(axis=1)
    score = (table["attractiveness"].to_numpy() - truth) * np.sqrt(information)
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
    model = PositionBasedModel(max_iterations=5000, tolerance=1e-10).fit(repeat(sessions, 20))
    fitted = [model.examination_[1], *model.attractiveness_["attractiveness"].to_pylist()]
    # Half a step of the grid of levels is 0.008.
    assert fitted == pytest.approx(1 / (1 + np.exp(-best.x)), abs=0.016)
    assert model.log_likelihood(sessions) == pytest.approx(-best.fun / 200, abs=1e-3)


def test_log_likelihood_sums_over_who_was_examined_and_what_attracts() -> None:
    model = PositionBasedModel().fit(TINY)
    # Document d is new to q, and position 3 to the model.
    sessions = make_sessions(["q"], [["b", "a", "d"]], [[True, False, False]])
    known = {
        (row["query_id"], row["doc_id"]): row["attractiveness"]
        for row in model.attractiveness_.to_pylist()
    }
    attractiveness = [known["q", "b"], known["q", "a"], model.prior_mean_]
    examination = [*model.examination_, model.examination_[-1]]
    likelihood = 0.0
    for states in itertools.product([0, 1], repeat=6):
        examined, attracted = states[:3], states[3:]
        if [bool(e and a) for e, a in zip(examined, attracted, strict=True)] == [
            True,
            False,
            False,
        ]:
            chance = [p if on else 1 - p for p, on in zip(examination, examined, strict=True)]
            chance += [p if on else 1 - p for p, on in zip(attractiveness, attracted, strict=True)]
            likelihood += np.prod(chance)
    assert model.log_likelihood(sessions) == pytest.approx(np.log(likelihood))


@settings(deadline=None, max_examples=30)
@given(logs)
def test_objective_is_the_marginal_likelihood_and_never_decreases(sessions: pa.Table) -> None:
    model = PositionBasedModel(max_iterations=40, tolerance=0.0).fit(sessions)
    assert np.diff(model.objective_).min(initial=0) >= -1e-12

    # The same by looping over raw sessions, without compaction or shared evidence.
    likelihood: dict[tuple[str, str], NDArray[np.float64]] = {}
    for row in sessions.to_pylist():
        for position, (doc_id, click) in enumerate(zip(row["doc_ids"], row["clicks"], strict=True)):
            probability = model.examination_[position] * LEVELS
            pair = (row["query_id"], doc_id)
            likelihood[pair] = likelihood.get(pair, np.ones(len(LEVELS))) * (
                probability if click else 1 - probability
            )
    later = model.examination_[1:]
    objective = sum(np.log(levels @ model.prior_) for levels in likelihood.values())
    objective += np.log(later).sum() + np.log(1 - later).sum() + np.log(model.prior_).mean()
    assert model.objective_[-1] == pytest.approx(objective / sessions.num_rows)

    for row in model.attractiveness_.to_pylist():
        joint = likelihood[row["query_id"], row["doc_id"]] * model.prior_
        assert row["attractiveness"] == pytest.approx(joint @ LEVELS / joint.sum())


@settings(deadline=None, max_examples=30)
@given(logs, st.randoms(use_true_random=False))
def test_the_order_of_sessions_makes_no_difference(sessions: pa.Table, random: Random) -> None:
    order = list(range(sessions.num_rows))
    random.shuffle(order)
    models = [PositionBasedModel(50).fit(log) for log in (sessions, sessions.take(order))]
    np.testing.assert_allclose(models[0].examination_, models[1].examination_, rtol=1e-9)
    tables = [model.relevance() for model in models]
    assert tables[0].select([0, 1]).equals(tables[1].select([0, 1]))
    np.testing.assert_allclose(tables[0]["relevance"], tables[1]["relevance"], rtol=1e-9)


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


def test_perplexity_is_two_to_the_mean_surprise_at_each_position() -> None:
    model = PositionBasedModel().fit(TINY)
    known = {
        (row["query_id"], row["doc_id"]): row["attractiveness"]
        for row in model.attractiveness_.to_pylist()
    }
    surprise: list[list[float]] = [[], []]
    for row in TINY.to_pylist():
        for position, (doc_id, click) in enumerate(zip(row["doc_ids"], row["clicks"], strict=True)):
            probability = model.examination_[position] * known[row["query_id"], doc_id]
            surprise[position].append(-np.log2(probability if click else 1 - probability))
    expected = [2 ** np.mean(values) for values in surprise]
    assert model.perplexity(TINY, by_position=True) == pytest.approx(expected)
    assert model.perplexity(TINY) == pytest.approx(np.mean(expected))


def test_pages_of_different_lengths_and_a_log_without_clicks_are_fitted() -> None:
    sessions = make_sessions(["q", "q"], [["a"], ["b", "a", "c"]], [[False], [False] * 3])
    model = PositionBasedModel().fit(sessions)
    assert model.examination_.shape == (3,)
    assert model.attractiveness_["impressions"].to_pylist() == [2, 1, 1]
    assert 1 < model.perplexity(sessions) < 2


def test_says_whether_it_converged_and_refuses_no_iterations() -> None:
    model = PositionBasedModel(max_iterations=2).fit(TINY)
    assert not model.converged_
    assert len(model.objective_) == 2
    with pytest.raises(InputError, match="max_iterations"):
        PositionBasedModel(max_iterations=0)


def test_predicts_real_searches_better_than_1_176() -> None:
    train, valid = read_trec("train.jsonl"), read_trec("valid.jsonl")
    model = PositionBasedModel().fit(train)
    assert model.converged_
    assert model.perplexity(valid) <= 1.176
