"""The interface of engines: prompts in, answers of a given form out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from annotation.engines.token_spend import Spend
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder

# Kinds of error that may not happen again; --resume asks for these rows again.
ENGINE_ERROR = "engine"
BUDGET_ERROR = "budget"
RETRIED = (ENGINE_ERROR, BUDGET_ERROR)
# A prompt that the engine will never answer, although it answers others.
PROMPT_ERROR = "prompt"
# The judge, or a filter of its server, says no: an answer, and no failure of the engine.
REFUSED_ERROR = "refused"


@dataclass(frozen=True)
class OneOf:
    """The answer is one of a few tokens, whose probabilities are wanted.

    Attributes:
        choices: the answers, each one token.
        max_tokens: the limit of tokens of the answer; more than 1, as a judge that is not held to
            the choices may begin with a blank.
        thinking: the limit of tokens of a thought before the answer; 0 if there is none.
    """

    choices: tuple[str, ...]
    max_tokens: int = 4
    thinking: int = 0


@dataclass(frozen=True)
class Json:
    """The answer is JSON.

    Attributes:
        schema: the JSON schema, as text.
        max_tokens: the limit of tokens of the answer.
        thinking: the limit of tokens of a thought before the answer; 0 if there is none.
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
        log_probabilities: log-probability of each choice of `OneOf`; None where the engine gives
            none.
        answered_mass: probability of all choices of `OneOf` together before they are normalised,
            in [0, 1]; None where the engine gives no log-probabilities.
        reasoning: the thought before the answer; None where there is none.
        prompt_tokens: tokens of the prompt, summed over attempts.
        cached_tokens: prompt tokens that came from the prefix cache.
        answer_tokens: generated tokens, thoughts included.
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
    """A running engine: it answers prompts until it is closed."""

    @property
    def closed(self) -> str:
        """Why the engine answers no more, as "budget: detail" or "engine: detail"; else ""."""

    @property
    def notes(self) -> Sequence[str]:
        """Remarks for the user on how the engine asks; each is to be printed once."""

    def answer(self, prompts: Sequence[EncodedPrompt], forms: Sequence[AnswerForm]) -> list[Answer]:
        """Answers prompts in their order, by greedy decoding where the judge does not think.

        A prompt that fails costs no other its answer. Once the engine is closed, `closed` is the
        error of every answer.

        Args:
            prompts: encoded prompts without an error.
            forms: the form of the answer to each prompt, in the same order.
        """


class EngineChoice(ABC):
    """The settings of an engine; an actor starts a running engine from them."""

    @abstractmethod
    def actors(self) -> int:
        """The number of actors, each with an engine of its own."""

    @abstractmethod
    def actor_options(self) -> dict[str, Any]:
        """Ray's options of an engine's actor: resources and environment variables."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """The settings that decide the answers; a resumed job must have the same."""

    @abstractmethod
    def context_length(self, model: str) -> int:
        """The context length of the model in tokens, or a huge number where it is not known here.

        Raises:
            InputError: there is no such model.
        """

    @abstractmethod
    def tokenizer(self, model: str) -> str:
        """The Hugging Face id or folder of the tokenizer that measures prompts."""

    @abstractmethod
    def secret(self) -> "Secret":
        """The key that the engine needs, from the environment of this process."""

    @abstractmethod
    def check(self, encoder: PromptEncoder, form: type[AnswerForm]) -> None:
        """Refuses, before anything is started, what this engine cannot do.

        Args:
            encoder: the encoder of the prompts.
            form: the form of the answers.

        Raises:
            InputError: naming the reason.
        """

    def budget(self) -> int | None:
        """The tokens that a job may spend; None for no limit."""
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
            max_model_len: the limit of tokens of prompt, thought and answer together.
            encoder: the encoder of the prompts.
            secret: the key that `secret` returned in the process that started the job.
            spend: the count of spent tokens; None where there is no budget.
        """


class Secret:
    """A text that does not show itself in a log or a stack trace."""

    def __init__(self, value: str = "") -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(***)"
