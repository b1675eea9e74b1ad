"""What holds for every click model: likelihoods, recovery of parameters, real searches."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

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
from corpus.errors import InputError
from corpus.schemas import SCHEMAS
from tests.clicks.models.conftest import MODELS, a_model, make_sessions, rates_of

Page = tuple[str, list[str]]


def chain_likelihood(
    clicked: tuple[bool, ...],
    attractiveness: list[float],
    after_skip: Callable[[int], float],
    after_click: Callable[[int], float],
) -> float:
    """Sums over how many of the results were examined."""
    total = 0.0
    for examined in range(1, len(clicked) + 1):
        if any(clicked[examined:]):
            continue
        chance = 1.0
        for position in range(examined):
            attractive = attractiveness[position]
            chance *= attractive if clicked[position] else 1 - attractive
            on = after_click(position) if clicked[position] else after_skip(position)
            if position < len(clicked) - 1:
                chance *= on if position < examined - 1 else 1 - on
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
        for position, (doc_id, click) in enumerate(zip(doc_ids, clicked, strict=True)):
            if isinstance(model, GlobalCTR):
                chance = model.rate_
            elif isinstance(model, RankCTR):
                chance = model.position_rates_[position]
            elif isinstance(model, DocumentCTR):
                chance = rates_of(model, "pair_rates_")[query_id, doc_id]
            else:
                examined = (
                    model.examination_[position]
                    if isinstance(model, PositionBasedModel)
                    else model.examination_[position, last]
                )
                chance = examined * rates_of(model, "attractiveness_")[query_id, doc_id]
            total *= chance if click else 1 - chance
            last = position + 1 if click else last
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


def test_the_face_of_the_room_shows_each_of_its_names() -> None:
    assert all(getattr(clicks, name).__name__ == name for name in clicks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'PositionBiasedModel'"):
        _ = clicks.PositionBiasedModel
