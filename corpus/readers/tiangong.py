"""Reads TianGong-ST (Chen et al., CIKM 2019): sessions of Sogou as XML, with human labels."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import pyarrow as pa

from corpus.places import Place
from corpus.readers.log_format import (
    Columns,
    Judgment,
    LogFormat,
    SearchRows,
    Shard,
    byte_shards,
)
from corpus.readers.tiangong_xml import Interaction, check_encoding, read_sessions
from corpus.schemas import SCHEMAS
from corpus.text_lines import TOO_LONG, decode_line, is_gzipped, read_blocks, read_lines
from corpus.window import seconds_of

LABEL = re.compile(r"[0-4](\.0*)?")
PAGE_LENGTH = 10  # results and clicks beyond it are junk
RANKS = {str(rank): rank for rank in range(1, PAGE_LENGTH + 1)}
RANK_TEXTS = tuple(RANKS)
SESSIONS_AT_ONCE = 5_000


class TianGongLog(LogFormat):
    """The published files of TianGong-ST. A search has the time at which its session began.

    Args:
        sessions: sogousessiontrack2020.xml.
        human_labels: sogou_st_human_labels.txt: index, session, query id, document id, grade 0-4.
        bodies: documents by id: a line each, id and text, parted by a tab.
    """

    def __init__(self, sessions: Place, human_labels: Place | None, bodies: Place | None) -> None:
        self.sessions, self.human_labels, self.bodies = sessions, human_labels, bodies

    def check(self) -> None:
        check_encoding(self.sessions)
        for path in (self.human_labels, self.bodies):
            if path is not None:
                next(read_lines(path), None)

    def shards(self, aside: Counter[str]) -> list[Shard]:
        bodies, log = (
            []
            if path is None
            else [Shard(path, of_documents=of_documents)]
            if is_gzipped(path)
            else byte_shards(path, of_documents)
            for path, of_documents in ((self.bodies, True), (self.sessions, False))
        )
        return bodies + log

    def read(self, shard: Shard, aside: Counter[str]) -> Iterator[Columns]:
        if shard.of_documents:
            yield from _read_bodies(shard, aside)
            return
        found = SearchRows()
        for number, session in zip(count(1), read_sessions(shard), strict=False):
            started = seconds_of(session.started) if session.started else None
            for interaction in session.interactions:
                name = f"{session.name}-{interaction.name}"
                _add_search(found, interaction, name, started, aside)
            if number % SESSIONS_AT_ONCE == 0:
                yield found.columns()
                found = SearchRows()
        yield found.columns()

    def judgments(self, aside: Counter[str]) -> Iterator[Judgment]:
        if self.human_labels is None:
            return
        for number, line in read_lines(self.human_labels):
            columns = decode_line(line, self.human_labels, number).split()
            if len(columns) != 5 or not LABEL.fullmatch(columns[4]):
                aside["lines of human labels without five columns and a grade of 0-4"] += 1
            else:
                yield Judgment(columns[2], columns[3], int(columns[4][0]))


def _read_bodies(shard: Shard, aside: Counter[str]) -> Iterator[Columns]:
    """Documents without titles, which the log has."""
    for _, block in read_blocks(shard.path, shard.start, shard.end):
        if block is None:
            aside[TOO_LONG] += 1
            continue
        ids, bodies = [], []
        # Pages of the web have bytes that are none of UTF-8, and are text all the same.
        for line in block.removesuffix(b"\n").split(b"\n"):
            doc_id, tab, body = line.rstrip(b"\r").decode(errors="replace").partition("\t")
            if tab and doc_id:
                ids.append(doc_id)
                bodies.append(body)
            else:
                aside["lines of bodies without an id and a text"] += 1
        columns = [ids, [None] * len(ids), bodies]
        arrays = [pa.array(column, pa.string()) for column in columns]
        yield Columns(documents=pa.Table.from_arrays(arrays, schema=SCHEMAS["documents"]))


def _add_search(
    found: SearchRows, interaction: Interaction, name: str, time: int | None, aside: Counter[str]
) -> None:
    ranks, doc_ids, titles = _whole_page(interaction) or _checked_page(interaction, aside)
    if not ranks or not interaction.query_id:
        aside["searches without results or without a query id"] += 1
        return
    clicks = [False] * len(ranks)
    for given in interaction.clicks:
        if (rank := _rank(given)) in ranks:
            clicks[ranks.index(rank)] = True
        else:
            aside["clicks on a rank that the page does not show"] += 1
    if ranks[-1] != len(ranks):
        # Later documents would move up and be given a position where nobody saw them.
        aside["searches with a gap between their ranks"] += 1
        return
    for doc_id, title in zip(doc_ids, titles, strict=True):
        if doc_id not in found.documents:
            found.documents[doc_id] = title.strip(), ""
    found.add(name, interaction.query_id, interaction.query, doc_ids, clicks, time)


Page = tuple[Sequence[int], Sequence[str], Sequence[str]]  # ranks in their order, ids and titles


def _whole_page(interaction: Interaction) -> Page | None:
    """The page, where ranks are 1, 2, 3 and so on, and ids are distinct."""
    if not interaction.results:
        return None
    ranks, doc_ids, titles = zip(*interaction.results, strict=True)
    whole = ranks == RANK_TEXTS[: len(ranks)] and len(set(doc_ids)) == len(ranks)
    # Ids of which none is empty or has a blank are what they are split into.
    if not whole or " ".join(doc_ids).split() != list(doc_ids):
        return None
    return range(1, len(ranks) + 1), doc_ids, titles


def _checked_page(interaction: Interaction, aside: Counter[str]) -> Page:
    """The page without results that are not one."""
    page: dict[int, tuple[str, str]] = {}
    doc_ids: set[str] = set()
    for given, spaced, title in interaction.results:
        rank, doc_id = _rank(given), spaced.strip()
        if rank is None or not doc_id:
            aside["results with a rank out of 1-10 or without a document id"] += 1
        elif rank in page or doc_id in doc_ids:
            aside["results that repeat a rank or a document of their page"] += 1
        else:
            page[rank] = doc_id, title
            doc_ids.add(doc_id)
    ranks = sorted(page)
    return ranks, [page[rank][0] for rank in ranks], [page[rank][1] for rank in ranks]


def _rank(text: str | None) -> int | None:
    if text in RANKS:
        return RANKS[text]
    rank = int(text) if text and re.fullmatch(r"\s*\d{1,9}\s*", text) else 0
    return rank if 1 <= rank <= PAGE_LENGTH else None
