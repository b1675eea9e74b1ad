"""A simulated log has the shape that is counted in real ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import zeta

from corpus.errors import InputError
from corpus.simulation.traffic import (
    default_searches,
    draw_frequencies,
    draw_lengths,
    draw_times,
    power_law,
)

# Silverstein et al. (SIGIR Forum 1999): distinct queries searched 1, 2, 3 and more times.
ALTAVISTA = [0.637, 0.162, 0.065, 0.136]


@given(st.integers(1, 300), st.integers(0, 5000))
def test_frequencies_fall_sum_to_the_searches_and_leave_no_query_out(
    queries: int, extra: int
) -> None:
    frequency = power_law(queries, queries + extra)
    assert frequency.shape == (queries,)
    assert frequency.sum() == queries + extra
    assert frequency.min() >= 1
    assert (np.diff(frequency) <= 0).all()


def test_the_law_is_the_documented_one() -> None:
    # P(k) = k ** -2.1 / zeta(2.1), cut at 3,755.
    count = np.arange(1, 3756)
    mass = count**-2.1 / zeta(2.1)
    np.testing.assert_allclose(mass[:3], [0.6409, 0.1495, 0.0638], atol=1e-4)
    np.testing.assert_allclose(np.average(count, weights=mass), 3.97, atol=1e-3)


@pytest.mark.parametrize("queries", [300, 1200, 12_000])
def test_most_queries_are_searched_once_as_in_altavista(queries: int) -> None:
    frequency = power_law(queries, default_searches(queries))
    share = np.bincount(np.minimum(frequency, 4), minlength=5)[1:] / queries
    np.testing.assert_allclose(share, ALTAVISTA, atol=0.03 if queries < 1000 else 0.02)
    assert frequency.mean() == pytest.approx(3.97, abs=0.01)


@pytest.mark.parametrize("queries", [1200, 12_000])
def test_rank_and_frequency_follow_zipfs_law(queries: int) -> None:
    frequency = power_law(queries, default_searches(queries))
    repeated = frequency[frequency > 1]
    rank = np.arange(1, len(repeated) + 1)
    slope = np.polyfit(np.log(rank), np.log(repeated), deg=1)[0]
    assert slope == pytest.approx(-1 / (2.1 - 1), abs=0.05)


def test_a_longer_log_has_fewer_queries_that_are_searched_once() -> None:
    once = [np.mean(power_law(400, 400 * searches) == 1) for searches in (1, 2, 4, 10, 50)]
    assert once[0] == 1
    assert (np.diff(once) < 0).all()
    assert once[-1] > 0.2


def test_popular_queries_are_short() -> None:
    # Beitzel et al. (SIGIR 2004): 1.7 terms in popular queries, 2.2 in all searches.
    popular, searched, once = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        words = draw_lengths(1200, rng)
        frequency = draw_frequencies(words, default_searches(1200), rng)
        popular.append(words[np.argsort(-frequency)[:60]].mean())
        searched.append(np.average(words, weights=frequency))
        once.append(words[frequency == 1].mean())
    assert np.mean(popular) == pytest.approx(1.7, abs=0.2)
    assert np.mean(searched) == pytest.approx(2.2, abs=0.2)
    assert np.mean(once) > np.mean(popular) + 1.5


def test_lengths_are_one_to_six_words() -> None:
    words = draw_lengths(5000, np.random.default_rng(0))
    assert set(words) == {1, 2, 3, 4, 5, 6}
    assert words.dtype == np.int64


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(0, 99), st.integers(0, 9))
def test_frequencies_are_those_of_the_law_whatever_the_lengths(
    words: list[int], extra: int, seed: int
) -> None:
    searches = len(words) + extra
    frequency = draw_frequencies(np.array(words), searches, np.random.default_rng(seed))
    assert sorted(frequency, reverse=True) == power_law(len(words), searches).tolist()


def test_the_head_is_not_the_first_queries() -> None:
    frequency = draw_frequencies(np.full(200, 3), 20_000, np.random.default_rng(0))
    assert abs(np.corrcoef(np.arange(200), frequency)[0, 1]) < 0.2


def test_searches_spread_over_six_weeks_in_order() -> None:
    time = draw_times(10_000, np.random.default_rng(0))
    assert time.dtype == np.int64
    assert time.min() >= 0
    assert time.max() < 43 * 86_400
    assert (np.diff(time) >= 0).all()
    assert np.median(time) == pytest.approx(21.5 * 86_400, rel=0.03)


def test_fewer_sessions_than_queries_are_refused() -> None:
    with pytest.raises(InputError, match="9 sessions cannot cover 10 queries"):
        power_law(10, 9)
