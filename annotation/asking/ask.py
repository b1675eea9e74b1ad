"""How an engine is asked about the documents of a query, and the verdict on each of them."""

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from annotation.asking.answers import grades_schema, ranking_schema, selection_schema
from annotation.engines.base import Answer, AnswerForm, Engine, Json, OneOf
from annotation.prompts.prompt import GRADE_TEXTS, Document, StrategyName
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder

CHOICES = OneOf(GRADE_TEXTS)
SCHEMAS: dict[StrategyName, Callable[[int], str]] = {
    "listwise": grades_schema,
    "selection": selection_schema,
    "ranking": ranking_schema,
}
# Upper bounds of an answer: tokens around the entries, and tokens for each document's entry.
ANSWER_FRAME = 24
ANSWER_TOKENS: dict[StrategyName, int] = {
    "pointwise": 1,
    "listwise": 12,
    "selection": 6,
    "ranking": 6,
}


@dataclass(frozen=True)
class DocumentList:
    """A query and its documents.

    Attributes:
        query_id: id of the query; with the seed it decides the order in which documents are shown.
        query: text of the query; None or blank where it has none.
        documents: the documents to judge, in the order of the table.
    """

    query_id: str
    query: str | None
    documents: Sequence[Document]


@dataclass(slots=True)
class Verdict:
    """What a judge says of one document.

    Attributes:
        grade: 0 to 3; None where there is an error.
        expected_grade: mean grade under the judge's probabilities, in [0, 3]; None with an error.
        confidence: probability of the grade, in (0, 1]; None where the engine does not give it.
        answered_mass: probability of all grades together before they are normalised, in [0, 1]:
            how far the judge wants to answer with a grade at all; None where it is not known.
        reasoning: what the judge thought before it answered; None where it did not think.
        error: why there is no grade, as "kind" or "kind: detail"; else None.
        cut: whether the document was cut to fit into the prompt.
        repaired: whether the judge's answer had to be repaired.
        shown_list: which of the query's prompts showed the document, from 0.
        shown_position: position of the document in that prompt, from 1; None if shown alone.
        prompt_tokens: prompt tokens for this document; a prompt's tokens are shared equally by its
            documents.
        cached_tokens: share of the prompt tokens that came from the prefix cache.
        answer_tokens: share of the generated tokens.
    """

    grade: int | None = None
    expected_grade: float | None = None
    confidence: float | None = None
    answered_mass: float | None = None
    reasoning: str | None = None
    error: str | None = None
    cut: bool = False
    repaired: bool = False
    shown_list: int = 0
    shown_position: int | None = None
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    answer_tokens: float = 0.0


@dataclass(frozen=True)
class Asking:
    """An engine and how it is asked.

    Attributes:
        engine: the engine that answers prompts.
        encoder: makes prompts of queries and documents.
        max_model_len: the limit of tokens of prompt, thought and answer together.
        documents_per_prompt: the largest number of documents in a prompt.
        seed: seed of the order in which documents are shown.
        thinking: the limit of tokens of a thought before each answer; 0 if the judge answers at
            once.
    """

    engine: Engine
    encoder: PromptEncoder
    max_model_len: int
    documents_per_prompt: int
    seed: int
    thinking: int = 0
    _encoding: Lock = field(default_factory=Lock)
    _answering: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def ask(
        self, asked: Sequence[tuple[str | None, Sequence[Document]]], form: AnswerForm
    ) -> list[tuple[EncodedPrompt, Answer]]:
        """Encodes prompts and has the engine answer those without an error.

        With several callers, one is encoded for while the engine answers another. Tokenizer and
        engine serve one caller at a time, and the engine always runs in the same thread, as each
        thread that computes starts OpenMP threads of its own.

        Args:
            asked: query text and documents of each prompt.
            form: the form of all answers.

        Returns:
            The encoded prompt and its answer, in the order of `asked`.
        """
        form = replace(form, thinking=self.thinking)
        room = self.max_model_len - form.max_tokens - form.thinking
        with self._encoding:
            prompts = self.encoder.encode(asked, room)
        sound = [prompt for prompt in prompts if prompt.error is None]
        answered = self._answering.submit(self.engine.answer, sound, [form] * len(sound))
        answers = iter(answered.result())
        return [
            (prompt, next(answers) if prompt.error is None else Answer(error=prompt.error))
            for prompt in prompts
        ]

    def shown_order(self, listed: DocumentList) -> NDArray[np.int64]:
        """The indices of the documents in the order in which they are shown, int64."""
        rng = np.random.default_rng([self.seed, zlib.crc32(listed.query_id.encode())])
        return rng.permutation(len(listed.documents))


def answer_form(strategy: StrategyName, documents: int) -> AnswerForm:
    """The form of an answer about a number of documents that are shown together."""
    if strategy == "pointwise":
        return CHOICES
    schema = SCHEMAS[strategy](documents)
    return Json(schema, ANSWER_FRAME + ANSWER_TOKENS[strategy] * documents)
