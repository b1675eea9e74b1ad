"""A user who clicks: sessions simulated over candidate lists and human grades.

Where the numbers come from:

* Query frequencies follow a Zipf law of exponent 0.83, fitted to a year of a web search engine's
  log by Baeza-Yates et al., "The impact of caching on search engines", SIGIR 2007.
* Position k is examined with probability (1 / k) ** 1, and a click needs examination and
  attraction: Joachims, Swaminathan & Schnabel, "Unbiased learning-to-rank with biased feedback",
  WSDM 2017, section 6 (eta = 1).
* An examined document of grade g attracts with probability
  noise + (1 - noise) * (2 ** g - 1) / (2 ** g_max - 1), noise = 0.1: Ai et al., "Unbiased
  learning to rank with unbiased propensity estimation", SIGIR 2018 (its click simulation), after
  Chapelle et al., "Expected reciprocal rank for graded relevance", CIKM 2009.
* The engine's ranking changes over the log window, as engines' do; without that no log could tell
  position from relevance. Each query has four rankings, drawn from a Plackett-Luce model around
  the first-stage scores (the logging policies of Oosterhuis & de Rijke, "Unifying online and
  counterfactual learning to rank", WSDM 2021). That there are four is our assumption.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.frequency import count_frequency
from corpus.table_checks import check_table
from corpus.tables import Collection

ZIPF_EXPONENT = 0.83
POSITION_BIAS = 1.0
CLICK_NOISE = 0.1
PAGE_LENGTH = 10
RANKINGS_PER_QUERY = 4


def zipf_frequencies(queries: int, searches: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws query frequencies from Zipf's law, in random order; each is at least 1.

    Args:
        queries: the number of queries.
        searches: the number of searches in total, at least the number of queries.
        rng: the source of randomness.

    Returns:
        int64 of shape (queries,), summing to `searches`.

    Raises:
        InputError: fewer searches than queries.
    """
    if searches < queries:
        raise InputError(f"{searches:,} sessions cannot cover {queries:,} queries; ask for more")
    share = np.arange(1, queries + 1) ** -ZIPF_EXPONENT
    extra = rng.multinomial(searches - queries, share / share.sum())
    return rng.permutation(1 + extra).astype(np.int64)


def examination_probability(positions: int) -> NDArray[np.float64]:
    """P(examined) of the positions 1 to `positions`, float64 in (0, 1], shape (positions,)."""
    return np.power(np.arange(1, positions + 1, dtype=np.float64), -POSITION_BIAS)


def attraction_probability(grade: NDArray[np.int64], highest_grade: int) -> NDArray[np.float64]:
    """P(click | examined) of documents by their grade.

    Args:
        grade: grades from 0 to highest_grade, int64, any shape.
        highest_grade: the highest grade of the scale, at least 1.

    Returns:
        Probabilities in [0.1, 1], float64, same shape.

    >>> attraction_probability(np.array([0, 3]), highest_grade=3).tolist()
    [0.1, 1.0]
    """
    gain = (np.exp2(grade) - 1) / (2.0**highest_grade - 1)
    return CLICK_NOISE + (1 - CLICK_NOISE) * gain


def simulate_sessions(collection: Collection, sessions: int, seed: int) -> Collection:
    """Adds simulated sessions, and the query frequencies that follow from them, to a collection.

    Candidates without a judgment count as grade 0. Queries without candidates get no session.

    Args:
        collection: a collection with candidates and judgments.
        sessions: the number of sessions to simulate.
        seed: the same seed gives the same sessions.

    Returns:
        The collection with `sessions` and `queries.frequency` replaced.

    Raises:
        InputError: no candidates, no judgments, or fewer sessions than queries with candidates.
    """
    if collection.candidates.num_rows == 0:
        raise InputError("clicks are simulated over candidate lists, and the collection has none")
    if collection.judgments.num_rows == 0:
        raise InputError("clicks are simulated from human grades, and the collection has none")
    rng = np.random.default_rng(seed)
    judged = _graded_candidates(collection)
    highest_grade = max(int(collection.judgments["grade"].to_numpy().max()), 1)
    lists = list(judged.groupby("query_id", sort=False))
    frequencies = zipf_frequencies(len(lists), sessions, rng)
    pages, clicks, query_ids = [], [], []
    for (query_id, candidates), frequency in zip(lists, frequencies, strict=True):
        order = _sample_rankings(candidates["score"].to_numpy(), rng)
        shown = order[rng.integers(len(order), size=frequency)]
        grades = candidates["grade"].to_numpy()
        click_probability = examination_probability(order.shape[1]) * attraction_probability(
            grades[shown], highest_grade
        )
        doc_ids = candidates["doc_id"].to_numpy(dtype=object)
        pages.extend(doc_ids[shown].tolist())
        clicks.extend((rng.random(shown.shape) < click_probability).tolist())
        query_ids.extend([str(query_id)] * int(frequency))
    return _with_sessions(collection, query_ids, pages, clicks, rng)


def _graded_candidates(collection: Collection) -> pd.DataFrame:
    candidates = collection.candidates.select(["query_id", "doc_id", "score"]).to_pandas()
    judgments = collection.judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    graded = candidates.merge(judgments, on=["query_id", "doc_id"], how="left")
    return graded.assign(grade=graded["grade"].fillna(0).clip(lower=0).astype(np.int64))


def _sample_rankings(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Plackett-Luce rankings around standardised scores: (rankings, positions) of indices."""
    spread = scores.std() or 1.0
    noise = rng.gumbel(size=(RANKINGS_PER_QUERY, len(scores)))
    return np.argsort(-((scores - scores.mean()) / spread + noise), axis=1)[:, :PAGE_LENGTH]


def _with_sessions(
    collection: Collection,
    query_ids: list[str],
    pages: list[list[str]],
    clicks: list[list[bool]],
    rng: np.random.Generator,
) -> Collection:
    order = rng.permutation(len(query_ids))
    sessions = pa.table(
        {
            "session_id": [f"s{number:07d}" for number in range(len(order))],
            "query_id": [query_ids[row] for row in order],
            "doc_ids": [pages[row] for row in order],
            "clicks": [clicks[row] for row in order],
        }
    )
    queries = collection.queries
    position = queries.schema.get_field_index("frequency")
    frequency = count_frequency(queries["query_id"], sessions)
    return replace(
        collection,
        queries=queries.set_column(position, "frequency", frequency),
        sessions=check_table(sessions, "sessions", "simulated sessions"),
    )
