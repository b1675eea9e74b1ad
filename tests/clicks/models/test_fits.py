"""Fits of every click model: parameters that are recovered, odd logs, real searches, memory."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

import clicks
from clicks import (
    CascadeModel,
    ClickChainModel,
    ClickModel,
    DependentClickModel,
    DocumentCTR,
    DynamicBayesianNetwork,
    PositionBasedModel,
    SimplifiedDynamicBayesianNetwork,
    UserBrowsingModel,
)
from clicks.log.click_log import read_click_log
from corpus.errors import InputError
from tests.clicks.models.conftest import MODELS, a_model, make_sessions, random_pages, rates_of

NAMES = ["query_id", "doc_id", "grade"]


@pytest.mark.parametrize("kind", MODELS)
def test_recovers_what_made_the_clicks(kind: type[ClickModel]) -> None:
    truth = a_model(kind)
    sessions = truth.sample(random_pages(10, 6, 4, 60_000, seed=5), seed=6)
    model = kind().fit(sessions)
    assert getattr(model, "converged_", True)
    tolerance = {"continuation_": 0.04, "examination_": 0.06, "assumed_examination_": 0.06}
    for name in model.numbers:
        found, made = np.asarray(getattr(model, name)), np.asarray(getattr(truth, name))
        if kind is DependentClickModel:
            found, made = found[:-1], made[:-1]  # nothing is below the last position
        if kind is UserBrowsingModel:
            meant = np.arange(4) <= np.arange(4)[:, None]
            found, made = found[meant], made[meant]
        np.testing.assert_allclose(found, made, atol=tolerance.get(name, 0.02), err_msg=name)
    for name in model.rates:
        found_rates, made_rates = rates_of(model, name), rates_of(truth, name)
        errors = [found_rates[pair] - rate for pair, rate in made_rates.items()]
        assert np.sqrt(np.mean(np.square(errors))) < (0.07 if name == "satisfaction_" else 0.03)
    assert model.log_likelihood(sessions) >= truth.log_likelihood(sessions) - 1e-3


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_log_can_be(kind: type[ClickModel]) -> None:
    logs = {
        "one page": [("q", ["a"], [True])],
        "no clicks": [("q", ["a", "b"], [False, False]), ("r", ["c"], [False])],
        "only clicks": [("q", ["a", "b", "c"], [True, True, True])] * 3,
        "an empty page": [("q", [], []), ("q", ["a"], [False])],
        "more clicks than bits": [
            ("q", [str(n) for n in range(130)], [n > 60 for n in range(130)])
        ],
    }
    grades = pa.table([["q", "r", "z"], ["a", "c", "y"], [0.0, 3.0, 1.5]], NAMES)
    for name, log in logs.items():
        for prior in (None, grades):
            model = kind().fit(make_sessions(log), prior)
            found = model.relevance()
            relevance = found["relevance"].to_numpy()
            assert np.all((relevance > 0) & (relevance < 1)), name
            assert np.isfinite(model.perplexity(make_sessions(log))), name
            if "precision" in found.column_names:
                precision = found["precision"].to_numpy()
                assert np.all((precision > 0) & np.isfinite(precision)), name
    with pytest.raises(InputError, match="no rows"):
        kind().fit(make_sessions([("q", ["a"], [True])]).slice(0, 0))


@pytest.mark.parametrize("kind", MODELS)
def test_counted_and_encoded_sessions_are_sessions(kind: type[ClickModel]) -> None:
    sessions = a_model(kind).sample(random_pages(4, 5, 3, 300, seed=2), seed=3)
    counted = clicks.distinct_sessions(sessions)
    assert counted.num_rows < 300
    halves = pa.concat_tables([clicks.distinct_sessions(sessions.slice(n, 150)) for n in (0, 150)])
    models = [kind().fit(log) for log in (sessions, counted, halves)]
    encoded = read_click_log(sessions)
    models += [kind().fit_log(encoded) for _ in range(2)]
    for model in models[1:]:
        np.testing.assert_allclose(
            model.relevance()["relevance"], models[0].relevance()["relevance"], rtol=1e-9
        )
        assert model.log_likelihood(counted) == pytest.approx(models[0].log_likelihood(sessions))


def test_what_the_log_does_not_tell_is_nan_and_no_half(tmp_path: Path) -> None:
    """Documents change places at 1 and 2 only; 4 is never clicked, and 5 is the last position."""
    rng = np.random.default_rng(0)
    log = []
    for n in range(2_000):
        first = [f"{n % 40}-a", f"{n % 40}-b"][:: rng.choice([1, -1])]
        clicked = rng.random(5) < [0.5, 0.3, 0.2, 0.0, 0.2]
        log.append((str(n % 40), [*first, *(f"{n % 40}-{c}" for c in "cde")], clicked.tolist()))
    sessions = make_sessions(log)
    model = PositionBasedModel().fit(sessions)
    assert np.isnan(model.examination_).tolist() == [False, False, True, True, True]
    assert model.unidentified_positions.tolist() == [3, 4, 5]
    # Predictions take documents there for as attractive as others.
    assert 0.2 < model.assumed_examination_[2] < 0.6
    assert model.perplexity(sessions) < PositionBasedModel().fit(sessions.slice(0, 50)).perplexity(
        sessions
    )
    model.save(tmp_path)
    assert "NaN" not in (tmp_path / "model.json").read_text()
    loaded = PositionBasedModel.load(tmp_path)
    np.testing.assert_array_equal(loaded.examination_, model.examination_)
    browsing = UserBrowsingModel().fit(sessions)
    assert np.isnan(browsing.examination_[2:]).all()
    # Nothing was ever clicked at 4, so a last click there was never seen: nothing is known of it.
    assert browsing.assumed_examination_[4, 4] == pytest.approx(0.5)
    assert not np.isnan(browsing.examination_[:2, 0]).any()
    dependent = DependentClickModel().fit(sessions)
    assert np.isnan(dependent.continuation_).tolist() == [False, False, False, True, True]
    assert np.isfinite(dependent.perplexity(sessions))


LIMITS = {
    PositionBasedModel: 1.175,
    UserBrowsingModel: 1.175,
    CascadeModel: 1.20,
    DependentClickModel: 1.20,
    SimplifiedDynamicBayesianNetwork: 1.20,
    DynamicBayesianNetwork: 1.20,
    ClickChainModel: 1.20,
}


def read_searches(path: Path) -> pa.Table:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return make_sessions(
        [
            (row["query_id"], row["doc_ids"], [bool(click) for click in row["clicks"]])
            for row in rows
        ]
    )


@pytest.mark.parametrize("kind", LIMITS)
def test_foretells_real_searches(kind: type[ClickModel], trec_session: Path) -> None:
    model = kind().fit(read_searches(trec_session / "train.jsonl"))
    assert getattr(model, "converged_", True)
    assert model.perplexity(read_searches(trec_session / "valid.jsonl")) <= LIMITS[kind]


def test_a_document_is_judged_by_its_other_queries() -> None:
    """Rows: under ten queries one document is always clicked and another never."""
    log = [(str(n), ["good", "bad"], [True, False]) for n in range(10)] * 5
    model = DocumentCTR().fit(make_sessions(log))
    unseen = make_sessions([("new", ["good", "bad", "unknown"], [True, True, True])])
    chance: NDArray[np.float64] = 1 / np.asarray(model.perplexity(unseen, by_position=True))
    assert chance[0] > 0.9
    assert chance[1] < 0.1
    assert 0.3 < chance[2] < 0.7


@pytest.mark.parametrize("kind", MODELS)
def test_one_long_page_costs_what_it_shows(kind: type[ClickModel]) -> None:
    """A column for each result of the longest page would be 160 MB for each number of a result."""
    rows = 4_000
    short = [
        (str(n % 50), [f"{n % 50}-{n // 50 % 3}", f"{n % 50}-x"], [n % 3 == 0, False])
        for n in range(rows)
    ]
    long = ("long", [str(n) for n in range(5_000)], [n % 1_000 == 7 for n in range(5_000)])
    sessions = make_sessions([*short, long])
    tracemalloc.start()
    model = kind(**{"max_iterations": 3} if hasattr(kind(), "max_iterations") else {}).fit(sessions)
    assert np.isfinite(model.perplexity(sessions))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind.rates])
def test_grades_are_a_prior_of_every_model_in_whatever_order(kind: type[ClickModel]) -> None:
    """Twenty queries show a (grade 3) and b (grade 0); c was graded and never shown."""
    rng = np.random.default_rng(0)
    log = []
    for n in range(400):
        order = rng.permutation(2)
        clicked = rng.random(2) < np.array([0.7, 0.1])[order] * [1.0, 0.6]
        log.append((str(n % 20), [f"{n % 20}-{'ab'[at]}" for at in order], clicked.tolist()))
    sessions = make_sessions(log)
    of_document = {"a": 3.0, "b": 0.0, "c": 2.9}
    graded = [(str(n), f"{n}-{c}", grade) for n in range(20) for c, grade in of_document.items()]
    grades = pa.table([list(c) for c in zip(*graded, strict=True)], NAMES)
    model = kind().fit(sessions, grades)
    found = model.relevance()
    assert found.num_rows == 60
    relevance = found["relevance"].to_numpy().reshape(20, 3)
    assert relevance[:, 0].min() > relevance[:, 1].max()
    assert relevance[:, 2].min() > relevance[:, 1].max()
    precision = found["precision"].to_numpy().reshape(20, 3)
    assert np.all(precision > 0)
    assert np.all(precision[:, 0] > precision[:, 2])
    assert np.isfinite(model.perplexity(sessions))
    shuffled = sessions.take(rng.permutation(400))
    for other in (shuffled, clicks.distinct_sessions(shuffled)):
        again = kind().fit(other, grades.take(rng.permutation(60))).relevance()
        np.testing.assert_allclose(again["relevance"], found["relevance"], rtol=1e-4)
