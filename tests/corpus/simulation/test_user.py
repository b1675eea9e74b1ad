"""Simulated users click as the formulas say, and as often."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.schemas import empty_table
from corpus.simulation.user import (
    attraction_probability,
    check_user,
    examination_probability,
    simulate_clicks,
    simulate_sessions,
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


def test_examination_and_attraction_are_those_of_the_papers() -> None:
    np.testing.assert_allclose(examination_probability(4), [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(attraction_probability(np.arange(4), 3), ATTRACTION)
    np.testing.assert_allclose(attraction_probability(np.array([0, 1]), 1), [0.1, 1.0])


def test_noise_and_position_bias_can_be_set() -> None:
    np.testing.assert_allclose(examination_probability(3, 2.0), [1, 1 / 4, 1 / 9])
    np.testing.assert_allclose(examination_probability(3, 0.0), [1, 1, 1])
    np.testing.assert_allclose(attraction_probability(np.array([0, 1]), 1, 0.3), [0.3, 1.0])
    collection = make_collection(1, [1.0, 0.0], [0, 0])
    clicked = simulate_clicks(
        collection, np.array([4000]), np.random.default_rng(0), click_noise=0.3, position_bias=2.0
    )
    rate = np.array(clicked.sessions["clicks"].to_pylist()).mean(axis=0)
    np.testing.assert_allclose(rate, [0.3, 0.3 / 4], atol=0.03)


@pytest.mark.parametrize(
    ("noise", "bias", "named"),
    [
        (-0.1, 1.0, "click_noise is a probability, from 0 to 1, not -0.1"),
        (1.5, 1.0, "click_noise .* not 1.5"),
        (float("nan"), 1.0, "click_noise .* not nan"),
        (0.1, -1.0, "position_bias is an exponent, 0 or above, not -1.0"),
        (0.1, float("inf"), "position_bias .* not inf"),
        (0.1, float("nan"), "position_bias .* not nan"),
    ],
)
def test_users_who_cannot_be_are_refused(noise: float, bias: float, named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_user(noise, bias)


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
    assert cells["size"].min() > 3000
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


def test_sessions_come_in_the_order_of_time() -> None:
    sessions = simulate_sessions(make_collection(20, [1.0, 0.0], [1, 0]), 500, seed=1).sessions
    assert sessions.schema.field("time").type == pa.int64()
    time = sessions["time"].to_numpy()
    assert (np.diff(time) >= 0).all()
    assert sessions["session_id"].to_pylist() == sorted(sessions["session_id"].to_pylist())


def test_a_log_has_four_searches_a_query_by_default_and_most_queries_once() -> None:
    simulated = simulate_sessions(make_collection(300, [1.0, 0.0], [1, 0]), None, seed=1)
    frequency = simulated.queries["frequency"].to_numpy()
    assert frequency.sum() == 1191
    assert np.mean(frequency == 1) == pytest.approx(0.637, abs=0.03)


def test_short_queries_are_frequent() -> None:
    made = make_collection(400, [1.0, 0.0], [1, 0])
    words = np.arange(400) % 8 + 3
    texts = pa.array([" ".join("word" for _ in range(count)) for count in words])
    queries = made.queries.set_column(1, "text", texts)
    simulated = simulate_sessions(Collection(**{**vars(made), "queries": queries}), None, seed=1)
    frequency = simulated.queries["frequency"].to_numpy()
    assert words[frequency > 3].mean() < words[frequency == 1].mean() - 2


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
