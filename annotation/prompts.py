"""Prompts: Jinja files, a criterion and examples, known by the hash of what they say.

What prompts share stands first (the task, then the query, then the documents), so that an engine
that keeps the prefixes it has read, as vLLM does, reads a query once for all its documents.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corpus.errors import InputError

PROMPT_FOLDER = Path(__file__).with_name("prompts")
FIELDS = frozenset({"query", "title", "body", "documents", "criterion", "examples"})
GRADES = (0, 1, 2, 3)
GRADE_TEXTS = tuple(str(grade) for grade in GRADES)

StrategyName = Literal["pointwise", "listwise", "selection", "ranking"]
Language = Literal["english", "chinese"]

_environment = ImmutableSandboxedEnvironment(
    autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
)


class Document(NamedTuple):
    """The text of a document as a judge sees it."""

    title: str
    body: str


@dataclass(frozen=True)
class GradedDocument:
    """A document of an example.

    Attributes:
        number: place among the example's documents, from 1.
        title: may be empty.
        body: the text.
        grade: 0 to 3.
    """

    number: int
    title: str
    body: str
    grade: int


@dataclass(frozen=True)
class Example:
    """A query with graded documents, shown to the judge before it is asked (few-shot)."""

    query: str
    documents: tuple[GradedDocument, ...]


@dataclass(frozen=True)
class Prompt:
    """Everything that decides what a judge reads beside query and documents.

    Attributes:
        source: a Jinja template. Its fields: query; documents, each with title and body; title and
            body of the first of them; criterion; examples.
        criterion: what the grades mean, a line each.
        examples: shown before the question.
    """

    source: str
    criterion: str = ""
    examples: tuple[Example, ...] = ()

    @property
    def prompt_id(self) -> str:
        """First 12 hexadecimal digits of the content's SHA-256: another text, another id."""
        content = json.dumps(asdict(self), ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def compile(self) -> Callable[[str, Sequence[Document]], str]:
        """A function that renders a query and its documents.

        What is put into the fields stays text, whatever it looks like.

        >>> Prompt("Query: {{ query }} Document: {{ body }}").compile()(
        ...     "2 + 2", [Document("", "{{ 2 + 2 }}")]
        ... )
        'Query: 2 + 2 Document: {{ 2 + 2 }}'
        """
        return partial(_render, _environment.from_string(self.source), self)


def load_prompt(
    strategy: StrategyName = "pointwise",
    language: Language = "english",
    criterion: str = "relevance",
    template: Path | None = None,
    examples: Path | None = None,
) -> Prompt:
    """Reads and checks a prompt and what goes with it.

    Args:
        strategy: the strategy that will use it.
        language: of Tandem's own templates and criteria.
        criterion: relevance, utility, or the path of a text file.
        template: a Jinja file to use instead of the strategy's own.
        examples: a YAML file, see `read_examples`.

    Raises:
        InputError: a file is missing or cannot be used, naming it and the reason.
    """
    folder = PROMPT_FOLDER / language
    path = template or folder / f"{strategy}.jinja"
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; a prompt is a Jinja template")
    prompt = Prompt(
        source=path.read_text(encoding="utf-8"),
        criterion=_read_criterion(folder, criterion),
        examples=read_examples(examples) if examples else (),
    )
    needed = [{"query"}, {"body", "documents"} if strategy == "pointwise" else {"documents"}]
    try:
        fields = meta.find_undeclared_variables(_environment.parse(prompt.source))
        if unknown := sorted(fields - FIELDS):
            known = ", ".join(sorted(FIELDS))
            raise InputError(f"{path}: unknown field {unknown[0]!r}; a prompt has {known}")
        for alternatives in needed:
            if not fields & alternatives:
                missing = " or ".join(sorted(alternatives))
                raise InputError(f"{path}: has no field {missing}; nothing could be judged")
        prompt.compile()("query", [Document("title", "body")] * (1 + (strategy != "pointwise")))
    except TemplateSyntaxError as error:
        raise InputError(f"{path}: line {error.lineno} is no Jinja: {error.message}") from error
    except (UndefinedError, TypeError, ArithmeticError) as error:
        raise InputError(f"{path}: {error}") from error
    return prompt


def read_examples(path: Path) -> tuple[Example, ...]:
    """Reads examples from YAML: a list of `query` and `documents` (`title`, `body`, `grade`).

    Raises:
        InputError: the file is missing, is no YAML, or an example is not of this form.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file of examples")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: must be a list of examples, each a query and its documents")
    return tuple(_example(entry, f"{path}: example {n}") for n, entry in enumerate(content, 1))


def _example(entry: Any, place: str) -> Example:
    if not isinstance(entry, dict) or not {"query", "documents"} <= entry.keys():
        raise InputError(f"{place}: needs a query and documents")
    if not isinstance(entry["documents"], list) or not entry["documents"]:
        raise InputError(f"{place}: documents must be a list")
    documents = []
    for number, document in enumerate(entry["documents"], 1):
        if not isinstance(document, dict) or not {"body", "grade"} <= document.keys():
            raise InputError(f"{place}, document {number}: needs a body and a grade")
        if document["grade"] not in GRADES:
            raise InputError(f"{place}, document {number}: the grade must be 0, 1, 2 or 3")
        title, body = str(document.get("title") or ""), str(document["body"])
        documents.append(GradedDocument(number, title, body, int(document["grade"])))
    return Example(str(entry["query"]), tuple(documents))


def _read_criterion(folder: Path, name: str) -> str:
    own = folder / f"{name}.txt"
    path = own if own.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.txt")))
        raise InputError(f"{name}: no such criterion; give one of {known}, or a text file")
    return path.read_text(encoding="utf-8").strip()


def _render(template: Template, prompt: Prompt, query: str, documents: Sequence[Document]) -> str:
    return template.render(
        query=query,
        documents=documents,
        title=documents[0].title,
        body=documents[0].body,
        criterion=prompt.criterion,
        examples=prompt.examples,
    )
