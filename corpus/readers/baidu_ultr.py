"""Reads Baidu-ULTR (Zou et al., NeurIPS Datasets 2022): sessions as gzip parts, and annotations."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

from corpus.errors import InputError
from corpus.readers.log_tables import Document, Judgment, LogFormat, Search
from corpus.text_lines import read_lines

# Of the 32 columns of a result; "-" stands for what is withheld.
POSITION, URL, TITLE, ABSTRACT, CLICK = 0, 1, 2, 3, 5
SEARCH_COLUMNS = 3
TOKENS = re.compile(r"-|[\d\x01 ]*")
LABEL = re.compile(r"[0-4](\.0*)?")
JUDGED_PREFIX = "judged-"


class BaiduUltrLog(LogFormat):
    """The published files of Baidu-ULTR. Texts are token ids, here joined by blanks.

    A search is a line `query id, query, reformulation` and a line for each document. Judged queries
    are others than those of the log, so their ids get the prefix "judged-". Some ids stand for
    several queries: the first text keeps the id, others have a hash of their text after it.

    Args:
        parts: a gzip part, or a folder of them.
        annotations: the file `query id, query, title, abstract, label 0-4, bucket 0-9`.
    """

    def __init__(self, parts: Path, annotations: Path | None) -> None:
        self.parts, self.annotations = parts, annotations

    def check(self) -> None:
        for path in [*self._files(), *([self.annotations] if self.annotations else [])]:
            next(read_lines(path), None)

    def searches(self, aside: Counter[str]) -> Iterator[Search]:
        first_text: dict[str, str] = {}
        for path in self._files():
            page: _Page | None = None
            pages = 0
            for columns, following in pairwise(chain(_columns(path), [[]])):
                if len(columns) > SEARCH_COLUMNS:
                    if page is None:
                        aside["results before the first search of a part"] += 1
                    else:
                        page.add(columns)
                elif _begins_search(columns, following, page):
                    yield from _finish(page, first_text, aside)
                    page = _Page(f"{path.name}-{pages}", columns[0].strip(), _text(columns[1]))
                    pages += 1
                else:
                    # A search or a result was cut: what stands before it may be half a page.
                    aside["lines that are neither a search nor a result"] += 1
                    if page is not None:
                        page.fault = "searches with a broken line in or after them"
            yield from _finish(page, first_text, aside)

    def judgments(self, aside: Counter[str]) -> Iterator[Judgment]:
        if self.annotations is None:
            return
        first_text: dict[str, str] = {}
        for columns in _columns(self.annotations):
            if len(columns) < 5 or not LABEL.fullmatch(columns[4].strip()) or not columns[0]:
                aside["lines of annotations without six columns and a label of 0-4"] += 1
                continue
            query_id, query, title, abstract, label = columns[:5]
            query_id = _own_id(query_id, _text(query), first_text)
            text = _text(title), _text(abstract)
            document = Document(_hash("\t".join(text)), *text)
            yield Judgment(JUDGED_PREFIX + query_id, document, int(label.strip()[0]), _text(query))

    def _files(self) -> list[Path]:
        files = sorted(self.parts.glob("*.gz")) if self.parts.is_dir() else [self.parts]
        if not files:
            raise InputError(f"{self.parts}: there is no *.gz in it")
        return files


@dataclass
class _Page:
    """A search as far as it is read; `fault` is why it is to be set aside."""

    name: str
    query_id: str
    text: str
    documents: list[Document] = field(default_factory=list)
    clicks: list[bool] = field(default_factory=list)
    fault: str | None = None

    def add(self, columns: list[str]) -> None:
        if self.fault:
            return
        if len(columns) <= CLICK or columns[CLICK] not in ("0", "1") or not columns[URL]:
            self.fault = "searches with a result that lacks its document or its click"
        elif columns[POSITION] != str(len(self.documents) + 1):
            self.fault = "searches whose positions are not 1, 2, 3 and so on"
        else:
            texts = _text(columns[TITLE]), _text(columns[ABSTRACT])
            self.documents.append(Document(columns[URL], *texts))
            self.clicks.append(columns[CLICK] == "1")


def _begins_search(columns: list[str], following: list[str], page: _Page | None) -> bool:
    """Whether a line is the first of a search, rather than a result or search that was cut."""
    if len(columns) != SEARCH_COLUMNS or not TOKENS.fullmatch(columns[1]):
        return False
    may_be_result = page is not None and columns[0] == str(len(page.documents) + 1)
    return not may_be_result or following[:1] == ["1"]


def _finish(
    page: _Page | None, first_text: dict[str, str], aside: Counter[str]
) -> Iterator[Search]:
    if page is None:
        return
    if not page.query_id or not page.text:
        aside["searches without a query id and a query"] += 1
    elif page.fault:
        aside[page.fault] += 1
    elif not page.documents:
        aside["searches without results"] += 1
    elif len({document.doc_id for document in page.documents}) < len(page.documents):
        aside["searches that show a document twice"] += 1
    else:
        query_id = _own_id(page.query_id, page.text, first_text)
        yield Search(page.name, query_id, page.text, page.documents, page.clicks)


def _own_id(query_id: str, text: str, first_text: dict[str, str]) -> str:
    if first_text.setdefault(query_id, text) == text:
        return query_id
    return f"{query_id}-{_hash(text)[:12]}"


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _text(tokens: str) -> str:
    return "" if tokens == "-" else " ".join(tokens.replace("\x01", " ").split())


def _columns(path: Path) -> Iterator[list[str]]:
    """The columns of each line that is not blank; none for a line that cannot be read."""
    for _, line in read_lines(path):
        try:
            text = line.decode() if line is not None else ""
        except UnicodeDecodeError:
            text = ""
        if text or line != b"":
            yield text.split("\t") if text else []
