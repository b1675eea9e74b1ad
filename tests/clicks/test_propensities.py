"""Propensities come out as they went in, with how sure they are."""

import tracemalloc
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from clicks.propensities import PropensityMethod, estimate_propensities
from corpus.schemas import SCHEMAS

METHODS = get_args(PropensityMethod)
EXAMINATION = np.array([1.0, 0.6, 0.4, 0.25])


def simulate(sessions: int, queries: int, swap: float, seed: int) -> pa.Table:
    """A position-based user; a ranker that puts better documents first, but for some noise."""
    rng = np.random.default_rng(seed)
    attractiveness = -np.sort(-rng.beta(1, 2, (queries, 4)), axis=1)
    query = rng.integers(queries, size=sessions)
    order = np.argsort(np.arange(4) + swap * rng.random((sessions, 4)), axis=1)
    clicks = rng.random((sessions, 4)) < EXAMINATION * attractiveness[query[:, None], order]
    names = np.char.add(np.char.add(query[:, None].astype(str), "-"), order.astype(str))
    ids = [str(row) for row in range(sessions)]
    columns = [ids, query.astype(str).tolist(), names.tolist(), clicks.tolist()]
    return pa.table(columns, schema=SCHEMAS["sessions"])


def column(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.array(table[name].to_pylist(), dtype=float)


@pytest.mark.parametrize("method", METHODS[1:])
def test_harvesting_recovers_propensities_where_a_ranker_confounds(
    method: PropensityMethod,
) -> None:
    table = estimate_propensities(simulate(60_000, 60, 2.5, seed=1), method, resamples=40)
    propensity = column(table, "propensity")
    assert propensity[0] == 1.0
    # The interval is of 95 %: twice its width would miss about once in 10,000.
    width = column(table, "high") - column(table, "low")
    assert np.all(np.abs(propensity - EXAMINATION)[1:] <= 2 * width[1:])
    assert np.all(width[1:] < 0.25)
    assert np.all(column(table, "low") <= propensity)
    assert np.all(propensity <= column(table, "high"))


def test_em_recovers_propensities_where_documents_change_places() -> None:
    table = estimate_propensities(simulate(60_000, 60, 6.0, seed=2), "em", resamples=10)
    assert column(table, "propensity") == pytest.approx(EXAMINATION, abs=0.02)
    assert np.all(column(table, "high") - column(table, "low") < 0.1)


@pytest.mark.parametrize("method", METHODS[1:])
def test_too_little_overlap_is_said(method: PropensityMethod) -> None:
    still = simulate(2_000, 10, 0.0, seed=3)  # no document ever changes its place
    table = estimate_propensities(still, method, resamples=3)
    assert table["propensity"].to_pylist() == [1.0, None, None, None]
    assert table["linked_pairs"].to_pylist() == [0] * 4
    # Neighbours change places: in four queries, sixteen pairs in all.
    few = simulate(3_000, 4, 1.2, seed=3)
    table = estimate_propensities(few, method, resamples=0)
    assert max(table["linked_pairs"].to_pylist()) > 0
    assert table["propensity"].to_pylist()[:2] == [1.0, None]
    assert table["low"].null_count == 4


def test_a_seed_gives_the_same_interval() -> None:
    sessions = simulate(2_000, 30, 3.0, seed=4)
    first, again, other = (
        estimate_propensities(sessions, "pivot_one", resamples=5, seed=seed) for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)
    assert first["propensity"].equals(other["propensity"])


def pages(
    prefix: str, attractiveness: NDArray[np.float64], order: NDArray[np.int64], seed: int
) -> pa.Table:
    """Sessions of each query in turn; `order` is of the documents of each, by position."""
    rng = np.random.default_rng(seed)
    query = np.arange(len(order)) % len(attractiveness)
    length = order.shape[1]
    chance = TEN[:length] * attractiveness[query[:, None], order]
    clicks = pa.array((rng.random(order.shape) < chance).ravel())
    starts = pa.array(np.arange(0, order.size + 1, length, dtype=np.int32))
    names = np.array([f"{prefix}{n}" for n in range(attractiveness.size)], dtype=object)
    shown = pa.array(names[query[:, None] * attractiveness.shape[1] + order].ravel())
    return pa.table(
        [
            [f"{prefix}{n}" for n in range(len(order))],
            [f"{prefix}{n}" for n in query],
            pa.ListArray.from_arrays(starts, shown),
            pa.ListArray.from_arrays(starts, clicks),
        ],
        schema=SCHEMAS["sessions"],
    )


TEN = np.array([1.0, 0.6, 0.4, 0.25, 0.22, 0.2, 0.17, 0.15, 0.12, 0.1])


def test_em_learns_of_positions_that_only_rare_queries_reach() -> None:
    """The 27,000 pairs with the most impressions are all at the first three positions."""
    rng = np.random.default_rng(5)
    orders = [np.argsort(rng.random(shape), axis=1) for shape in ((90_000, 3), (100_000, 10))]
    head = pages("head", rng.beta(1, 2, (9_000, 3)), orders[0], seed=6)
    tail = pages("tail", rng.beta(1, 2, (20_000, 10)), orders[1], seed=7)
    table = estimate_propensities(pa.concat_tables([head, tail]), "em", resamples=20)
    assert column(table, "impressions")[3:].tolist() == [100_000] * 7
    np.testing.assert_allclose(column(table, "propensity"), TEN, rtol=0.08)
    assert np.all(column(table, "low") <= column(table, "propensity"))
    assert np.all(column(table, "propensity") <= column(table, "high"))
    assert np.all((column(table, "high") / column(table, "low"))[3:] < 1.3)


@pytest.mark.parametrize("method", METHODS)
def test_positions_that_no_document_links_to_the_first_one_are_unknown(
    method: PropensityMethod,
) -> None:
    """Documents swap 1 and 2, and 3 and 4: the two halves cannot be compared."""
    rng = np.random.default_rng(8)
    swapped = rng.random((2, 8_000)) < 0.5
    order = np.tile(np.arange(4), (8_000, 1))
    order[swapped[0], :2], order[swapped[1], 2:] = [1, 0], [3, 2]
    table = estimate_propensities(
        pages("", rng.beta(1, 2, (400, 4)), order, seed=9), method, resamples=20
    )
    assert table["propensity"].is_null().to_pylist() == [False, False, True, True]
    assert table["low"].is_null().to_pylist() == [False, False, True, True]
    assert column(table, "propensity")[1] == pytest.approx(0.6, abs=0.05)
    assert min(table["linked_pairs"].to_pylist()) >= 700


@pytest.mark.parametrize("method", METHODS)
def test_a_position_that_is_never_clicked_is_unknown(method: PropensityMethod) -> None:
    sessions = simulate(4_000, 60, 6.0, seed=1)
    clicks = np.array(sessions["clicks"].to_pylist()) & [True, True, False, True]
    sessions = sessions.set_column(3, "clicks", pa.array(clicks.tolist()))
    known = [False, False, True, method == "adjacent_chain"]
    table = estimate_propensities(sessions, method, resamples=5)
    assert table["propensity"].is_null().to_pylist() == known
    # Without clicks at the first position there is nothing to compare with.
    clicks &= [False, True, True, True]
    sessions = sessions.set_column(3, "clicks", pa.array(clicks.tolist()))
    table = estimate_propensities(sessions, method, resamples=5)
    assert table["propensity"].to_pylist() == [1.0, None, None, None]


@pytest.mark.parametrize("method", METHODS)
def test_a_log_of_one_position_and_one_long_page_take_little(method: PropensityMethod) -> None:
    one = pages("", np.full((50, 1), 0.5), np.zeros((4_000, 1), dtype=np.int64), seed=2)
    assert estimate_propensities(one, method, resamples=3)["propensity"].to_pylist() == [1.0]
    long = [["long"], ["long"], [[str(n) for n in range(20_000)]], [[True] * 20_000]]
    tracemalloc.start()
    table = estimate_propensities(
        pa.concat_tables([one, pa.table(long, schema=SCHEMAS["sessions"])]), method, resamples=3
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table["propensity"].null_count == 19_999
    assert peak < 200_000_000
