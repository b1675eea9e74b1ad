"""The texts of a simulated world: documents and queries in the language of `vocabulary`.

* Words of a facet are used by Zipf's law of exponent 1 (Zipf, "Human behavior and the principle of
  least effort", 1949), in the order of the vocabulary. An author writes about a facet with two of
  its ten words.
* A query is about one facet. Frequent queries are general and rare ones specific, in the sense of
  Spärck Jones, "A statistical interpretation of term specificity", JDoc 1972: a word in few
  documents is specific. A query that is searched f times holds the facet's word of rank r with a
  weight of r ** -(1 - 1 / f): a query of many searches uses words as authors do, and one of a
  single search any word alike. The form is our assumption.
* So the word of a rare query is one that an author of its facet chose one time in five: Furnas et
  al., "The vocabulary problem in human-system communication", CACM 1987, of two people. Words alone
  do not find everything; meaning has to be learned.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.simulation.vocabulary import Vocabulary
from corpus.table_checks import check_table

SENTENCES = 3
QUALITY_SENTENCES = 2
AUTHOR_WORDS = 2
REDRAWS = 20  # of a query's words, until it gets one more so as to differ from all others


def write_documents(
    share: NDArray[np.float64],
    quality: NDArray[np.float64],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> pa.Table:
    """Writes the documents.

    Args:
        share: share of each facet in each document, in [0, 1], shape (documents, facets); at most
            two facets of a document are above 0.
        quality: quality of each document, in [0, 1], shape (documents,).
        vocabulary: the language.
        rng: the source of randomness.

    Returns:
        The table documents. The title is about the main facet; of the body, three sentences are
        about the facets, by their shares, and up to two show the quality.
    """
    ranks = draw_words(np.ones((len(share), 2)), vocabulary, rng)[..., :AUTHOR_WORDS]
    titles, bodies = [], []
    for row in range(len(share)):
        facets = np.flatnonzero(share[row])
        words = {
            facet: [vocabulary.words[facet][rank] for rank in of_facet]
            for facet, of_facet in zip(facets, ranks[row], strict=False)
        }
        counts = np.rint(share[row] * SENTENCES).astype(int)
        about = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        sentences = [_write_sentence(vocabulary.sentences, words[facet], rng) for facet in about]
        sentences += _quality_sentences(quality[row], vocabulary, rng)
        a, b = words[int(share[row].argmax())]
        titles.append(f"{a} and {b}")
        bodies.append(" ".join(sentences[place] for place in rng.permutation(len(sentences))))
    doc_ids = [f"d{number:05d}" for number in range(len(share))]
    table = pa.table({"doc_id": doc_ids, "title": titles, "body": bodies})
    return check_table(table, "documents", "simulated world")


def write_queries(
    words: NDArray[np.int64],
    frequency: NDArray[np.int64],
    vocabulary: Vocabulary,
    rng: np.random.Generator,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Writes queries, each with another text, the frequent ones first: they get the common words.

    Args:
        words: number of words of each query, from 1 to the words of a facet, shape (queries,). A
            query gets more where the language has no other text of that length left.
        frequency: searches of each query, at least 1, shape (queries,).
        vocabulary: the language.
        rng: the source of randomness.

    Returns:
        The table queries, and the facet that each query is about, int64, shape (queries,).
    """
    words, most = words.copy(), len(vocabulary.words[0])
    facets = np.empty(len(words), dtype=np.int64)
    texts = [""] * len(words)
    taken: set[str] = set()
    missing = np.argsort(-frequency, kind="stable")
    attempt = 0
    while len(missing):
        facets[missing] = rng.integers(len(vocabulary.words), size=len(missing))
        ranks = draw_words(1 - 1 / frequency[missing], vocabulary, rng)
        for row, of_query in zip(missing, ranks, strict=True):
            facet = vocabulary.words[facets[row]]
            text = " ".join(facet[rank] for rank in of_query[: words[row]])
            if text not in taken:
                taken.add(text)
                texts[row] = text
        missing = np.array([row for row in missing if not texts[row]], dtype=np.int64)
        attempt += 1
        if attempt % REDRAWS == 0:
            words[missing] = np.minimum(words[missing] + 1, most)
    query_ids = [f"q{number:05d}" for number in range(len(words))]
    table = pa.table({"query_id": query_ids, "text": texts, "frequency": frequency})
    return check_table(table, "queries", "simulated world"), facets


def draw_words(
    exponent: NDArray[np.float64], vocabulary: Vocabulary, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draws the words of a facet, without putting back, with weights of rank ** -exponent.

    Args:
        exponent: any shape.
        vocabulary: the language.
        rng: the source of randomness.

    Returns:
        Places of the words in the facet, from 0, in the order drawn: int64, the shape of
        `exponent` and one more dimension for the words.
    """
    log_rank = np.log(np.arange(1, len(vocabulary.words[0]) + 1))
    log_weight = -exponent[..., None] * log_rank
    return np.argsort(-log_weight - rng.gumbel(size=log_weight.shape), axis=-1)


def _write_sentence(sentences: list[str], words: list[str], rng: np.random.Generator) -> str:
    a, b = words if rng.random() < 0.5 else words[::-1]
    return _any_of(sentences, rng).format(a=a, b=b)


def _quality_sentences(
    quality: float, vocabulary: Vocabulary, rng: np.random.Generator
) -> list[str]:
    sentences = []
    for draw in rng.random(QUALITY_SENTENCES):
        if draw < quality**2:
            sentences.append(_any_of(vocabulary.trusted_sentences, rng))
        elif draw > 1 - (1 - quality) ** 2:
            sentences.append(_any_of(vocabulary.junk_sentences, rng))
    return sentences


def _any_of(sentences: list[str], rng: np.random.Generator) -> str:
    return sentences[rng.integers(len(sentences))]
