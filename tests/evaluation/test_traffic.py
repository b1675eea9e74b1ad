"""Rankings against the clicks of held-out traffic, worked out by hand and by simulation."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import InputError
from evaluation import traffic
from evaluation.traffic import (
    click_gains,
    count_by_context,
    count_traffic,
    log_likelihood,
    read_propensities,
    traffic_log_likelihood,
    traffic_ndcg,
    with_scores,
)

PROPENSITIES = np.array([1.0, 0.5, 0.01, np.nan])


def pages(*rows: tuple[str, str, str], times: list[int] | None = None) -> pa.Table:
    """Sessions of a query, its documents (a letter each) and clicks ("x" where there is one)."""
    table = pa.table(
        {
            "session_id": [f"s{row}" for row in range(len(rows))],
            "query_id": [query for query, _, _ in rows],
            "doc_ids": [list(shown) for _, shown, _ in rows],
            "clicks": [[mark == "x" for mark in clicks] for _, _, clicks in rows],
        }
    )
    return table if times is None else table.append_column("sessions", pa.array(times))


def run_of(query: str, ranking: str) -> pd.DataFrame:
    scores = [-float(rank) for rank in range(len(ranking))]
    return pd.DataFrame({"query_id": query, "doc_id": list(ranking), "score": scores})


def test_a_click_counts_as_often_as_its_position_is_overlooked() -> None:
    log = pages(("q", "abcd", "x..x"), ("q", "bacd", ".xx."))
    counts = count_traffic(log, PROPENSITIES, max_weight=20)
    gains = click_gains(counts).set_index("doc_id")["gain"].to_dict()
    # a: clicked at 1 and at 2, of propensity 0.5; c: at 3, whose weight is clipped, of two
    # impressions; d stands where nothing is known of propensities.
    assert gains == {"a": (1 + 2) / 2, "b": 0.0, "c": 20 / 2}
    ideal = 10 + 1.5 / math.log2(3)
    [value] = traffic_ndcg(run_of("q", "dabc"), counts)["value"]
    assert value == pytest.approx((1.5 + 10 / 2) / ideal)
    [best] = traffic_ndcg(run_of("q", "caxb"), counts)["value"]
    assert best == 1.0


def test_clipping_is_by_the_setting_and_propensities_above_one_count_as_one() -> None:
    log = pages(("q", "ab", "xx"))
    for max_weight, weight in ((1, 1), (2, 2), (100, 4)):
        counts = count_traffic(log, np.array([1.3, 0.25]), max_weight)
        assert click_gains(counts)["gain"].tolist() == [1.0, weight]


def test_rows_that_stand_for_many_sessions_are_counted_so() -> None:
    rows = [("q", "ab", "x."), ("q", "ba", ".."), ("q", "ab", "x.")]
    once = count_traffic(pages(*rows), PROPENSITIES, 20)
    counted = count_traffic(pages(*rows[:2], times=[2, 1]), PROPENSITIES, 20)
    pd.testing.assert_frame_equal(once, counted)
    assert once["impressions"].sum() == 6


def test_queries_that_tell_nothing_apart_are_left_out() -> None:
    log = pages(("none", "ab", ".."), ("alike", "a", "x"), ("told", "ab", "x."))
    run = pd.concat([run_of(name, "ab") for name in ("none", "alike", "told", "unsearched")])
    counts = count_traffic(log, PROPENSITIES, 20)
    values = traffic_ndcg(run, counts)
    assert values[["query_id", "measure", "value"]].to_dict("records") == [
        {"query_id": "told", "measure": "traffic nDCG@10", "value": 1.0}
    ]
    empty = count_traffic(log.slice(0, 0), PROPENSITIES, 20)
    assert traffic_ndcg(run, empty).empty
    assert traffic_log_likelihood(run, empty).empty
    assert traffic_log_likelihood(run, counts[counts["query_id"] == "told"]).empty


def test_every_run_is_measured_on_the_same_queries() -> None:
    log = pages(("p", "abc", "x.."), ("q", "abc", ".x."))
    counts = count_traffic(log, PROPENSITIES, 20)
    for run, ndcg in (
        (run_of("p", "ab"), {"p": 1.0, "q": 0.0}),
        (run_of("p", "b"), {"p": 0.0, "q": 0.0}),
        (run_of("other", "ab"), {"p": 0.0, "q": 0.0}),
        (run_of("p", "ab").iloc[:0], {"p": 0.0, "q": 0.0}),
    ):
        assert traffic_ndcg(run, counts).set_index("query_id")["value"].to_dict() == ndcg
        likelihood = traffic_log_likelihood(run, counts)
        assert sorted(likelihood["query_id"]) == ["p", "q"]
        assert np.isfinite(likelihood["value"]).all()


def test_propensities_are_those_of_the_folder_by_context_where_it_has_one(tmp_path: Path) -> None:
    log = pages(("q", "ab", ".x"), ("q", "ab", ".x"), ("q", "ab", "xx"))
    log = log.append_column("device", pa.array(["phone", "desk", None]))
    with pytest.raises(InputError, match=r"propensities.parquet: there is no such table"):
        count_by_context(log, read_propensities(tmp_path), 20)
    by_position = {"position": [2, 1], "propensity": [0.5, 1.0]}
    pq.write_table(pa.table(by_position), tmp_path / "propensities.parquet")
    assert click_gains(count_by_context(log, read_propensities(tmp_path), 20))["gain"].tolist() == [
        1 / 3,
        2.0,
    ]
    by_device = {
        "position": [1, 2, 1, 2],
        "propensity": [1.0, 0.5, 1.0, None],
        "context": ["phone", "phone", "desk", "desk"],
    }
    pq.write_table(pa.table(by_device), tmp_path / "propensities.parquet")
    (tmp_path / "job.json").write_text('{"settings": {"context": "device"}}')
    counts = count_by_context(log, read_propensities(tmp_path), 20)
    assert click_gains(counts).set_index("doc_id")["gain"].to_dict() == {"a": 0.0, "b": 2.0}
    assert counts["impressions"].sum() == 3
    with pytest.raises(InputError, match="by device, a column that the held-out sessions lack"):
        count_by_context(log.drop_columns("device"), read_propensities(tmp_path), 20)


def test_likelihood_is_that_of_the_position_based_model_with_a_map_of_the_other_half() -> None:
    # In both queries a is clicked half of the time and b a fourth, at the first position.
    rows = [(query, "a", mark) for query in ("p", "q") for mark in "x."]
    rows += [(query, "b", mark) for query in ("p", "q") for mark in "x..."]
    run = pd.concat([run_of("p", "ab"), run_of("q", "ab")])
    values = traffic_log_likelihood(run, count_traffic(pages(*rows), PROPENSITIES, 20))
    by_hand = (2 * math.log(1 / 2) + math.log(1 / 4) + 3 * math.log(3 / 4)) / 6
    assert values.set_index("query_id")["value"].to_dict() == pytest.approx(
        {"p": by_hand, "q": by_hand}
    )
    # Scores that contradict the clicks tell no more than the mean.
    wrong = pd.concat([run_of("p", "ba"), run_of("q", "ba")])
    values = traffic_log_likelihood(wrong, count_traffic(pages(*rows), PROPENSITIES, 20))
    mean = (2 * math.log(1 / 3) + 4 * math.log(2 / 3)) / 6
    assert values["value"].tolist() == pytest.approx([mean, mean])


def test_the_better_ranker_has_the_higher_values_of_both_and_the_biased_one_has_not() -> None:
    rng = np.random.default_rng(0)
    propensities = 1 / np.arange(1, 9)
    attractiveness = rng.uniform(0.02, 0.9, (60, 8))
    logged = np.argsort(rng.normal(size=(60, 8)), axis=1)
    rows = []
    for query, order in enumerate(logged):
        for _ in range(60):
            shown = np.roll(order, rng.integers(0, 3))
            clicks = rng.random(8) < propensities * attractiveness[query, shown]
            marks = "".join("x" if click else "." for click in clicks)
            rows.append((f"q{query}", "".join("abcdefgh"[doc] for doc in shown), marks))
    counts = count_traffic(pages(*rows), propensities, max_weight=20)

    def scored(scores: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "query_id": np.repeat([f"q{query}" for query in range(60)], 8),
                "doc_id": list("abcdefgh") * 60,
                "score": scores.ravel(),
            }
        )

    truth = scored(attractiveness)
    rank_of_logged = np.empty_like(logged)
    np.put_along_axis(rank_of_logged, logged, np.broadcast_to(np.arange(8), (60, 8)), axis=1)
    biased = scored(-rank_of_logged.astype(float))
    noisy = scored(attractiveness + rng.normal(0, 0.5, attractiveness.shape))
    for measure in (traffic_ndcg, traffic_log_likelihood):
        best, worse, worst = (
            measure(run, counts)["value"].mean() for run in (truth, noisy, biased)
        )
        assert best > worse > worst


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("pqr"), st.permutations("abcd"), st.text("x.", min_size=4, max_size=4)
        ),
        min_size=1,
        max_size=12,
    ),
    st.floats(-3, 3),
    st.floats(0.1, 5),
)
def test_only_the_order_of_scores_matters(
    rows: list[tuple[str, list[str], str]], shift: float, scale: float
) -> None:
    log = pages(*[(query, "".join(shown), clicks) for query, shown, clicks in rows])
    counts = count_traffic(log, np.array([1.0, 0.6, 0.4, 0.3]), 20)
    run = pd.concat([run_of(query, "dbac") for query in "pqr"])
    moved = run.assign(score=np.exp(scale * run["score"] + shift))
    for measure in (traffic_ndcg, traffic_log_likelihood):
        before, after = measure(run, counts), measure(moved, counts)
        pd.testing.assert_frame_equal(before, after)
        assert before["value"].notna().all()
    assert (traffic_log_likelihood(run, counts)["value"] < 0).all()


def test_likelihood_of_pieces_is_that_of_all_and_few_scores_are_as_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    counts = pd.DataFrame(
        {
            "query_id": np.repeat([f"q{n}" for n in range(300)], 5),
            "doc_id": [f"d{n}" for n in range(1500)],
            "propensity": np.tile([1.0, 0.5, 0.4, 0.3, 0.2], 300),
            "impressions": rng.integers(1, 50, 1500),
        }
    )
    run = counts[["query_id", "doc_id"]].assign(score=rng.normal(size=1500))
    chance = counts["propensity"] / (1 + np.exp(-run["score"]))
    counts["clicks"] = rng.binomial(counts["impressions"], chance)
    run = run[rng.random(1500) < 0.9]
    whole = traffic_log_likelihood(run, counts)
    scored = with_scores(counts, run)
    of_piece = [
        scored[scored["query_id"].isin(ids)]
        for ids in np.array_split([f"q{n}" for n in range(300)], 7)
    ]
    lowest = run["score"].min()
    pd.testing.assert_frame_equal(log_likelihood(of_piece, lowest), whole)
    monkeypatch.setattr(traffic, "MOST_SCORES", 200)
    few = log_likelihood(of_piece, lowest)
    assert few["value"].mean() == pytest.approx(whole["value"].mean(), abs=1e-3)
    np.testing.assert_allclose(few["value"], whole["value"], atol=0.05)
