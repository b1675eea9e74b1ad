"""Prompts: Jinja files that are known by the hash of what they say.

What prompts share stands first (the task, then the query, then the document), so that an engine
that keeps the prefixes it has read, as vLLM does, reads a query once for all its documents.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corpus.errors import InputError

PROMPT_FOLDER = Path(__file__).with_name("prompts")
FIELDS = frozenset({"query", "title", "body"})

_environment = ImmutableSandboxedEnvironment(
    autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True
)


@dataclass(frozen=True)
class Prompt:
    """A prompt as its file has it.

    Attributes:
        source: a Jinja template with the fields query, title and body.
    """

    source: str

    @property
    def prompt_id(self) -> str:
        """First 12 hexadecimal digits of the source's SHA-256: another text, another id."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]

    def compile(self) -> Template:
        """The template; what is put into its fields stays text, whatever it looks like.

        >>> Prompt("Query: {{ query }} Document: {{ body }}").compile().render(
        ...     query="2 + 2", body="{{ 2 + 2 }}"
        ... )
        'Query: 2 + 2 Document: {{ 2 + 2 }}'
        """
        return _environment.from_string(self.source)


def load_prompt(name: str) -> Prompt:
    """Reads and checks a prompt.

    Args:
        name: of a file in `annotation/prompts`, without its ending; or the path of a Jinja file.

    Raises:
        InputError: there is no such prompt; it is no template; or it has an unknown field, or
            lacks the query or the body.
    """
    own = PROMPT_FOLDER / f"{name}.jinja"
    path = own if own.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in PROMPT_FOLDER.glob("*.jinja")))
        raise InputError(f"{name}: no such prompt; give one of {known}, or the path of a file")
    prompt = Prompt(path.read_text(encoding="utf-8"))
    try:
        fields = meta.find_undeclared_variables(_environment.parse(prompt.source))
    except TemplateSyntaxError as error:
        raise InputError(f"{path}: line {error.lineno} is no Jinja: {error.message}") from error
    if unknown := sorted(fields - FIELDS):
        raise InputError(f"{path}: unknown field {unknown[0]!r}; a prompt has query, title, body")
    if missing := sorted({"query", "body"} - fields):
        raise InputError(f"{path}: has no {{{{ {missing[0]} }}}}; nothing could be judged")
    return prompt
