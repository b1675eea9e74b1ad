"""What holds for every click model: likelihoods, recovery of parameters, real searches."""

import itertools
import json
import tracemalloc
from collections.abc import Callable
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
    GlobalCTR,
    PositionBasedModel,
    RankCTR,
    SimplifiedDynamicBayesianNetwork,
    UserBrowsingModel,
)
from clicks.fit_clicks import CLICK_MODELS
from clicks.inference.rate_prior import PairRates
from clicks.log.click_log import read_click_log
from corpus.errors import InputError
from corpus.schemas import SCHEMAS

MODELS = list(CLICK_MODELS.values())
Page = tuple[str, list[str]]


def make_sessions(sessions: list[tuple[str, list[str], list[bool]]]) -> pa.Table:
    columns = list(zip(*sessions, strict=True))
    session_ids = [f"s{row}" for row in range(len(sessions))]
    return pa.table([session_ids, *map(list, columns)], schema=SCHEMAS["sessions"])


def random_pages(queries: int, documents: int, length: int, count: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    shown = rng.permuted(np.tile(np.arange(documents), (count, 1)), axis=1)[:, :length]
    query = rng.integers(queries, size=count)
    # A document has one query, so that the prior has one level only.
    doc_ids = np.char.add(np.char.add(query[:, None].astype(str), "-"), shown.astype(str))
    return pa.table({"query_id": query.astype(str), "doc_ids": doc_ids.tolist()})


def a_model(kind: type[ClickModel], seed: int = 0) -> ClickModel:
    """A model of 10 queries with 6 documents each and pages of 4, with random parameters."""
    rng = np.random.default_rng(seed)
    pages = random_pages(10, 6, 4, 400, seed)
    no_clicks = pa.array([[False] * 4] * pages.num_rows)
    ids = pa.array([str(row) for row in range(pages.num_rows)])
    model = kind().fit(pages.append_column("clicks", no_clicks).append_column("session_id", ids))
    for name in model.rates:
        mean = 0.6 if name == "satisfaction_" else 0.4
        rates = rng.beta(4 * mean, 4 * (1 - mean), len(model.pairs_.query))
        setattr(model, name, PairRates(rates, rates[: len(model.pairs_.documents)], 0.3))
    examination = np.array([1.0, 0.8, 0.55, 0.4])
    numbers = {
        "rate_": 0.2,
        "position_rates_": 0.5 * examination,
        "examination_": examination,
        "continuation_": np.array([0.8, 0.6, 0.3, 0.5]),
        "perseverance_": 0.8,
    }
    if kind is UserBrowsingModel:
        distance = np.arange(4)[:, None] + 1 - np.arange(4)
        numbers["examination_"] = np.where(
            np.arange(4) == 0, examination[:, None], 0.9 / np.maximum(distance, 1) ** 0.5
        )
    numbers["assumed_examination_"] = numbers["examination_"]
    if kind is ClickChainModel:
        numbers["continuation_"] = np.array([0.9, 0.8, 0.3])
    for name in model.numbers:
        setattr(model, name, numbers[name])
    return model


def rates_of(model: ClickModel, name: str) -> dict[tuple[str, str], float]:
    pairs = model.pairs_
    query_ids = pairs.queries.take(pairs.query).to_pylist()
    doc_ids = pairs.documents.take(pairs.document).to_pylist()
    return dict(
        zip(zip(query_ids, doc_ids, strict=True), getattr(model, name).pair.tolist(), strict=True)
    )


def chain_likelihood(
    clicked: tuple[bool, ...],
    attractiveness: list[float],
    after_skip: Callable[[int], float],
    after_click: Callable[[int], float],
) -> float:
    """Sums over how many of the documents were read."""
    total = 0.0
    for read in range(1, len(clicked) + 1):
        if any(clicked[read:]):
            continue
        chance = 1.0
        for place in range(read):
            chance *= attractiveness[place] if clicked[place] else 1 - attractiveness[place]
            on = after_click(place) if clicked[place] else after_skip(place)
            if place < len(clicked) - 1:
                chance *= on if place < read - 1 else 1 - on
        total += chance
    return total


def likelihood(model: ClickModel, page: Page, clicked: tuple[bool, ...]) -> float:
    """P(clicks) from the definition of the model, looping over what is hidden."""
    query_id, doc_ids = page
    if isinstance(
        model, GlobalCTR | RankCTR | DocumentCTR | PositionBasedModel | UserBrowsingModel
    ):
        total = 1.0
        last = 0
        for place, (doc_id, click) in enumerate(zip(doc_ids, clicked, strict=True)):
            if isinstance(model, GlobalCTR):
                chance = model.rate_
            elif isinstance(model, RankCTR):
                chance = model.position_rates_[place]
            elif isinstance(model, DocumentCTR):
                chance = rates_of(model, "pair_rates_")[query_id, doc_id]
            else:
                examined = (
                    model.examination_[place]
                    if isinstance(model, PositionBasedModel)
                    else model.examination_[place, last]
                )
                chance = examined * rates_of(model, "attractiveness_")[query_id, doc_id]
            total *= chance if click else 1 - chance
            last = place + 1 if click else last
        return total
    rates = rates_of(model, "attractiveness_")
    a = [rates[query_id, doc_id] for doc_id in doc_ids]
    if isinstance(model, CascadeModel):
        return chain_likelihood(clicked, a, lambda _: 1.0, lambda _: 0.0)
    if isinstance(model, DependentClickModel):
        return chain_likelihood(clicked, a, lambda _: 1.0, lambda k: model.continuation_[k])
    if isinstance(model, ClickChainModel):
        skip, irrelevant, relevant = model.continuation_
        return chain_likelihood(
            clicked, a, lambda _: skip, lambda k: irrelevant * (1 - a[k]) + relevant * a[k]
        )
    assert isinstance(model, DynamicBayesianNetwork)
    satisfied = rates_of(model, "satisfaction_")
    s = [satisfied[query_id, doc_id] for doc_id in doc_ids]
    stay = 1.0 if isinstance(model, SimplifiedDynamicBayesianNetwork) else model.perseverance_
    return chain_likelihood(clicked, a, lambda _: stay, lambda k: stay * (1 - s[k]))


@pytest.mark.parametrize("kind", MODELS)
def test_likelihoods_are_those_of_the_definition(kind: type[ClickModel]) -> None:
    model = a_model(kind)
    page = ("3", ["3-5", "3-0", "3-2", "3-1"])
    patterns = list(itertools.product([False, True], repeat=4))
    expected = np.array([likelihood(model, page, clicked) for clicked in patterns])
    assert expected.sum() == pytest.approx(1)
    logs = [make_sessions([(*page, list(clicked))]) for clicked in patterns]
    found = np.array([model.log_likelihood(log) for log in logs])
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-9)
    # Alone, a position is clicked as often as in all patterns together.
    marginal = expected @ np.array(patterns)
    for clicked, log in zip(patterns, logs, strict=True):
        surprise = np.where(clicked, 1 / marginal, 1 / (1 - marginal))
        np.testing.assert_allclose(model.perplexity(log, by_position=True), surprise, rtol=1e-9)
        assert model.perplexity(log) == pytest.approx(surprise.mean())


@pytest.mark.parametrize("kind", MODELS)
def test_samples_are_as_frequent_as_they_are_likely(kind: type[ClickModel]) -> None:
    model = a_model(kind)
    page = ("7", ["7-1", "7-2", "7-0", "7-4"])
    count = 20_000
    pages = pa.table({"query_id": [page[0]] * count, "doc_ids": [page[1]] * count})
    drawn = model.sample(pages, seed=1)
    assert drawn.schema.names == SCHEMAS["sessions"].names
    patterns = list(itertools.product([False, True], repeat=4))
    codes = np.array(drawn["clicks"].to_pylist()) @ (1 << np.arange(4)[::-1])
    frequency = np.bincount(codes, minlength=16) / count
    expected = np.array([likelihood(model, page, clicked) for clicked in patterns])
    error = np.sqrt(expected * (1 - expected) / count)
    assert np.all(np.abs(frequency - expected) <= 5 * error + 1e-12)
    assert drawn.equals(model.sample(pages, seed=1))


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
def test_a_saved_model_is_the_model(kind: type[ClickModel], tmp_path: Path) -> None:
    model = a_model(kind)
    model.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model")
    unseen = make_sessions([("3", ["3-5", "new", "3-2"], [False, True, False])])
    assert loaded.perplexity(unseen) == model.perplexity(unseen)
    assert loaded.relevance().equals(model.relevance())
    other = CascadeModel if kind is not CascadeModel else GlobalCTR
    with pytest.raises(InputError, match=f"{kind.__name__}, not a {other.__name__}"):
        other.load(tmp_path / "model")
    with pytest.raises(InputError, match="no click model"):
        kind.load(tmp_path)


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
    for name, log in logs.items():
        model = kind().fit(make_sessions(log))
        relevance = model.relevance()["relevance"].to_numpy()
        assert np.all((relevance > 0) & (relevance < 1)), name
        assert np.isfinite(model.perplexity(make_sessions(log))), name
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
    assert model.untold.tolist() == [3, 4, 5]
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


def test_the_face_of_the_room_shows_each_of_its_names() -> None:
    assert all(getattr(clicks, name).__name__ == name for name in clicks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'PositionBiasedModel'"):
        _ = clicks.PositionBiasedModel
