"""Reads Baidu-ULTR (Zou et al., NeurIPS Datasets 2022): sessions as gzip parts, and annotations."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise

import pyarrow as pa

from corpus.errors import InputError
from corpus.places import Place
from corpus.readers.log_format import Columns, Judgment, LogFormat, SearchRows, Shard
from corpus.text_lines import read_blocks, read_lines

# Of the 32 columns of a result; "-" stands for what is withheld.
POSITION, URL, TITLE, ABSTRACT, CLICK = 0, 1, 2, 3, 5
SEARCH_COLUMNS = 3
TOKENS = re.compile(r"-|[\d\x01 ]*")
LABEL = re.compile(r"[0-4](\.0*)?")
JUDGED_PREFIX = "judged-"
UNREADABLE = "\0"
PAGES_AT_ONCE = 10_000


class BaiduUltrLog(LogFormat):
    """The published files of Baidu-ULTR. Texts are token ids, here joined by blanks.

    A search is a line `query id, query, reformulation` and a line for each document. Judged queries
    are others than those of the log, so their ids get the prefix "judged-". Some ids stand for
    several queries: the first text keeps the id, others have a hash of their text after it.

    Args:
        parts: a gzip part, or a folder of them.
        annotations: the file `query id, query, title, abstract, label 0-4, bucket 0-9`.
    """

    def __init__(self, parts: Place, annotations: Place | None) -> None:
        self.parts, self.annotations = parts, annotations

    def check(self) -> None:
        for path in [*self._files(), *([self.annotations] if self.annotations else [])]:
            next(read_lines(path), None)

    def shards(self, aside: Counter[str]) -> list[Shard]:
        # A page is told by the lines before it, so that a part is read from its beginning.
        return [Shard(path) for path in self._files()]

    def read(self, shard: Shard, aside: Counter[str]) -> Iterator[Columns]:
        first_text: dict[str, str] = {}
        found = SearchRows()
        page: _Page | None = None
        pages = 0
        for columns, following in pairwise(chain(_columns(shard.path), [[]])):
            if len(columns) > SEARCH_COLUMNS:
                if page is None:
                    aside["results before the first search of a part"] += 1
                else:
                    page.add(columns)
            elif _begins_search(columns, following, page):
                _finish(page, found, first_text, aside)
                name = f"{shard.path.name}-{pages}"
                page = _Page(name, columns[0].strip(), _text(columns[1]))
                pages += 1
                if pages % PAGES_AT_ONCE == 0:
                    yield found.columns()
                    found = SearchRows()
            else:
                # A search or a result was cut: what stands before it may be half a page.
                aside["lines that are neither a search nor a result"] += 1
                if page is not None:
                    page.fault = "searches with a broken line in or after them"
        _finish(page, found, first_text, aside)
        yield found.columns()

    def other_ids(self, queries: pa.Table, first_texts: dict[str, str]) -> dict[str, str]:
        ids, texts = queries["query_id"].to_pylist(), queries["text"].to_pylist()
        names = {}
        for query_id, text in zip(ids, texts, strict=True):
            if (first := first_texts.setdefault(query_id, text)) != text:
                names[query_id] = _with_hash(query_id, text)
                names[_with_hash(query_id, first)] = query_id
        return names

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
            yield Judgment(
                JUDGED_PREFIX + query_id,
                _hash("\t".join(text)),
                int(label.strip()[0]),
                _text(query),
                text,
            )

    def _files(self) -> list[Place]:
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
    urls: list[str] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    clicks: list[bool] = field(default_factory=list)
    fault: str | None = None

    def add(self, columns: list[str]) -> None:
        if self.fault:
            return
        if len(columns) <= CLICK or columns[CLICK] not in ("0", "1") or not columns[URL]:
            self.fault = "searches with a result that lacks its document or its click"
        elif columns[POSITION] != str(len(self.urls) + 1):
            self.fault = "searches whose positions are not 1, 2, 3 and so on"
        else:
            self.urls.append(columns[URL])
            self.texts.append(columns[TITLE : ABSTRACT + 1])
            self.clicks.append(columns[CLICK] == "1")


def _begins_search(columns: list[str], following: list[str], page: _Page | None) -> bool:
    """Whether a line is the first of a search, rather than a result or search that was cut."""
    if len(columns) != SEARCH_COLUMNS or not TOKENS.fullmatch(columns[1]):
        return False
    may_be_result = page is not None and columns[0] == str(len(page.urls) + 1)
    return not may_be_result or following[:1] == ["1"]


def _finish(
    page: _Page | None, found: SearchRows, first_text: dict[str, str], aside: Counter[str]
) -> None:
    if page is None:
        return
    if not page.query_id or not page.text:
        aside["searches without a query id and a query"] += 1
    elif page.fault:
        aside[page.fault] += 1
    elif not page.urls:
        aside["searches without results"] += 1
    elif len(set(page.urls)) < len(page.urls):
        aside["searches that show a document twice"] += 1
    else:
        query_id = _own_id(page.query_id, page.text, first_text)
        found.add(page.name, query_id, page.text, page.urls, page.clicks)
        for url, (title, abstract) in zip(page.urls, page.texts, strict=True):
            if url not in found.documents:
                found.documents[url] = _text(title), _text(abstract)


def _own_id(query_id: str, text: str, first_text: dict[str, str]) -> str:
    if first_text.setdefault(query_id, text) == text:
        return query_id
    return _with_hash(query_id, text)


def _with_hash(query_id: str, text: str) -> str:
    return f"{query_id}-{_hash(text)[:12]}"


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _text(tokens: str) -> str:
    return "" if tokens == "-" else " ".join(tokens.replace("\x01", " ").split())


def _columns(path: Place) -> Iterator[list[str]]:
    """The first columns of each line that is not blank; one for a line that cannot be read."""
    for _, block in read_blocks(path):
        if block is None:
            yield [UNREADABLE]
            continue
        try:
            lines = block.decode().split("\n")
        except UnicodeDecodeError:
            lines = [_decoded(line) for line in block.split(b"\n")]
        for line in lines:
            if line := line.rstrip("\r"):
                yield line.split("\t", CLICK + 1)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return UNREADABLE
