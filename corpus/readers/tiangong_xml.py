"""Sessions of TianGong-ST's XML: by patterns where it is written as published, else by a parser."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, NoReturn
from xml.etree.ElementTree import Element, ParseError, XMLParser, fromstring
from xml.sax.saxutils import unescape

from corpus.errors import InputError
from corpus.places import Place
from corpus.readers.log_format import Shard
from corpus.text_lines import line_number, open_bytes, without_mark

MOST_ELEMENT_BYTES = 2**22  # without the end of a session, of which the published are far shorter
BYTES_AT_ONCE = 2**22
LONGEST_DECLARATION = 200
BEGIN = re.compile(rb"<session(?=[\s>/])")
END = b"</session>"
ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)")
ENTITIES = {"&quot;": '"', "&apos;": "'"}

# Pieces of XML that need no parser to be read, nor to be known as well-formed: texts without
# characters that XML forbids or changes, and elements that hold texts, or named elements, alone.
CHARACTERS = r"[^<&\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
TEXT = rf"(?:{CHARACTERS}++|&(?:amp|lt|gt|quot|apos);)*+"
SPACE = r"[ \t\r\n]*+"
NAME = r"[A-Za-z_][A-Za-z0-9_]*+"
VALUE = r'"[^<&"\x00-\x1f\ufffe\uffff]*+"'
ATTRIBUTE = rf"(?: {NAME}={VALUE})?+"


def _leaves(group: str, name: str = NAME) -> str:
    return rf"(?:<(?P<{group}>{name})>{TEXT}</(?P={group})>{SPACE})*+"


MODELS = rf"(?:<relevance>{SPACE}{_leaves('model', '[A-Z][A-Za-z]*+')}</relevance>{SPACE})?+"
RESULTS = rf"(?:<result{ATTRIBUTE}>{SPACE}{_leaves('of_result')}{MODELS}</result>{SPACE})*+"
CLICKS = rf"(?:<click{ATTRIBUTE}>{SPACE}{_leaves('of_click')}</click>{SPACE})*+"
INTERACTIONS = (
    rf"(?:<interaction{ATTRIBUTE}>{SPACE}{_leaves('before')}"
    rf"<results>{SPACE}{RESULTS}</results>{SPACE}{_leaves('between')}"
    rf"<clicked>{SPACE}{CLICKS}</clicked>{SPACE}{_leaves('behind')}</interaction>{SPACE})*+"
)
SESSION = re.compile(
    rf"<session(?: (?P<one>{NAME})={VALUE})?+(?: (?!(?P=one)=){NAME}={VALUE})?+>"
    rf"{SPACE}{_leaves('of_session')}{INTERACTIONS}</session>{SPACE}"
)
OTHERS = rf"(?:<(?!{{}}){NAME}>[^<]*</{NAME}>{SPACE})*?"
RESULT = re.compile(
    rf'<result rank="([^"]*)">{SPACE}{OTHERS.format("docid>")}'
    rf"<docid>([^<]*)</docid>{SPACE}<title>([^<]*)<"
)
QUERY = re.compile(
    rf'(?: num="([^"]*)")?>{SPACE}{OTHERS.format("query")}'
    rf"<query>([^<]*)</query>{SPACE}<query_id>([^<]*)<"
)
CLICK = re.compile(rf'<click(?: num="[^"]*")?>{SPACE}{OTHERS.format("rank>")}<rank>([^<]*)<')
NUMBER = re.compile(r'<session[^>]* num="([^"]*)"')
STARTED = re.compile(r'<session[^>]* starttime="([^"]+)"|<starttime>([^<]*)<')


class Interaction(NamedTuple):
    """A search of a session: results are (rank, document id, title), clicks are ranks."""

    name: str
    query_id: str
    query: str
    results: list[tuple[str | None, str, str]]
    clicks: list[str]


class Session(NamedTuple):
    """A session, and when it began, as the log has it."""

    name: str
    started: str
    interactions: list[Interaction]


def read_sessions(shard: Shard) -> Iterator[Session]:
    """Reads the sessions that begin in a shard.

    Raises:
        InputError: the file cannot be read, is not well-formed XML in UTF-8, or has 4 MiB without
            the end of a session; naming it.
    """
    for at, chunk in _chunks(shard):
        try:
            text = chunk.decode()
        except UnicodeDecodeError:
            text = ""  # which the parser refuses
        # A single character is looked for many times as fast.
        ends_no_data = "]" not in text or "]]>" not in text
        found = _by_patterns(text) if ends_no_data and SESSION.fullmatch(text) else None
        yield found or _of_element(_parse(chunk, at, shard.path))


def _by_patterns(session: str) -> Session | None:
    """A session that is as `SESSION` has it; None where it is not quite as published."""
    head, *interactions = session.split("<interaction")
    name, told = NUMBER.match(head), STARTED.search(head)
    found = []
    for interaction in interactions:
        query = QUERY.match(interaction)
        shown, _, clicked = interaction.partition("<clicked>")
        results, clicks = RESULT.findall(shown), CLICK.findall(clicked)
        if (
            query is None
            or len(results) != shown.count("</result>")
            or len(clicks) != clicked.count("<click")
        ):
            return None
        if "&" in interaction:
            results = [(rank, _plain(doc_id), _plain(title)) for rank, doc_id, title in results]
        number, text, query_id = query.groups("")
        found.append(Interaction(number, _plain(query_id), _plain(text), results, clicks))
    started = (told[1] or told[2]).strip() if told else ""
    return Session(name[1] if name else "", started, found)


def _of_element(session: Element) -> Session:
    """A session as any XML may have it."""
    return Session(
        session.get("num", ""),
        session.get("starttime") or _text(session, "starttime"),
        [
            Interaction(
                interaction.get("num", ""),
                _text(interaction, "query_id"),
                _text(interaction, "query"),
                [
                    (result.get("rank"), _text(result, "docid"), _text(result, "title"))
                    for result in interaction.iter("result")
                ],
                [click.get("rank") or _text(click, "rank") for click in interaction.iter("click")],
            )
            for interaction in session.iter("interaction")
        ],
    )


def _parse(chunk: bytes, at: int, path: Place) -> Element:
    """The session of a chunk of a file that begins at a byte of it."""
    try:
        session = fromstring(b"<r>" + chunk + b"</r>").find("session")
    except ParseError as error:
        _refuse(path, error, line_number(path, at) + error.position[0] - 1)
    assert session is not None
    return session


def _chunks(shard: Shard) -> Iterator[tuple[int, bytes]]:
    """Yields each session that begins in a shard, and the byte at which it does.

    What stands before the first and behind the last session of the file is checked by itself.
    """
    last: tuple[int, bytes] | None = None
    with open_bytes(shard.path, shard.start) as file:
        at, held = shard.start, b""
        while True:
            read = file.read(BYTES_AT_ONCE)
            held += read
            begins = [match.start() for match in BEGIN.finditer(held)]
            behind = [begin for begin in begins if shard.end and at + begin >= shard.end]
            begins = begins[: len(begins) - len(behind) + 1]
            for begin, end in pairwise(begins):
                yield at + begin, held[begin:end]
            if behind:
                return
            kept = begins[-1] if begins else max(len(held) - len(END), 0)
            at, held = at + kept, held[kept:]
            if not read:
                last = (at, held) if begins else None
                break
            if not begins and shard.end and at >= shard.end:
                return
            unused = len(held) - (held.rfind(END) if END in held else 0)
            if unused > MOST_ELEMENT_BYTES or (
                not begins and at - shard.start > MOST_ELEMENT_BYTES
            ):
                raise InputError(
                    f"{shard.path}: has {MOST_ELEMENT_BYTES // 2**20} MiB without the end of a "
                    "<session>; give the XML as published"
                )
    if last:
        at, held = last
        end = held.rfind(END) + len(END) if END in held else _end_of_empty(held)
        yield at, held[:end]
        _check_frame(shard.path, held[end:], at + end)
    elif not shard.start:
        _check_frame(shard.path, b"", at)


def _end_of_empty(session: bytes) -> int:
    """The end of a session without an end tag, as one without content may have none."""
    empty = re.match(rb"<session[^<>]*/>", session)
    return empty.end() if empty else len(session)


def check_encoding(path: Place) -> None:
    """Refuses XML that says to be in another encoding than UTF-8.

    Raises:
        InputError: it does, or cannot be read; naming it.
    """
    with open_bytes(path) as file:
        said = ENCODING.match(without_mark(file.read(LONGEST_DECLARATION), path))
    name = said[1].decode() if said else "utf-8"
    if name.lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise InputError(
            f"{path}: is in {name}, not UTF-8; convert it with iconv -f {name} -t UTF-8 and take "
            "its encoding out of the first line"
        )


def _check_frame(path: Place, tail: bytes, at: int) -> None:
    """Refuses what is not well-formed before the first and behind the last session.

    Args:
        path: the file.
        tail: what stands behind the last session.
        at: the byte at which it begins.
    """
    header = b""
    with open_bytes(path) as file:
        while not (begin := BEGIN.search(header)) and (read := file.read(BYTES_AT_ONCE)):
            header += read
    header = header[: begin.start()] if begin else header
    parser = XMLParser()
    try:
        parser.feed(header)
        parser.feed(tail)
        parser.close()
    except ParseError as error:
        line, lines = error.position[0], header.count(b"\n") + 1
        if line > lines or (line == lines and tail):
            line += line_number(path, at) - lines
        _refuse(path, error, line)


def _refuse(path: Place, error: ParseError, line: int) -> NoReturn:
    reason = str(error).partition(": line ")[0]
    raise InputError(f"{path}: is not well-formed XML: {reason}: line {line}") from error


def _plain(text: str) -> str:
    return unescape(text, ENTITIES).strip() if "&" in text else text.strip()


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
