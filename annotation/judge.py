"""Who annotates, and how: what the job, its checks and its estimate need to know of a judge."""

from dataclasses import dataclass

from annotation.asking.ask import answer_form
from annotation.engines.base import EngineChoice
from annotation.engines.checkpoint_files import tokenizer_files
from annotation.prompts.prompt import Prompt, StrategyName
from annotation.prompts.prompt_encoder import PromptEncoder
from corpus.errors import InputError


@dataclass(frozen=True)
class Judge:
    """Who annotates, and how.

    Attributes:
        annotator: name of the judge in the table annotations.
        model: a Hugging Face id or the path of a folder; for an endpoint, the name it knows.
        engine: the engine that runs the model, and its settings.
        strategy: how documents are shown to the judge, and what it answers.
        prompt: template, criterion and examples.
        max_model_len: the limit of tokens of prompt, thought and answer together.
        documents_per_prompt: the largest number of documents in a prompt.
        seed: seed of the order in which documents are shown.
        thinking: the limit of tokens of a thought before each answer; 0 if the judge answers at
            once.
    """

    annotator: str
    model: str
    engine: EngineChoice
    strategy: StrategyName
    prompt: Prompt
    max_model_len: int
    documents_per_prompt: int
    seed: int
    thinking: int = 0

    @property
    def shows_lists(self) -> bool:
        """Whether several documents of a query are shown together."""
        return self.strategy != "pointwise"

    def encoder(self) -> PromptEncoder:
        """Loads the tokenizer and makes the encoder of prompts.

        Raises:
            InputError: there is no tokenizer, it is slow, or its chat template cannot be used.
        """
        from transformers import AutoTokenizer  # seconds that no help page needs

        name = self.engine.tokenizer(self.model)
        try:
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_files(name))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{name}: is neither a folder with a tokenizer nor a model that Hugging Face has "
                "and this machine can reach; for an endpoint, --engine.measured_by takes any other "
                "model's tokenizer"
            ) from error
        return PromptEncoder(tokenizer, self.prompt, reasoning=self.thinking > 0)

    def check(self, longest_list: int) -> None:
        """Refuses what cannot be asked, before any engine starts.

        Args:
            longest_list: the largest number of documents of a query.

        Raises:
            InputError: naming the reason.
        """
        form = answer_form(self.strategy, min(self.documents_per_prompt, longest_list))
        longest = form.max_tokens + self.thinking
        if longest >= self.max_model_len:
            thought = " with its thought" if self.thinking else ""
            less = "lower --reasoning_tokens or " if self.thinking else ""
            raise InputError(
                f"an answer{thought} can take {longest} of the {self.max_model_len} tokens that "
                f"the model may read and write; {less}lower --documents_per_prompt, or raise "
                "--max_model_len"
            )
        self.engine.check(self.encoder(), type(form))
