"""Reads TianGong-ST (Chen et al., CIKM 2019): sessions of Sogou as XML, with human labels."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from corpus.errors import InputError
from corpus.readers.log_tables import Document, Judgment, LogFormat, Search
from corpus.text_lines import TOO_LONG, decode_line, open_bytes, read_lines
from corpus.window import seconds_of

LABEL = re.compile(r"[0-4](\.0*)?")
PAGE_LENGTH = 10  # results and clicks beyond it are junk
MOST_ELEMENT_BYTES = 2**22  # without the end of a session, of which the published are far shorter
BYTES_AT_ONCE = 2**12  # more would keep more elements alive, which takes longer


class TianGongLog(LogFormat):
    """The published files of TianGong-ST. A search has the time at which its session began.

    Args:
        sessions: sogousessiontrack2020.xml.
        human_labels: sogou_st_human_labels.txt: index, session, query id, document id, grade 0-4.
        bodies: documents by id: a line each, id and text, parted by a tab.
    """

    def __init__(self, sessions: Path, human_labels: Path | None, bodies: Path | None) -> None:
        self.sessions, self.human_labels, self.bodies = sessions, human_labels, bodies

    def check(self) -> None:
        with open_bytes(self.sessions):
            pass
        for path in (self.human_labels, self.bodies):
            if path is not None:
                next(read_lines(path), None)

    def searches(self, aside: Counter[str]) -> Iterator[Search]:
        for session in _elements(self.sessions, "session"):
            started = seconds_of(session.get("starttime") or _text(session, "starttime"))
            for interaction in session.iter("interaction"):
                name = f"{session.get('num', '')}-{interaction.get('num', '')}"
                search = _read_interaction(interaction, name, started, aside)
                if search is not None:
                    yield search

    def documents(self, aside: Counter[str]) -> Iterator[Document]:
        if self.bodies is None:
            return
        # Bodies come without titles; the log's titles are read first, as it is read anyway.
        titles: dict[str, str] = {}
        for session in _elements(self.sessions, "session"):
            for result in session.iter("result"):
                titles.setdefault(_text(result, "docid"), _text(result, "title"))
        for _, line in read_lines(self.bodies):
            if line is None:
                aside[TOO_LONG] += 1
                continue
            # Pages of the web have bytes that are none of UTF-8, and are text all the same.
            doc_id, tab, body = line.decode(errors="replace").partition("\t")
            if not tab or not doc_id:
                aside["lines of bodies without an id and a text"] += 1
            elif doc_id in titles:
                yield Document(doc_id, titles[doc_id], body)

    def judgments(self, aside: Counter[str]) -> Iterator[Judgment]:
        if self.human_labels is None:
            return
        for number, line in read_lines(self.human_labels):
            columns = decode_line(line, self.human_labels, number).split()
            if len(columns) != 5 or not LABEL.fullmatch(columns[4]):
                aside["lines of human labels without five columns and a grade of 0-4"] += 1
            else:
                yield Judgment(columns[2], Document(columns[3]), int(columns[4][0]))


def _elements(path: Path, tag: str) -> Iterator[Element]:
    """The elements of a tag, each forgotten once the next is asked for."""
    parser: XMLPullParser[Any] = XMLPullParser(("start", "end"))
    root: Element | None = None
    unused = 0
    try:
        with open_bytes(path) as file:
            while read := file.read(BYTES_AT_ONCE):
                parser.feed(read)
                unused += len(read)
                for event, element in cast(Iterator[tuple[str, Element]], parser.read_events()):
                    root = element if root is None else root
                    if event == "end" and element.tag == tag:
                        yield element
                        root.clear()
                        unused = 0
                if unused > MOST_ELEMENT_BYTES:
                    raise InputError(
                        f"{path}: has {MOST_ELEMENT_BYTES // 2**20} MiB without the end of a "
                        f"<{tag}>; give the XML as published"
                    )
            parser.close()
    except ParseError as error:
        raise InputError(f"{path}: is not well-formed XML: {error}") from error


def _read_interaction(
    interaction: Element, name: str, time: int | None, aside: Counter[str]
) -> Search | None:
    ranked: dict[int, Document] = {}
    for result in interaction.iter("result"):
        rank = _rank(result.get("rank"))
        doc_id = _text(result, "docid")
        if rank is None or not doc_id:
            aside["results with a rank out of 1-10 or without a document id"] += 1
        elif rank in ranked or any(doc_id == other.doc_id for other in ranked.values()):
            aside["results that repeat a rank or a document of their page"] += 1
        else:
            ranked[rank] = Document(doc_id, _text(result, "title"))
    query_id = _text(interaction, "query_id")
    if not ranked or not query_id:
        aside["searches without results or without a query id"] += 1
        return None
    clicked: set[int] = set()
    for click in interaction.iter("click"):
        rank = _rank(click.get("rank") or _text(click, "rank"))
        if rank in ranked:
            clicked.add(rank)
        else:
            aside["clicks on a rank that the page does not show"] += 1
    ranks = sorted(ranked)
    if ranks[-1] != len(ranks):
        # Later documents would move up and be given a position where nobody saw them.
        aside["searches with a gap between their ranks"] += 1
        return None
    return Search(
        session_id=name,
        query_id=query_id,
        text=_text(interaction, "query"),
        documents=[ranked[rank] for rank in ranks],
        clicks=[rank in clicked for rank in ranks],
        time=time,
    )


def _rank(text: str | None) -> int | None:
    rank = int(text) if text and re.fullmatch(r"\s*\d{1,9}\s*", text) else 0
    return rank if 1 <= rank <= PAGE_LENGTH else None


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
