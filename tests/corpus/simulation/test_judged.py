"""Humans judge queries of every class of frequency, and some that come up after the log window."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from corpus.frequency import frequency_buckets
from corpus.simulation.judged import sample_judged
from corpus.simulation.world import simulate_world
from corpus.tables import Collection


@pytest.fixture(scope="module")
def collection() -> Collection:
    return simulate_world(seed=2).collection


def classes(collection: Collection) -> NDArray[np.str_]:
    """The class of each query in the first four fifths of the log: a bucket, or new."""
    window = collection.sessions.slice(0, round(0.8 * collection.sessions.num_rows))
    counts = window["query_id"].to_pandas().value_counts()
    frequency = counts.reindex(collection.queries["query_id"].to_pylist(), fill_value=0).to_numpy()
    return np.where(frequency > 0, frequency_buckets(frequency), "new")


def test_each_class_has_enough_judged_queries_for_a_test(collection: Collection) -> None:
    judged = set(collection.judgments["query_id"].to_pylist())
    assert len(judged) == round(0.33 * 1300)
    known = np.array([query in judged for query in collection.queries["query_id"].to_pylist()])
    of_class = {
        name: int(known[classes(collection) == name].sum())
        for name in np.unique(classes(collection))
    }
    # Two thirds of them are for the test: 60 of each bucket.
    assert of_class["high"] >= 90
    assert of_class["medium"] >= 90
    assert of_class["low"] >= 60
    assert of_class["new"] >= 60
    # Nine tenths of a class at most, so that some are left where judged ones are withheld.
    assert known[classes(collection) == "high"].mean() <= 0.9


@pytest.mark.parametrize(
    ("share", "wanted"), [(0.0, 0), (1e-9, 1), (0.1, 130), (0.95, 1235), (1.0, 1300)]
)
def test_the_share_of_queries_is_judged(collection: Collection, share: float, wanted: int) -> None:
    rng = np.random.default_rng(0)
    judged = sample_judged(collection.queries, collection.sessions, share, rng)
    assert judged.dtype == np.bool_
    assert judged.shape == (1300,)
    assert judged.sum() == wanted


def test_a_few_judged_queries_are_of_all_classes_too(collection: Collection) -> None:
    rng = np.random.default_rng(0)
    judged = sample_judged(collection.queries, collection.sessions, 0.1, rng)
    counts = [
        int(judged[classes(collection) == name].sum()) for name in ("high", "medium", "low", "new")
    ]
    np.testing.assert_allclose(counts, [130 / 3, 130 / 3, 130 / 6, 130 / 6], atol=1)


def test_the_sample_is_of_the_seed(collection: Collection) -> None:
    samples = [
        sample_judged(collection.queries, collection.sessions, 0.3, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    assert (samples[0] == samples[1]).all()
    assert (samples[0] != samples[2]).any()


def test_one_query_that_is_searched_once_is_judged() -> None:
    queries = pa.table({"query_id": ["q"], "text": ["bread"], "frequency": [1]})
    sessions = pa.table({"session_id": ["s"], "query_id": ["q"]})
    assert sample_judged(queries, sessions, 0.33, np.random.default_rng(0)).tolist() == [True]
