"""The language of simulated worlds: words by facet and topic, and sentences to put them into."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from corpus.errors import InputError

VOCABULARY_PATH = Path(__file__).with_name("world_vocabulary.yaml")


@dataclass(frozen=True)
class Vocabulary:
    """The language of all worlds, from `world_vocabulary.yaml`.

    Attributes:
        words: the words of each facet.
        topic_of_facet: number of each facet's topic, int64, shape (facets,).
        sentences: templates of sentences with the fields {a} and {b} for words.
        trusted_sentences: sentences of documents of high quality.
        junk_sentences: sentences of documents of low quality.
    """

    words: list[list[str]]
    topic_of_facet: NDArray[np.int64]
    sentences: list[str]
    trusted_sentences: list[str]
    junk_sentences: list[str]


@cache
def read_vocabulary(topics: int) -> Vocabulary:
    """Reads the language of all worlds, restricted to the first `topics` topics.

    Raises:
        InputError: the language has fewer topics, or fewer than one is asked for.
    """
    content = yaml.safe_load(VOCABULARY_PATH.read_text(encoding="utf-8"))
    spoken = list(content["topics"].values())[:topics]
    if not 1 <= topics == len(spoken):
        raise InputError(f"a world is about 1 to {len(content['topics'])} topics, not {topics}")
    facets = [
        (topic, words)
        for topic, facets_of_topic in enumerate(spoken)
        for words in facets_of_topic.values()
    ]
    return Vocabulary(
        words=[words for _, words in facets],
        topic_of_facet=np.array([topic for topic, _ in facets]),
        sentences=content["sentences"],
        trusted_sentences=content["trusted_sentences"],
        junk_sentences=content["junk_sentences"],
    )
