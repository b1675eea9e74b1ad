"""Queries of a simulated world: distinct, the frequent ones general and the rare ones specific."""

import numpy as np
import pandas as pd
import pytest

from corpus.simulation.texts import draw_words, write_documents, write_queries
from corpus.simulation.vocabulary import read_vocabulary
from corpus.simulation.world import World, simulate_world

VOCABULARY = read_vocabulary(3)


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_world(seed=5)


def agreement(world: World) -> "pd.Series[float]":
    """Share of a query's words that are in each document about its facet, by query_id."""
    bodies = world.collection.documents.to_pandas().set_index("doc_id")["body"].str.split()
    queries = world.collection.queries.to_pandas().set_index("query_id")["text"].str.split()
    about = world.topical_grades.to_pandas().query("grade >= 2")
    shares = [
        np.mean([word in bodies[doc_id] for word in queries[query_id]])
        for query_id, doc_id in zip(about["query_id"], about["doc_id"], strict=True)
    ]
    return pd.Series(shares, index=about["query_id"])


def test_words_are_used_by_zipfs_law() -> None:
    ranks = draw_words(np.ones(50_000), VOCABULARY, np.random.default_rng(0))
    assert ranks.shape == (50_000, 10)
    assert (np.sort(ranks, axis=1) == np.arange(10)).all()
    first = np.bincount(ranks[:, 0]) / 50_000
    harmonic = (1 / np.arange(1, 11)).sum()
    np.testing.assert_allclose(first, 1 / np.arange(1, 11) / harmonic, atol=0.01)


def test_a_rare_querys_word_is_an_authors_one_time_in_five(world: World) -> None:
    # Furnas et al. (CACM 1987); more often where many people search for it.
    frequency = world.collection.queries.to_pandas().set_index("query_id")["frequency"]
    shares = agreement(world)
    searched = frequency[shares.index].to_numpy()
    assert shares[searched == 1].mean() == pytest.approx(0.2, abs=0.02)
    assert shares[searched > 10].mean() > 0.25


def test_rare_queries_are_more_specific(world: World) -> None:
    # Specific words are in few documents (Spärck Jones 1972).
    documents = world.collection.documents["body"].to_pandas().str.split().map(set)
    held = documents.explode().value_counts()
    queries = world.collection.queries.to_pandas()
    rarity = queries["text"].str.split().map(lambda words: held.reindex(words).fillna(0).mean())
    classes = pd.cut(queries["frequency"], [0, 1, 3, np.inf])
    assert rarity.groupby(classes, observed=True).mean().is_monotonic_increasing
    length = queries["text"].str.split().str.len().groupby(classes, observed=True).mean()
    assert length.is_monotonic_decreasing


def test_every_query_has_another_text(world: World) -> None:
    texts = world.collection.queries["text"].to_pylist()
    assert len(set(texts)) == len(texts) == 1300


def test_where_no_short_text_is_left_queries_get_longer_and_the_frequent_stay_short() -> None:
    # One topic has 40 words, so 40 texts of one word.
    vocabulary, queries = read_vocabulary(1), 100
    frequency = np.arange(queries, 0, -1)
    table, facets = write_queries(
        np.ones(queries, dtype=np.int64), frequency, vocabulary, np.random.default_rng(0)
    )
    texts = table["text"].to_pylist()
    lengths = np.array([len(text.split()) for text in texts])
    assert len(set(texts)) == queries
    assert set(lengths) == {1, 2}
    assert lengths[:20].mean() < lengths[-20:].mean()
    assert table["frequency"].to_pylist() == frequency.tolist()
    for text, facet in zip(texts, facets, strict=True):
        assert set(text.split()) <= set(vocabulary.words[facet])


def test_a_document_holds_two_words_of_each_of_its_facets() -> None:
    share = np.zeros((2, len(VOCABULARY.words)))
    share[0, 3], share[0, 7], share[1, 0] = 2 / 3, 1 / 3, 1.0
    table = write_documents(share, np.full(2, 0.5), VOCABULARY, np.random.default_rng(0))
    held = [
        [len(set(body.split()) & set(VOCABULARY.words[facet])) for facet in (0, 3, 7)]
        for body in table["body"].to_pylist()
    ]
    assert held == [[0, 2, 2], [2, 0, 0]]
