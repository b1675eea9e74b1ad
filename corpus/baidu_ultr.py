"""Reads Baidu-ULTR (Zou et al., NeurIPS Datasets 2022): sessions as gzip parts, and annotations."""

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.progress import open as open_with_progress

from corpus.errors import InputError
from corpus.log_tables import Document, Judgment, LogFormat, Search

# Of the 32 columns of a result; "-" stands for what is withheld.
POSITION, URL, TITLE, ABSTRACT, CLICK = 0, 1, 2, 3, 5
SEARCH_COLUMNS = 3
JUDGED_PREFIX = "judged-"


class BaiduUltrLog(LogFormat):
    """The published files of Baidu-ULTR. Texts are token ids, here joined by blanks.

    A search is a line `query id, query, reformulation` and a line for each document. Judged queries
    are others than those of the log, so their ids get the prefix "judged-".

    Args:
        parts: a gzip part, or a folder of them.
        annotations: the file `query id, query, title, abstract, label 0-4, bucket 0-9`.
    """

    def __init__(self, parts: Path, annotations: Path | None) -> None:
        self.parts, self.annotations = parts, annotations

    def searches(self, aside: Counter[str]) -> Iterator[Search]:
        files = sorted(self.parts.glob("*.gz")) if self.parts.is_dir() else [self.parts]
        if not files:
            raise InputError(f"{self.parts}: there is no *.gz in it")
        for path in files:
            header: list[str] | None = None
            results: list[list[str]] = []
            number = 0
            for line in _lines(path):
                columns = line.rstrip("\r\n").split("\t")
                if len(columns) > SEARCH_COLUMNS:
                    results.append(columns)
                    continue
                if header is not None:
                    yield from _read_search(f"{path.name}-{number}", header, results, aside)
                    number += 1
                elif results:
                    aside["results before the first search of a part"] += len(results)
                header, results = columns, []
            if header is not None:
                yield from _read_search(f"{path.name}-{number}", header, results, aside)

    def judgments(self, aside: Counter[str]) -> Iterator[Judgment]:
        if self.annotations is None:
            return
        with _open(self.annotations) as lines:
            for line in lines:
                columns = line.rstrip("\r\n").split("\t")
                if len(columns) < 5 or columns[4].strip() not in set("01234"):
                    aside["lines of annotations without six columns and a label of 0-4"] += 1
                    continue
                query_id, query, title, abstract, label = columns[:5]
                text = _text(title), _text(abstract)
                doc_id = hashlib.md5("\t".join(text).encode(), usedforsecurity=False).hexdigest()
                yield Judgment(
                    JUDGED_PREFIX + query_id, Document(doc_id, *text), int(label), _text(query)
                )


def _read_search(
    name: str, header: list[str], results: list[list[str]], aside: Counter[str]
) -> Iterator[Search]:
    if not header[0].strip() or len(header) < 2:
        aside["searches without a query id and a query"] += 1
        return
    documents: list[Document] = []
    clicks: list[bool] = []
    for columns in results:
        if len(columns) <= CLICK or columns[CLICK] not in ("0", "1") or not columns[URL]:
            aside["searches with a result that lacks its document or its click"] += 1
            return
        if columns[POSITION] != str(len(documents) + 1):
            aside["searches whose positions are not 1, 2, 3 and so on"] += 1
            return
        documents.append(Document(columns[URL], _text(columns[TITLE]), _text(columns[ABSTRACT])))
        clicks.append(columns[CLICK] == "1")
    if not documents:
        aside["searches without results"] += 1
    elif len({document.doc_id for document in documents}) < len(documents):
        aside["searches that show a document twice"] += 1
    else:
        yield Search(name, header[0].strip(), _text(header[1]), documents, clicks)


def _text(tokens: str) -> str:
    return "" if tokens == "-" else " ".join(tokens.replace("\x01", " ").split())


def _lines(path: Path) -> Iterator[str]:
    try:
        with (
            open_with_progress(path, "rb", description=path.name) as file,
            gzip.open(file, "rt", encoding="utf-8", errors="replace", newline="\n") as lines,
        ):
            yield from lines
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: is no whole gzip file: {error}") from error


def _open(path: Path) -> TextIO:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return path.open(encoding="utf-8", errors="replace", newline="\n")
