"""Propensities come out as they went in, with how sure they are."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from clicks.propensities import PropensityMethod, estimate_propensities
from corpus.schemas import SCHEMAS

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


@pytest.mark.parametrize("method", ["all_pairs", "adjacent_chain", "pivot_one"])
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


@pytest.mark.parametrize("method", ["all_pairs", "adjacent_chain", "pivot_one"])
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
