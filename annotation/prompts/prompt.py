"""Prompts: a Jinja template, a criterion and examples, identified by a hash of their content.

What prompts share comes first (the task, then the query, then the documents), so that an engine
with a prefix cache, such as vLLM, computes the prefix of a query once for all its documents.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import yaml
from jinja2 import TemplateSyntaxError

from annotation.prompts.templates import compile_template, template_fields
from corpus.errors import InputError

PROMPT_FOLDER = Path(__file__).with_name("texts")
FIELDS = frozenset({"query", "title", "body", "documents", "fence", "criterion", "examples"})
GRADES = (0, 1, 2, 3)
GRADE_TEXTS = tuple(str(grade) for grade in GRADES)

StrategyName = Literal["pointwise", "listwise", "selection", "ranking"]
Language = Literal["english", "chinese"]

# Eight letters, each of 20: few enough to be read, too many to be guessed.
FENCE_LETTERS = "bcdfghjklmnpqrstvwxz"
FENCE_LENGTH = 8


class Document(NamedTuple):
    """The text of a document as a judge reads it.

    Attributes:
        title: title of the document, may be empty.
        body: text of the document.
    """

    title: str
    body: str


@dataclass(frozen=True)
class GradedDocument:
    """A document of an example.

    Attributes:
        number: position among the example's documents, from 1.
        title: title of the document, may be empty.
        body: text of the document.
        grade: grade of the document, 0 to 3.
    """

    number: int
    title: str
    body: str
    grade: int


@dataclass(frozen=True)
class Example:
    """A query with graded documents, shown to the judge before the question (few-shot).

    Attributes:
        query: text of the query.
        documents: its graded documents.
    """

    query: str
    documents: tuple[GradedDocument, ...]

    @property
    def fence(self) -> str:
        """The code around the documents, see `fence_of`."""
        return fence_of(self.query, self.documents)


class Render(Protocol):
    """Renders a prompt of a query, its documents and the code around them (`fence_of`)."""

    def __call__(
        self, query: str, documents: Sequence[Document], fence: str | None = None
    ) -> str: ...


@dataclass(frozen=True)
class Prompt:
    """Everything in a judge's input besides query and documents.

    Attributes:
        source: a Jinja template. Its fields: query; documents, each with title and body; title and
            body of the first of them; fence, a code that no document can know; criterion; examples.
        criterion: the meaning of the grades, one line for each.
        examples: examples that are shown before the question.
    """

    source: str
    criterion: str = ""
    examples: tuple[Example, ...] = ()

    @property
    def prompt_id(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 hash of the content."""
        content = json.dumps(asdict(self), ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def compile(self) -> Render:
        """Compiles the template into a function that renders a query and its documents.

        Text that is put into the fields is not interpreted as a template.

        >>> Prompt("Query: {{ query }} Document: {{ body }}").compile()(
        ...     "2 + 2", [Document("", "{{ 2 + 2 }}")]
        ... )
        'Query: 2 + 2 Document: {{ 2 + 2 }}'
        """
        template = compile_template(self.source)

        def render(query: str, documents: Sequence[Document], fence: str | None = None) -> str:
            return template(
                query=query,
                documents=documents,
                title=documents[0].title,
                body=documents[0].body,
                fence=fence_of(query, documents) if fence is None else fence,
                criterion=self.criterion,
                examples=self.examples,
            )

        return render


def fence_of(query: str, documents: Sequence[Document | GradedDocument]) -> str:
    """The code to put around documents: eight letters made from a hash of query and documents.

    A document that would end itself would have to hold its own code, and any change of its text
    changes that code.

    Args:
        query: text of the query.
        documents: the documents that the prompt shows.

    >>> fence_of("night trains", [Document("Sleepers", "The 22:10 to Vienna.")])
    'ddrtfmtc'
    """
    texts = [query, *(text for document in documents for text in (document.title, document.body))]
    digest = hashlib.sha256(json.dumps(texts).encode()).digest()
    number = int.from_bytes(digest)
    letters = []
    for _ in range(FENCE_LENGTH):
        number, letter = divmod(number, len(FENCE_LETTERS))
        letters.append(FENCE_LETTERS[letter])
    return "".join(letters)


def load_prompt(
    strategy: StrategyName = "pointwise",
    language: Language = "english",
    criterion: str = "relevance",
    template: Path | None = None,
    examples: Path | None = None,
) -> Prompt:
    """Reads and checks a prompt: its template, criterion and examples.

    Args:
        strategy: the strategy that will use the prompt.
        language: the language of Tandem's own templates and criteria.
        criterion: relevance, utility, or the path of a text file.
        template: a Jinja file to use instead of the strategy's own.
        examples: a YAML file of examples in the form of `read_examples`; None for none.

    Raises:
        InputError: a file is missing or cannot be used, naming it and the reason.
    """
    folder = PROMPT_FOLDER / language
    path = template or folder / f"{strategy}.jinja"
    prompt = Prompt(
        source=_read_text(path, "a prompt is a Jinja template"),
        criterion=_read_criterion(folder, criterion),
        examples=read_examples(examples) if examples else (),
    )
    needed = [{"query"}, {"body", "documents"} if strategy == "pointwise" else {"documents"}]
    try:
        fields = template_fields(prompt.source)
        if unknown := sorted(fields - FIELDS):
            known = ", ".join(sorted(FIELDS))
            raise InputError(f"{path}: unknown field {unknown[0]!r}; a prompt has {known}")
        for alternatives in needed:
            if not fields & alternatives:
                missing = " or ".join(sorted(alternatives))
                raise InputError(f"{path}: has no field {missing}; nothing could be judged")
        prompt.compile()("query", [Document("title", "body")] * (1 + (strategy != "pointwise")))
    except InputError:
        raise
    except TemplateSyntaxError as error:
        raise InputError(f"{path}: line {error.lineno} is no Jinja: {error.message}") from error
    except Exception as error:  # a template is a program of the user's
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"{path}: cannot be rendered: {reason}") from error
    return prompt


def read_examples(path: Path) -> tuple[Example, ...]:
    """Reads examples from YAML: a list of `query` and `documents` (`title`, `body`, `grade`).

    Raises:
        InputError: the file is missing, is no YAML, or an example is not of this form.
    """
    text = _read_text(path, "examples are a YAML file")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: is not YAML: {reason}") from error
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: must be a list of examples, each a query and its documents")
    return tuple(_example(entry, f"{path}: example {n}") for n, entry in enumerate(content, 1))


def _example(entry: Any, source: str) -> Example:
    if not isinstance(entry, dict) or not {"query", "documents"} <= entry.keys():
        raise InputError(f"{source}: needs a query and documents")
    if not isinstance(entry["query"], str | int | float):
        raise InputError(f"{source}: the query must be a text")
    if not isinstance(entry["documents"], list) or not entry["documents"]:
        raise InputError(f"{source}: documents must be a list")
    documents = []
    for number, document in enumerate(entry["documents"], 1):
        if not isinstance(document, dict) or not {"body", "grade"} <= document.keys():
            raise InputError(f"{source}, document {number}: needs a body and a grade")
        if document["grade"] not in GRADES:
            raise InputError(f"{source}, document {number}: the grade must be 0, 1, 2 or 3")
        title, body = document.get("title") or "", document["body"]
        if not all(isinstance(text, str | int | float) for text in (title, body)):
            raise InputError(f"{source}, document {number}: title and body must be texts")
        documents.append(GradedDocument(number, str(title), str(body), int(document["grade"])))
    return Example(str(entry["query"]), tuple(documents))


def _read_criterion(folder: Path, name: str) -> str:
    own = folder / f"{name}.txt"
    known = ", ".join(sorted(file.stem for file in folder.glob("*.txt")))
    path = own if name in known.split(", ") else Path(name)
    return _read_text(path, f"a criterion is one of {known}, or a text file").strip()


def _read_text(path: Path, wanted: str) -> str:
    """Reads a file of text.

    Raises:
        InputError: it is missing, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line}, byte {error.start}: is not UTF-8; save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: there is no such file; {wanted}") from error
