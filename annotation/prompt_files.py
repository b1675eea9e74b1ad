"""A prompt whose criterion, template and examples may lie in a store."""

from pathlib import Path

from annotation.prompts.prompt import Language, Prompt, StrategyName, load_prompt
from corpus.local_copies import local_copy
from corpus.places import Place, place_of


def read_prompt(
    strategy: StrategyName,
    language: Language,
    criterion: str,
    template: Place | None,
    examples: Place | None,
) -> Prompt:
    """Loads a prompt as `load_prompt` does, of whose arguments each file may be a URL.

    Raises:
        InputError: a file is missing or wrong; it is named.
    """
    if "://" in criterion:
        criterion = str(local_copy(place_of(criterion)))
    return load_prompt(strategy, language, criterion, _here(template), _here(examples))


def _here(file: Place | None) -> Path | None:
    return None if file is None else local_copy(file)
