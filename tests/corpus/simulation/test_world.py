"""A simulated world: grades follow its formula, and all that matters shows in the text."""

import inspect
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.candidates import bm25_scores
from corpus.errors import InputError
from corpus.simulation.vocabulary import read_vocabulary
from corpus.simulation.world import (
    World,
    human_grade,
    simulate_world,
    topical_grade,
)
from corpus.sources import SimulatedWorld
from corpus.tables import check_collection


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_world(seed=5, queries=200, documents=500, sessions=2000)


def graded_pairs(world: World) -> pd.DataFrame:
    """Every candidate with its topical grade, its human grade, and its document's quality."""
    quality = pd.DataFrame(
        {"doc_id": world.collection.documents["doc_id"].to_pylist(), "quality": world.quality}
    )
    return (
        world.collection.candidates.to_pandas()
        .merge(world.topical_grades.to_pandas().rename(columns={"grade": "topical"}))
        .merge(world.human_grades.to_pandas().rename(columns={"grade": "human"}))
        .merge(quality, on="doc_id")
    )


def test_topical_grades_are_cut_at_the_documented_shares() -> None:
    share = np.array([0.0, 0.0, 0.1, 0.49, 0.5, 0.89, 0.9, 1.0])
    shares_topic = np.array([False, True, False, True, True, True, True, True])
    assert topical_grade(share, shares_topic).tolist() == [0, 1, 1, 1, 2, 2, 3, 3]


def test_human_grades_by_hand() -> None:
    # Topical grade, moved by 2 * quality - 1: by -1, -0.4, 0, 0.4 and 1.
    quality = np.array([0.0, 0.3, 0.5, 0.7, 1.0])
    assert human_grade(np.full(5, 0), quality).tolist() == [0, 0, 0, 0, 0]
    assert human_grade(np.full(5, 1), quality).tolist() == [0, 1, 1, 1, 2]
    assert human_grade(np.full(5, 2), quality).tolist() == [1, 2, 2, 2, 3]
    assert human_grade(np.full(5, 3), quality).tolist() == [2, 3, 3, 3, 3]


@given(st.integers(0, 3), st.floats(0, 1), st.floats(0, 1))
def test_better_documents_are_never_graded_lower(topical: int, one: float, two: float) -> None:
    lower, higher = human_grade(np.array([topical] * 2), np.array(sorted([one, two])))
    assert 0 <= lower <= higher <= 3
    assert abs(lower - topical) <= 1
    assert abs(higher - topical) <= 1


def test_the_world_is_a_whole_collection(world: World) -> None:
    collection = world.collection
    check_collection(collection, "world")
    assert collection.queries.num_rows == 200
    assert collection.documents.num_rows == 500
    assert collection.sessions.num_rows == 2000
    assert collection.candidates.num_rows == 200 * 10
    assert collection.splits.num_rows == 0
    assert world.quality.shape == (500,)
    assert world.quality.min() >= 0
    assert world.quality.max() <= 1


def test_grades_cover_exactly_the_candidates(world: World) -> None:
    key = ["query_id", "doc_id"]
    candidates = world.collection.candidates.select(key).to_pylist()
    assert world.human_grades.select(key).to_pylist() == candidates
    assert world.topical_grades.select(key).to_pylist() == candidates


def test_humans_have_judged_every_candidate_of_a_third_of_the_queries(world: World) -> None:
    judged = world.collection.judgments.to_pandas()
    assert judged["query_id"].nunique() == 66
    assert (judged.groupby("query_id").size() == 10).all()
    assert len(judged.merge(world.human_grades.to_pandas())) == len(judged)


def test_human_grades_follow_from_topic_and_quality(world: World) -> None:
    pairs = graded_pairs(world)
    formula = np.clip(np.rint(pairs["topical"] + 2 * pairs["quality"] - 1), 0, 3)
    assert pairs["human"].tolist() == formula.where(pairs["topical"] > 0, 0).tolist()
    for grade in ("topical", "human"):
        assert set(pairs[grade]) == {0, 1, 2, 3}
        assert pairs[grade].value_counts(normalize=True).min() > 0.05


def test_quality_shows_in_the_text(world: World) -> None:
    vocabulary = read_vocabulary(3)
    bodies = world.collection.documents["body"].to_pylist()
    trusted, junk = (
        np.array([sum(body.count(sentence) for sentence in sentences) for body in bodies])
        for sentences in (vocabulary.trusted_sentences, vocabulary.junk_sentences)
    )
    assert np.corrcoef(trusted - junk, world.quality)[0, 1] > 0.6
    assert trusted[world.quality > 0.9].mean() > 1.5
    assert trusted[world.quality < 0.1].mean() < 0.1
    assert junk[world.quality < 0.1].mean() > 1.5
    assert junk[world.quality > 0.9].mean() < 0.1


def test_quality_moves_users() -> None:
    world = simulate_world(seed=1, queries=200, documents=500, sessions=20_000)
    pairs = graded_pairs(world).query("topical == 2").set_index(["query_id", "doc_id"])
    shown = world.collection.sessions.to_pandas().explode(["doc_ids", "clicks"])
    rate = shown.groupby(["query_id", "doc_ids"])["clicks"].agg(["mean", "size"])
    rate = rate[rate["size"] >= 10]["mean"].astype(float)
    pairs["rate"] = rate.reindex(pairs.index)
    good, bad = pairs.query("quality > 0.75")["rate"], pairs.query("quality < 0.25")["rate"]
    # Human grades 3 and 1, which attract with 1 and 0.1 + 0.9 / 7 = 0.23.
    assert good.mean() > 2.5 * bad.mean()


def test_the_topic_shows_in_the_text(world: World) -> None:
    vocabulary = read_vocabulary(3)
    words_of = [set(words) for words in vocabulary.words]
    collection = world.collection
    bodies = collection.documents.to_pandas().set_index("doc_id")["body"].to_dict()
    queries = collection.queries.to_pandas().set_index("query_id")["text"].to_dict()
    pairs = graded_pairs(world)

    def about(query_id: str, doc_id: str) -> int:
        """How many words of the document belong to the query's facet."""
        facet = next(words for words in words_of if set(queries[query_id].split()) <= words)
        return sum(word in facet for word in bodies[doc_id].split())

    pairs["about"] = [
        about(query_id, doc_id)
        for query_id, doc_id in zip(pairs["query_id"], pairs["doc_id"], strict=True)
    ]
    mean = pairs.groupby("topical")["about"].mean()
    # Three of four sentences hold two or three words of the facet each, two of four ..., none.
    assert mean[3] > mean[2] + 1.5 > mean[1] + 3
    assert mean[0] < 0.3


def test_queries_speak_the_language_of_one_facet(world: World) -> None:
    facets = [set(words) for words in read_vocabulary(3).words]
    for text in world.collection.queries["text"].to_pylist():
        words = text.split()
        assert 1 <= len(set(words)) == len(words) <= 6
        assert any(set(words) <= facet for facet in facets)


def test_a_list_holds_different_documents_in_the_order_of_bm25(world: World) -> None:
    collection = world.collection
    scores = bm25_scores(collection.queries["text"], collection.documents)
    row_of = {doc_id: row for row, doc_id in enumerate(collection.documents["doc_id"].to_pylist())}
    lists = collection.candidates.to_pandas().groupby("query_id", sort=False)
    for of_query, (_, candidates) in zip(scores, lists, strict=True):
        assert candidates["rank"].tolist() == list(range(1, 11))
        assert candidates["doc_id"].is_unique
        assert candidates["score"].is_monotonic_decreasing
        assert candidates["score"].tolist() == of_query[candidates["doc_id"].map(row_of)].tolist()


def test_candidates_are_unrelated_related_and_relevant_as_judged_passages_are(world: World) -> None:
    # TREC 2019 Deep Learning: 56, 17 and 27 %. Drawn without putting back from the few documents
    # about a facet, which makes the last share somewhat smaller.
    share = graded_pairs(world)["topical"].clip(upper=2).value_counts(normalize=True)
    assert share.to_dict() == pytest.approx({0: 0.56, 1: 0.17, 2: 0.27}, abs=0.04)


def test_the_log_is_that_of_the_queries(world: World) -> None:
    frequency = world.collection.queries["frequency"].to_numpy()
    searched = world.collection.sessions["query_id"].to_pandas().value_counts()
    assert frequency.sum() == 2000
    assert frequency.min() >= 1
    assert searched[world.collection.queries["query_id"].to_pylist()].tolist() == frequency.tolist()


def test_the_seed_decides_everything_but_the_language(world: World) -> None:
    again = simulate_world(seed=5, queries=200, documents=500, sessions=2000)
    other = simulate_world(seed=6, queries=200, documents=500, sessions=2000)
    assert again.collection == world.collection
    assert again.topical_grades == world.topical_grades
    assert other.collection.queries != world.collection.queries
    assert other.collection.documents != world.collection.documents
    words, other_words = (
        set(" ".join(made.collection.documents["body"].to_pylist()).split())
        for made in (world, other)
    )
    assert len(words & other_words) > 0.95 * len(words)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queries": 0},
        {"candidates_per_query": 0},
        {"documents": 23, "candidates_per_query": 12},
        {"queries": 100, "sessions": 99},
        {"topics": 0},
        {"topics": 13},
        {"judged": 1.01},
        {"judged": -0.1},
        {"judged": float("nan")},
        {"click_noise": 2.0},
        {"position_bias": -1.0},
    ],
)
def test_what_is_no_world_is_refused(wrong: dict[str, Any]) -> None:
    named = list(wrong)[-1]
    reason = {
        "queries": "at least one query",
        "candidates_per_query": "needs at least|twice as many",
        "sessions": "99 sessions cannot cover 100 queries",
        "topics": "about 1 to 12 topics",
    }.get(named, f"{named} is .* not {wrong[named]}")
    with pytest.raises(InputError, match=reason):
        simulate_world(seed=0, **wrong)
    with pytest.raises(InputError, match=reason):
        SimulatedWorld(**wrong).check()


def test_a_world_that_is_prepared_is_the_default_world() -> None:
    parameters = inspect.signature(simulate_world).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "seed"}
    assert asdict(SimulatedWorld()) == defaults


@given(
    seed=st.integers(0, 2**32),
    queries=st.integers(1, 30),
    depth=st.integers(1, 12),
    more_documents=st.integers(0, 40),
    more_sessions=st.integers(0, 60),
    judged=st.floats(0, 1),
)
@settings(max_examples=30, deadline=None)
def test_small_worlds_are_worlds(
    seed: int, queries: int, depth: int, more_documents: int, more_sessions: int, judged: float
) -> None:
    documents, sessions = 2 * depth + more_documents, queries + more_sessions
    world = simulate_world(seed, queries, documents, sessions, depth, judged=judged)
    collection = world.collection
    check_collection(collection, "world")
    assert collection.queries["frequency"].to_numpy().sum() == sessions
    assert len(set(collection.queries["text"].to_pylist())) == queries
    assert collection.candidates.num_rows == queries * depth
    known = max(round(judged * queries), int(judged > 0))
    assert collection.judgments.num_rows == known * depth


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_smallest_worlds_are_worlds(depth: int) -> None:
    world = simulate_world(
        seed=0, queries=1, documents=2 * depth, sessions=1, candidates_per_query=depth
    )
    check_collection(world.collection, "world")
    assert world.collection.candidates.num_rows == depth
    assert [len(page) for page in world.collection.sessions["doc_ids"].to_pylist()] == [depth]
