"""A whole world to rank in: documents with topics and quality, queries, users and human grades.

The world decides three things about a document, and shows all three in its text alone: which
facets of which topics it is about, how much of it is about each, and how good it is.

* Topical grade, 0 to 3: how much of the document is about the query's facet. This is the
  relevance that a judge who reads the pair is asked for.
* Human grade, 0 to 3: the topical grade, raised by up to one for quality and lowered by up to one
  for the lack of it, as the grades of the TREC Web Track put authoritative pages above merely
  relevant ones and junk at the bottom (Collins-Thompson et al., "TREC 2014 Web Track overview",
  section 3); that quality is part of what users want from a ranking: Bendersky, Croft & Diao,
  "Quality-biased ranking of web documents", WSDM 2011. A document off the topic stays at 0.

Users click on human grades, but humans judge a sample of the queries only (`judged`). Where the
numbers of the log come from is said in `traffic`, of the users in `user`, of the words in `texts`;
one more stands here:

* The candidates of a query are drawn so that 56 % are unrelated, 17 % share the topic and 27 % are
  about the facet: the shares of grades 0, 1 and 2-3 among the 9,260 judged passages of the TREC
  2019 Deep Learning Track (Craswell et al., 2020). The first stage orders them by BM25.

No number was chosen by which ranker wins. How large a world is has no source: it is as large as
two cores rank in minutes. See docs/simulated_world.md.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.candidates import score_each
from corpus.errors import InputError
from corpus.schemas import empty_table
from corpus.simulation.judged import sample_judged
from corpus.simulation.texts import write_documents, write_queries
from corpus.simulation.traffic import (
    check_searches,
    default_searches,
    draw_frequencies,
    draw_lengths,
)
from corpus.simulation.user import CLICK_NOISE, POSITION_BIAS, check_user, simulate_clicks
from corpus.simulation.vocabulary import Vocabulary, read_vocabulary
from corpus.table_checks import check_table
from corpus.tables import Collection

HIGHEST_GRADE = 3
# Shares of a document from which on it has grade 2 and grade 3.
ABOUT = 0.5
ENTIRELY = 0.9
# Parts of the candidates that are about the facet, only about the topic, and neither.
CANDIDATE_PARTS = (0.27, 0.17, 0.56)


@dataclass(frozen=True)
class World:
    """A simulated collection, with the hidden variables that it was made from.

    Attributes:
        collection: all tables but the splits; judgments hold the human grade of every candidate of
            the judged queries.
        topical_grades: query_id, doc_id and topical grade (0 to 3) of every candidate: relevance of
            the content alone.
        human_grades: the same, of the human grades, which users click by.
        quality: quality of each document of `collection.documents`, float64 in [0, 1], shape
            (documents,).
    """

    collection: Collection
    topical_grades: pa.Table
    human_grades: pa.Table
    quality: NDArray[np.float64]


def simulate_world(
    seed: int,
    queries: int = 1300,
    documents: int = 900,
    sessions: int | None = None,
    candidates_per_query: int = 10,
    topics: int = 3,
    judged: float = 0.33,
    click_noise: float = CLICK_NOISE,
    position_bias: float = POSITION_BIAS,
) -> World:
    """Makes a world; the same arguments give the same bytes.

    Args:
        seed: seed of everything random in it. The language is the same under every seed.
        queries: number of distinct queries.
        documents: number of documents.
        sessions: number of searches in the log, at least one for each query; None for 3.97 for
            each query.
        candidates_per_query: number of candidates of each query, at least 1.
        topics: number of topics of the world, the first ones of the language's twelve.
        judged: share of the queries that humans have judged, in [0, 1]; see `sample_judged`.
        click_noise: P(click | examined) of a document of grade 0, in [0, 1].
        position_bias: position k is examined with probability k ** -position_bias; at least 0.

    Raises:
        InputError: a setting that no world can be made of.
    """
    check_world(
        queries,
        documents,
        sessions,
        candidates_per_query,
        topics,
        judged,
        click_noise,
        position_bias,
    )
    rng = np.random.default_rng(seed)
    vocabulary = read_vocabulary(topics)
    facet_share, quality = _draw_documents(documents, len(vocabulary.words), vocabulary, rng)
    document_table = write_documents(facet_share, quality, vocabulary, rng)
    words = draw_lengths(queries, rng)
    searches = default_searches(queries) if sessions is None else sessions
    frequency = draw_frequencies(words, searches, rng)
    query_table, facets = write_queries(words, frequency, vocabulary, rng)
    shares_topic = _shares_topic(facet_share, vocabulary.topic_of_facet)
    found, scores = _first_stage(
        query_table, document_table, facets, facet_share, shares_topic, candidates_per_query, rng
    )
    topical = topical_grade(
        facet_share[found, facets[:, None]], shares_topic[found, facets[:, None]]
    )
    human = human_grade(topical, quality[found])
    pairs = {
        "query_id": np.repeat(query_table["query_id"].to_numpy(), candidates_per_query),
        "doc_id": document_table["doc_id"].to_numpy()[found.ravel()],
    }
    rank = np.tile(np.arange(1, candidates_per_query + 1), queries)
    candidates = pa.table(pairs | {"rank": rank, "score": scores.ravel()})
    human_grades = pa.table(pairs | {"grade": human.ravel()})
    clicked = simulate_clicks(
        Collection(
            queries=query_table,
            documents=document_table,
            candidates=check_table(candidates, "candidates", "simulated world"),
            sessions=empty_table("sessions"),
            judgments=check_table(human_grades, "judgments", "simulated world"),
            splits=empty_table("splits"),
        ),
        frequency,
        rng,
        click_noise,
        position_bias,
    )
    known = sample_judged(clicked.queries, clicked.sessions, judged, rng)
    judgments = clicked.judgments.filter(pa.array(np.repeat(known, candidates_per_query)))
    return World(
        collection=replace(clicked, judgments=judgments),
        topical_grades=pa.table(pairs | {"grade": topical.ravel()}),
        human_grades=human_grades,
        quality=quality,
    )


def check_world(
    queries: int,
    documents: int,
    sessions: int | None,
    candidates_per_query: int,
    topics: int,
    judged: float,
    click_noise: float,
    position_bias: float,
) -> None:
    """Refuses settings that no world can be made of; see `simulate_world`.

    Raises:
        InputError: naming the setting.
    """
    if min(queries, candidates_per_query) < 1 or documents < 2 * candidates_per_query:
        raise InputError(
            "a world needs at least one query, one candidate a query, and twice as many documents "
            f"as candidates; got {queries}, {candidates_per_query} and {documents}"
        )
    if sessions is not None:
        check_searches(queries, sessions)
    read_vocabulary(topics)
    if not 0 <= judged <= 1:
        raise InputError(f"judged is a share of the queries, from 0 to 1, not {judged}")
    check_user(click_noise, position_bias)


def topical_grade(share: NDArray[np.float64], shares_topic: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Grades the share of a document that is about the query's facet.

    Args:
        share: share of the document's sentences that is about the query's facet, float64 in [0, 1],
            any shape.
        shares_topic: whether any sentence is about the query's topic, bool, same shape.

    Returns:
        Grades, int64, same shape: 3 for a share from 0.9 on, 2 from 0.5 on, 1 for a smaller one or
        for the topic alone, else 0.
    """
    on_topic = shares_topic | (share > 0)
    return np.select([share >= ENTIRELY, share >= ABOUT, on_topic], [3, 2, 1], 0).astype(np.int64)


def human_grade(topical: NDArray[np.int64], quality: NDArray[np.float64]) -> NDArray[np.int64]:
    """Moves a topical grade by up to one with quality in [0, 1]; 0 stays 0. Same shapes.

    >>> human_grade(np.array([2, 2, 2, 0]), np.array([0.0, 0.5, 1.0, 1.0])).tolist()
    [1, 2, 3, 0]
    """
    moved = np.clip(np.rint(topical + 2 * quality - 1), 0, HIGHEST_GRADE).astype(np.int64)
    return np.where(topical > 0, moved, 0)


def _draw_documents(
    documents: int, facets: int, vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of each facet in each document (documents, facets), and quality (documents,)."""
    share = np.zeros((documents, facets))
    for row in range(documents):
        main = int(rng.integers(facets))
        same_topic = vocabulary.topic_of_facet == vocabulary.topic_of_facet[main]
        pool = np.flatnonzero(same_topic) if rng.random() < 0.5 else np.arange(facets)
        others = pool[pool != main]
        main_share = (1.0, 2 / 3, 2 / 3)[rng.integers(3)]
        share[row, main] = main_share
        share[row, others[rng.integers(len(others))]] = 1 - main_share
    return share, rng.random(documents)


def _first_stage(
    queries: pa.Table,
    documents: pa.Table,
    facets: NDArray[np.int64],
    share: NDArray[np.float64],
    shares_topic: NDArray[np.bool_],
    depth: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the candidates and their BM25 scores, both (queries, depth), best score first.

    Args:
        queries: the table queries.
        documents: the table documents.
        facets: the facet of each query, shape (queries,).
        share: share of each document that is about each facet, in [0, 1], (documents, facets).
        shares_topic: whether a document touches the facet's topic, (documents, facets).
        depth: candidates a query.
        rng: draws the candidates, and the order of those with equal scores.
    """
    about = share >= ABOUT
    strata = [about, shares_topic & ~about, ~shares_topic & ~about]
    weight = sum(
        part * stratum / np.maximum(stratum.sum(axis=0), 1)
        for part, stratum in zip(CANDIDATE_PARTS, strata, strict=True)
    )
    cumulated = np.cumsum(weight, axis=0).T
    found = np.empty((len(facets), depth), dtype=np.int64)
    found_scores = np.empty((len(facets), depth))
    for row, scores in enumerate(score_each(queries["text"], documents)):
        drawn = rng.permutation(_draw_distinct(cumulated[facets[row]], depth, rng))
        found[row] = drawn[np.argsort(-scores[drawn], kind="stable")]
        found_scores[row] = scores[found[row]]
    return found, found_scores


def _draw_distinct(
    cumulated: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws `count` places by cumulated weights, without putting back; not in order of the draw."""
    drawn: set[int] = set()
    while len(drawn) < count:
        places = np.searchsorted(cumulated, cumulated[-1] * rng.random(count), side="right")
        drawn.update(places[: count - len(drawn)].tolist())
    return np.array(sorted(drawn))


def _shares_topic(
    share: NDArray[np.float64], topic_of_facet: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each document, of `share` (documents, facets), touches each facet's topic."""
    same_topic = topic_of_facet[:, None] == topic_of_facet[None, :]
    touches: NDArray[np.bool_] = share @ same_topic > 0
    return touches
