"""Simulated users click as the formulas say, and as often."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.schemas import empty_table
from corpus.simulation.user import (
    attraction_probability,
    examination_probability,
    simulate_sessions,
    zipf_frequencies,
)
from corpus.tables import Collection

GRADES = [0, 1, 2, 3] * 3
# Ai et al. (SIGIR 2018), noise 0.1, highest grade 3: gains 0, 1/7, 3/7 and 1.
ATTRACTION = np.array([0.1, 0.1 + 0.9 / 7, 0.1 + 2.7 / 7, 1.0])


def make_collection(queries: int, scores: list[float], grades: list[int]) -> Collection:
    """Queries that each have the same documents, judged the same, as candidates."""
    query_ids = [f"q{query}" for query in range(queries)]
    doc_ids = [f"d{document}" for document in range(len(scores))]
    pairs = {"query_id": np.repeat(query_ids, len(doc_ids)), "doc_id": doc_ids * queries}
    ranks = [*range(1, len(scores) + 1)] * queries
    return Collection(
        queries=pa.table({"query_id": query_ids, "text": query_ids, "frequency": [0] * queries}),
        documents=pa.table({"doc_id": doc_ids, "title": doc_ids, "body": doc_ids}),
        candidates=pa.table(pairs | {"rank": ranks, "score": scores * queries}),
        sessions=empty_table("sessions"),
        judgments=pa.table(pairs | {"grade": grades * queries}),
        splits=empty_table("splits"),
    )


def impressions(sessions: pa.Table) -> pd.DataFrame:
    """One row for each result shown: its position from 1, its document, whether it was clicked."""
    shown = sessions.to_pandas()
    shown["position"] = [np.arange(1, len(page) + 1) for page in shown["doc_ids"]]
    return shown.explode(["doc_ids", "clicks", "position"]).reset_index(drop=True)


@given(st.integers(1, 300), st.integers(0, 5000), st.integers(0, 2**32))
def test_frequencies_sum_to_the_searches_and_leave_no_query_out(
    queries: int, extra: int, seed: int
) -> None:
    frequencies = zipf_frequencies(queries, queries + extra, np.random.default_rng(seed))
    assert frequencies.shape == (queries,)
    assert frequencies.sum() == queries + extra
    assert frequencies.min() >= 1


def test_frequencies_fall_with_rank_by_zipfs_law() -> None:
    frequencies = np.sort(zipf_frequencies(1000, 2_000_000, np.random.default_rng(0)))[::-1]
    rank = np.arange(1, 201)
    slope = np.polyfit(np.log(rank), np.log(frequencies[:200]), deg=1)[0]
    assert slope == pytest.approx(-0.83, abs=0.01)


def test_the_head_is_not_the_first_queries() -> None:
    frequencies = zipf_frequencies(200, 20_000, np.random.default_rng(0))
    assert abs(np.corrcoef(np.arange(200), frequencies)[0, 1]) < 0.2


def test_fewer_sessions_than_queries_are_refused() -> None:
    with pytest.raises(InputError, match="9 sessions cannot cover 10 queries"):
        zipf_frequencies(10, 9, np.random.default_rng(0))


def test_examination_and_attraction_are_those_of_the_papers() -> None:
    np.testing.assert_allclose(examination_probability(4), [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(attraction_probability(np.arange(4), 3), ATTRACTION)
    np.testing.assert_allclose(attraction_probability(np.array([0, 1]), 1), [0.1, 1.0])


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    """60,000 sessions, twelve candidates a query; the grade of d0, d1, ... is 0, 1, 2, 3, 0, ..."""
    scores = np.linspace(2, 0, len(GRADES)).tolist()
    collection = simulate_sessions(make_collection(300, scores, GRADES), 60_000, seed=7)
    shown = impressions(collection.sessions)
    return shown.assign(grade=shown["doc_ids"].str[1:].astype(int) % 4)


def test_every_position_and_grade_is_clicked_at_its_rate(log: pd.DataFrame) -> None:
    cells = log.groupby(["position", "grade"])["clicks"].agg(["mean", "size"]).reset_index()
    assert len(cells) == 40
    position, grade = cells["position"].to_numpy(float), cells["grade"].to_numpy(int)
    rate: NDArray[np.float64] = ATTRACTION[grade] / position
    allowed = 4.5 * np.sqrt(rate * (1 - rate) / cells["size"].to_numpy())
    assert cells["size"].min() > 5000
    assert allowed.max() < 0.04
    assert (np.abs(cells["mean"].to_numpy(float) - rate) <= allowed).all()


def test_a_page_is_ten_different_candidates_in_one_of_four_rankings(log: pd.DataFrame) -> None:
    pages = log.groupby(["query_id", "session_id"])["doc_ids"].agg(tuple)
    assert set(pages.map(len)) == {10}
    assert set(pages.map(lambda page: len(set(page)))) == {10}
    rankings = pages.groupby("query_id").nunique()
    assert rankings.max() == 4
    assert rankings[pages.groupby("query_id").size() > 100].min() > 1


def test_rankings_are_drawn_by_plackett_luce_from_standardised_scores() -> None:
    # Two candidates, standardised to 1 and -1: the first one leads with sigmoid(2) = 0.8808. As
    # many sessions as queries, so that each session is a draw of its own.
    collection = simulate_sessions(make_collection(4000, [12.0, 2.0], [1, 0]), 4000, seed=3)
    first = [page[0] for page in collection.sessions["doc_ids"].to_pylist()]
    assert np.mean(np.array(first) == "d0") == pytest.approx(0.8808, abs=0.02)


def test_frequencies_are_those_of_the_sessions() -> None:
    collection = simulate_sessions(make_collection(20, [1.0, 0.0], [1, 0]), 500, seed=1)
    counted = collection.sessions["query_id"].to_pandas().value_counts()
    frequency = collection.queries.to_pandas().set_index("query_id")["frequency"]
    assert frequency.sum() == 500
    assert counted.reindex(frequency.index).tolist() == frequency.tolist()


def test_other_columns_of_the_queries_are_kept() -> None:
    collection = make_collection(3, [1.0], [1])
    markets = pa.array(["de", "jp", "us"])
    marked = collection.queries.append_column("market", markets)
    simulated = simulate_sessions(
        Collection(**{**vars(collection), "queries": marked}), sessions=9, seed=1
    )
    assert simulated.queries["market"].to_pylist() == ["de", "jp", "us"]


def test_a_candidate_without_a_judgment_is_clicked_like_grade_0() -> None:
    judged = make_collection(1, [1.0, 0.0], [3, 0])
    unjudged = Collection(**{**vars(judged), "judgments": judged.judgments.slice(0, 1)})
    clicks, same = (simulate_sessions(made, 1000, seed=5).sessions for made in (judged, unjudged))
    assert clicks == same


def test_a_query_without_candidates_gets_no_session(tiny_collection: Collection) -> None:
    simulated = simulate_sessions(tiny_collection, sessions=50, seed=2)
    assert simulated.queries["frequency"].to_pylist()[2] == 0
    assert simulated.sessions.num_rows == 50


def test_the_same_seed_gives_the_same_sessions(tiny_collection: Collection) -> None:
    once, again, other = (simulate_sessions(tiny_collection, 60, seed) for seed in (1, 1, 2))
    assert once == again
    assert once.sessions != other.sessions


@pytest.mark.parametrize(("table", "named"), [("candidates", "lists"), ("judgments", "grades")])
def test_what_cannot_be_simulated_is_refused(
    table: str, named: str, tiny_collection: Collection
) -> None:
    lacking = Collection(**{**vars(tiny_collection), table: empty_table(table)})
    with pytest.raises(InputError, match=f"{named}, and the collection has none"):
        simulate_sessions(lacking, sessions=50, seed=1)
