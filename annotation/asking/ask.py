"""A query's documents, how an engine is asked about them, and what comes of it."""

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
# The most that an answer takes at all and for each document, in tokens that may be characters.
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
        query_id: decides, with the seed, in which order documents are shown.
        query: its text; None or blank where it has none.
        documents: any number.
    """

    query_id: str
    query: str | None
    documents: Sequence[Document]


@dataclass(slots=True)
class Verdict:
    """What a judge says of one document.

    Attributes:
        grade: 0 to 3; None where there is an error.
        expected_grade: in [0, 3].
        confidence: in (0, 1]; None where the judge does not tell.
        answered_mass: in [0, 1], of all grades together before they are normalised: how far the
            judge wants to answer with a grade at all; None where the engine does not tell.
        reasoning: what the judge thought before it answered; None where it did not think.
        error: "kind" or "kind: detail"; else None.
        cut: whether the document was cut to fit.
        repaired: whether the answer had to be put right.
        shown_list: number of the list, among the query's, that it was shown in, from 0.
        shown_position: its place there, from 1; None where it was shown alone.
        prompt_tokens: read for this document: of a prompt with several, its share.
        cached_tokens: those of them whose prefix the engine still knew.
        answer_tokens: written for it, likewise.
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
        engine: answers.
        encoder: makes prompts.
        max_model_len: tokens of prompt, thought and answer together.
        documents_per_prompt: how many documents a prompt shows at most.
        seed: of the order in which they are shown.
        thinking: tokens that the judge may think for before each answer; 0 where it answers at
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
        """Encodes prompts and has those answered that can be.

        Called by several threads, it encodes for one while the engine answers another. Neither
        tokenizer nor engine bears two callers, and the engine keeps to one thread, for each that
        computes has OpenMP threads of its own.
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
        """The documents' numbers, from 0, in the order in which they are shown."""
        rng = np.random.default_rng([self.seed, zlib.crc32(listed.query_id.encode())])
        return rng.permutation(len(listed.documents))


def answer_form(strategy: StrategyName, documents: int) -> AnswerForm:
    """The form of an answer on so many documents."""
    if strategy == "pointwise":
        return CHOICES
    schema = SCHEMAS[strategy](documents)
    return Json(schema, ANSWER_FRAME + ANSWER_TOKENS[strategy] * documents)
