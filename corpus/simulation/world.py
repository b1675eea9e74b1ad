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

Where the other numbers come from:

* An author writes about a facet with two of its ten words, and a query is two or three of them,
  so that two people agree on a word one time in five: Furnas et al., "The vocabulary problem in
  human-system communication", CACM 1987. Words alone do not find everything; meaning has to be
  learned.
* The candidates of a query are drawn so that 56 % are unrelated, 17 % share the topic and 27 % are
  about the facet: the shares of grades 0, 1 and 2-3 among the 9,260 judged passages of the TREC
  2019 Deep Learning Track (Craswell et al., 2020). The first stage orders them by BM25.

Users click on human grades; see `corpus.simulation.user` for them and for the query frequencies.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.candidates import bm25_scores
from corpus.errors import InputError
from corpus.schemas import empty_table
from corpus.simulation.user import simulate_sessions
from corpus.simulation.vocabulary import Vocabulary, read_vocabulary
from corpus.table_checks import check_table
from corpus.tables import Collection

HIGHEST_GRADE = 3
SENTENCES = 3
QUALITY_SENTENCES = 2
AUTHOR_WORDS = 2
# Shares of a document from which on it has grade 2 and grade 3.
ABOUT = 0.5
ENTIRELY = 0.9
# Parts of the candidates that are about the facet, only about the topic, and neither.
CANDIDATE_PARTS = (0.27, 0.17, 0.56)


@dataclass(frozen=True)
class World:
    """A simulated collection, with the hidden variables that it was made from.

    Attributes:
        collection: all tables but the splits; judgments hold the human grade of every candidate.
        topical_grades: query_id, doc_id and topical grade (0 to 3) of every candidate: relevance of
            the content alone.
        quality: quality of each document of `collection.documents`, float64 in [0, 1], shape
            (documents,).
    """

    collection: Collection
    topical_grades: pa.Table
    quality: NDArray[np.float64]


def simulate_world(
    seed: int,
    queries: int = 600,
    documents: int = 900,
    sessions: int = 30_000,
    candidates_per_query: int = 12,
    topics: int = 3,
) -> World:
    """Makes a world; the same arguments give the same bytes.

    Args:
        seed: seed of everything random in it. The language is the same under every seed.
        queries: number of distinct queries.
        documents: number of documents.
        sessions: number of searches in the log, at least one for each query.
        candidates_per_query: number of candidates of each query, at least 1.
        topics: number of topics of the world, the first ones of the language's twelve.

    Raises:
        InputError: a count that is too small to make a world of.
    """
    if min(queries, candidates_per_query) < 1 or documents < 2 * candidates_per_query:
        raise InputError(
            "a world needs at least one query, one candidate a query, and twice as many documents "
            f"as candidates; got {queries}, {candidates_per_query} and {documents}"
        )
    rng = np.random.default_rng(seed)
    vocabulary = read_vocabulary(topics)
    facet_share, quality = _draw_documents(documents, len(vocabulary.words), vocabulary, rng)
    document_table = _write_documents(facet_share, quality, vocabulary, rng)
    facets = rng.integers(len(vocabulary.words), size=queries)
    query_table = _write_queries(facets, vocabulary, rng)
    share = facet_share[:, facets].T
    shares_topic = _shares_topic(facet_share, vocabulary.topic_of_facet, facets)
    found, scores = _first_stage(
        query_table, document_table, share, shares_topic, candidates_per_query, rng
    )
    topical = np.take_along_axis(topical_grade(share, shares_topic), found, axis=1)
    human = human_grade(topical, quality[found])
    pairs = {
        "query_id": np.repeat(query_table["query_id"].to_numpy(), candidates_per_query),
        "doc_id": document_table["doc_id"].to_numpy()[found.ravel()],
    }
    rank = np.tile(np.arange(1, candidates_per_query + 1), queries)
    candidates = pa.table(pairs | {"rank": rank, "score": scores.ravel()})
    judgments = pa.table(pairs | {"grade": human.ravel()})
    collection = Collection(
        queries=query_table,
        documents=document_table,
        candidates=check_table(candidates, "candidates", "simulated world"),
        sessions=empty_table("sessions"),
        judgments=check_table(judgments, "judgments", "simulated world"),
        splits=empty_table("splits"),
    )
    return World(
        collection=simulate_sessions(collection, sessions, seed=int(rng.integers(2**32))),
        topical_grades=pa.table(pairs | {"grade": topical.ravel()}),
        quality=quality,
    )


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
        main_share = rng.choice([1.0, 2 / 3, 2 / 3])
        share[row, main] = main_share
        share[row, rng.choice(pool[pool != main])] = 1 - main_share
    return share, rng.random(documents)


def _write_documents(
    share: NDArray[np.float64],
    quality: NDArray[np.float64],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> pa.Table:
    titles, bodies = [], []
    for row in range(len(share)):
        facets = np.flatnonzero(share[row])
        words = {facet: rng.permutation(vocabulary.words[facet])[:AUTHOR_WORDS] for facet in facets}
        counts = np.rint(share[row] * SENTENCES).astype(int)
        about = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        sentences = [_write_sentence(vocabulary.sentences, words[facet], rng) for facet in about]
        sentences += _quality_sentences(quality[row], vocabulary, rng)
        a, b = words[int(share[row].argmax())]
        titles.append(f"{a} and {b}")
        bodies.append(" ".join(rng.permutation(np.array(sentences, dtype=object))))
    doc_ids = [f"d{number:05d}" for number in range(len(share))]
    table = pa.table({"doc_id": doc_ids, "title": titles, "body": bodies})
    return check_table(table, "documents", "simulated world")


def _write_sentence(sentences: list[str], words: NDArray[np.str_], rng: np.random.Generator) -> str:
    a, b = rng.permutation(words)
    return str(rng.choice(sentences)).format(a=a, b=b)


def _quality_sentences(
    quality: float, vocabulary: Vocabulary, rng: np.random.Generator
) -> list[str]:
    sentences = []
    for draw in rng.random(QUALITY_SENTENCES):
        if draw < quality**2:
            sentences.append(str(rng.choice(vocabulary.trusted_sentences)))
        elif draw > 1 - (1 - quality) ** 2:
            sentences.append(str(rng.choice(vocabulary.junk_sentences)))
    return sentences


def _write_queries(
    facets: NDArray[np.int64], vocabulary: Vocabulary, rng: np.random.Generator
) -> pa.Table:
    texts = [
        " ".join(rng.choice(vocabulary.words[facet], size=rng.integers(2, 4), replace=False))
        for facet in facets
    ]
    query_ids = [f"q{number:05d}" for number in range(len(facets))]
    table = pa.table({"query_id": query_ids, "text": texts, "frequency": [0] * len(facets)})
    return check_table(table, "queries", "simulated world")


def _first_stage(
    queries: pa.Table,
    documents: pa.Table,
    share: NDArray[np.float64],
    shares_topic: NDArray[np.bool_],
    depth: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows of the candidates and their BM25 scores, both (queries, depth), best score first.

    Args:
        queries: the table queries.
        documents: the table documents.
        share: share of each document that is about each query's facet, in [0, 1], shape (queries,
            documents).
        shares_topic: whether a document touches the query's topic, (queries, documents).
        depth: candidates a query.
        rng: draws the candidates, and the order of those with equal scores.
    """
    scores = bm25_scores(queries["text"], documents)
    found = np.empty((len(share), depth), dtype=np.int64)
    for row in range(len(share)):
        about = share[row] >= ABOUT
        strata = [about, shares_topic[row] & ~about, ~shares_topic[row] & ~about]
        weight = sum(
            part * stratum / max(stratum.sum(), 1)
            for part, stratum in zip(CANDIDATE_PARTS, strata, strict=True)
        )
        # Permuted, as the order of a weighted draw leans to the heavier ones.
        drawn = rng.permutation(
            rng.choice(len(weight), depth, replace=False, p=weight / weight.sum())
        )
        found[row] = drawn[np.argsort(-scores[row, drawn], kind="stable")]
    return found, np.take_along_axis(scores, found, axis=1)


def _shares_topic(
    share: NDArray[np.float64], topic_of_facet: NDArray[np.int64], facets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each document, of `share` (documents, facets), touches each query's topic."""
    same_topic = topic_of_facet[:, None] == topic_of_facet[facets][None, :]
    touches: NDArray[np.bool_] = (share @ same_topic > 0).T
    return touches
