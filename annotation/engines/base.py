"""What a strategy needs of an engine, whichever it is: prompts in, answers of a given form out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from annotation.engines.token_spend import Spend
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder

# Kinds of error that asking again may mend; --resume asks for these rows again.
ENGINE_ERROR = "engine"
BUDGET_ERROR = "budget"
RETRIED = (ENGINE_ERROR, BUDGET_ERROR)
# A prompt that the engine will never answer, although it answers others.
PROMPT_ERROR = "prompt"
# The judge, or a filter of its server, says no: an answer, and no failure of the engine.
REFUSED_ERROR = "refused"


@dataclass(frozen=True)
class OneOf:
    """The answer is one of a few tokens, and how likely each is matters.

    Attributes:
        choices: the answers, each one token.
        max_tokens: room for it; a judge that is not held to its answer may begin with a blank.
        thinking: tokens that the judge may think for before it; 0 where it answers at once.
    """

    choices: tuple[str, ...]
    max_tokens: int = 4
    thinking: int = 0


@dataclass(frozen=True)
class Json:
    """The answer is JSON.

    Attributes:
        schema: the JSON schema, as text.
        max_tokens: the longest that an answer may be.
        thinking: tokens that the judge may think for before it; 0 where it answers at once.
    """

    schema: str
    max_tokens: int
    thinking: int = 0


AnswerForm = OneOf | Json


@dataclass(slots=True)
class Answer:
    """What an engine answers to one prompt.

    Attributes:
        text: the answer; None where there is an error.
        log_probabilities: of the choices of `OneOf`; None where the engine does not tell.
        answered_mass: probability, in [0, 1], of all choices of `OneOf` together before they are
            normalised; None where the engine does not tell.
        reasoning: what the judge thought before it answered; None where it did not think.
        prompt_tokens: tokens that were read.
        cached_tokens: those of them whose prefix the engine still knew.
        answer_tokens: tokens that were written.
        error: why there is no answer, as "kind: detail"; else None.
    """

    text: str | None = None
    log_probabilities: list[float] | None = None
    answered_mass: float | None = None
    reasoning: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    error: str | None = None


class Engine(Protocol):
    """A running engine."""

    @property
    def closed(self) -> str:
        """Why it asks no more: BUDGET_ERROR or ENGINE_ERROR, ": " and more; empty if it asks."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of how it asks; each is said once."""

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        """Answers prompts in their order, greedily where the judge does not think; one that fails
        costs no other.

        Once it is closed, that is the error of every answer.

        Args:
            prompts: without those that have an error.
            forms: of the answer to each prompt.
        """


class EngineChoice(ABC):
    """Which engine to use, and how; a running one is made from it in an actor."""

    @abstractmethod
    def actors(self) -> int:
        """How many engines work side by side."""

    @abstractmethod
    def actor_options(self) -> dict[str, Any]:
        """Ray's options for an engine's actor: resources and environment."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What of these settings decides the answers."""

    @abstractmethod
    def context_length(self, model: str) -> int:
        """Tokens that the model reads, as far as can be known here.

        Raises:
            InputError: there is no such model.
        """

    @abstractmethod
    def tokenizer(self, model: str) -> str:
        """The Hugging Face id or folder of the tokenizer that measures prompts."""

    @abstractmethod
    def secret(self) -> "Secret":
        """The key that it needs, from the environment of this process."""

    @abstractmethod
    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        """Refuses, before anything is started, what this engine cannot do.

        Raises:
            InputError: naming the reason.
        """

    def budget(self) -> int | None:
        """Tokens that a job may spend; None where nothing bounds them."""
        return None

    @abstractmethod
    def start(
        self,
        model: str,
        max_model_len: int,
        encoder: PromptEncoder,
        secret: "Secret",
        spend: Spend | None,
    ) -> Engine:
        """Starts the engine in this process.

        Args:
            model: a Hugging Face id or the path of a folder; for an endpoint, the name it knows.
            max_model_len: tokens of prompt, thought and answer together.
            encoder: makes the prompts.
            secret: what `secret` gave where the job was started.
            spend: the count of `budget`; None where there is no budget.
        """


class Secret:
    """A text that does not show itself in a log or a stack trace."""

    def __init__(self, value: str = "") -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(***)"
