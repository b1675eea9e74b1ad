"""A user who clicks: sessions simulated over candidate lists and human grades.

Where the numbers come from (for how often queries are searched, see `corpus.simulation.traffic`):

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
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.frequency import count_frequency
from corpus.simulation.traffic import default_searches, draw_frequencies, draw_times
from corpus.table_checks import check_table
from corpus.tables import Collection

POSITION_BIAS = 1.0
CLICK_NOISE = 0.1
PAGE_LENGTH = 10
RANKINGS_PER_QUERY = 4


def examination_probability(
    positions: int, position_bias: float = POSITION_BIAS
) -> NDArray[np.float64]:
    """P(examined) of the positions 1 to `positions`, float64 in (0, 1], shape (positions,)."""
    return np.power(np.arange(1, positions + 1, dtype=np.float64), -position_bias)


def attraction_probability(
    grade: NDArray[np.int64], highest_grade: int, click_noise: float = CLICK_NOISE
) -> NDArray[np.float64]:
    """P(click | examined) of documents by their grade.

    Args:
        grade: grades from 0 to highest_grade, int64, any shape.
        highest_grade: the highest grade of the scale, at least 1.
        click_noise: P(click | examined) of grade 0, in [0, 1].

    Returns:
        Probabilities in [click_noise, 1], float64, same shape.

    >>> attraction_probability(np.array([0, 3]), highest_grade=3).tolist()
    [0.1, 1.0]
    """
    gain = (np.exp2(grade) - 1) / (2.0**highest_grade - 1)
    return click_noise + (1 - click_noise) * gain


def check_user(click_noise: float, position_bias: float) -> None:
    """Refuses a user who cannot be.

    Raises:
        InputError: a click noise outside [0, 1], or a position bias below 0 or not finite.
    """
    if not 0 <= click_noise <= 1:
        raise InputError(f"click_noise is a probability, from 0 to 1, not {click_noise}")
    if not 0 <= position_bias < np.inf:
        raise InputError(f"position_bias is an exponent, 0 or above, not {position_bias}")


def simulate_sessions(collection: Collection, sessions: int | None, seed: int) -> Collection:
    """Adds a simulated log, and the query frequencies that follow from it, to a collection.

    Short queries are frequent, see `corpus.simulation.traffic`. Candidates without a judgment count
    as grade 0. Queries without candidates get no session.

    Args:
        collection: a collection with candidates and judgments.
        sessions: the number of sessions to simulate; None for 3.97 for each query with candidates.
        seed: the same seed gives the same sessions.

    Returns:
        The collection with `sessions` and `queries.frequency` replaced. Sessions have a column
        `time` (int64, seconds from the start of the log), by which they are ordered.

    Raises:
        InputError: no candidates, no judgments, or fewer sessions than queries with candidates.
    """
    _check_simulable(collection)
    rng = np.random.default_rng(seed)
    queries = collection.queries
    searched = pc.is_in(queries["query_id"], value_set=collection.candidates["query_id"])
    searched = searched.to_numpy()
    words = np.array([len(text.split()) for text in queries["text"].to_pylist()])[searched]
    frequency = np.zeros(queries.num_rows, dtype=np.int64)
    searches = default_searches(len(words)) if sessions is None else sessions
    frequency[searched] = draw_frequencies(words, searches, rng)
    return simulate_clicks(collection, frequency, rng)


def simulate_clicks(
    collection: Collection,
    frequency: NDArray[np.int64],
    rng: np.random.Generator,
    click_noise: float = CLICK_NOISE,
    position_bias: float = POSITION_BIAS,
) -> Collection:
    """Simulates the sessions of queries that are searched a given number of times.

    Args:
        collection: a collection with candidates and judgments.
        frequency: searches of each query, int64, shape (queries,); 0 for those without candidates.
        rng: the source of randomness.
        click_noise: P(click | examined) of a document of grade 0, in [0, 1].
        position_bias: position k is examined with probability k ** -position_bias; at least 0.

    Returns:
        As `simulate_sessions`.

    Raises:
        InputError: no candidates, or no judgments.
    """
    _check_simulable(collection)
    candidates = _graded_candidates(collection)
    scores = candidates["score"].to_numpy()
    rows_of = candidates.groupby("query_id", sort=False).indices
    query_ids = collection.queries["query_id"]
    shown, page_lengths, session_query = [], [], []
    for query in np.flatnonzero(frequency):
        rows = rows_of[query_ids[query].as_py()]
        rankings = _sample_rankings(scores[rows], rng)
        pages = rows[rankings[rng.integers(len(rankings), size=frequency[query])]]
        shown.append(pages.ravel())
        page_lengths.append(np.full(len(pages), pages.shape[1]))
        session_query.append(np.full(len(pages), query))
    results, lengths = np.concatenate(shown), np.concatenate(page_lengths)
    ends = np.cumsum(lengths)
    position = np.arange(len(results)) - np.repeat(ends - lengths, lengths)
    highest_grade = max(int(collection.judgments["grade"].to_numpy().max()), 1)
    attraction = attraction_probability(candidates["grade"].to_numpy(), highest_grade, click_noise)
    examination = examination_probability(PAGE_LENGTH, position_bias)
    clicked = rng.random(len(results)) < examination[position] * attraction[results]
    offsets = pa.array(np.append(0, ends), pa.int32())
    doc_ids = pa.array(candidates["doc_id"].to_numpy(), pa.string()).take(pa.array(results))
    order = rng.permutation(len(lengths))
    sessions = pa.table(
        {
            "session_id": [f"s{number:07d}" for number in range(len(order))],
            "query_id": query_ids.take(pa.array(np.concatenate(session_query)[order])),
            "doc_ids": pa.ListArray.from_arrays(offsets, doc_ids).take(pa.array(order)),
            "clicks": pa.ListArray.from_arrays(offsets, pa.array(clicked)).take(pa.array(order)),
            "time": draw_times(len(order), rng),
        }
    )
    return _with_sessions(collection, sessions)


def _check_simulable(collection: Collection) -> None:
    if collection.candidates.num_rows == 0:
        raise InputError("clicks are simulated over candidate lists, and the collection has none")
    if collection.judgments.num_rows == 0:
        raise InputError("clicks are simulated from human grades, and the collection has none")


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


def _with_sessions(collection: Collection, sessions: pa.Table) -> Collection:
    queries = collection.queries
    position = queries.schema.get_field_index("frequency")
    frequency = count_frequency(queries["query_id"], sessions)
    return replace(
        collection,
        queries=queries.set_column(position, "frequency", frequency),
        sessions=check_table(sessions, "sessions", "simulated sessions"),
    )
