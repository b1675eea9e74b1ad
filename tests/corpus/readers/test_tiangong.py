"""TianGong-ST as published, with the junk that it holds, becomes a collection."""

import gzip
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import TianGong
from corpus.tables import read_collection
from tests.corpus.readers.conftest import prepared, result


def interaction(number: int, query_id: str, query: str, results: list[str], clicks: str) -> str:
    clicked = "".join(
        f'<click num="{place}"><rank>{rank}</rank></click>'
        for place, rank in enumerate(clicks.split())
    )
    return (
        f'<interaction num="{number}"><query>{escape(query)}</query><query_id>{query_id}</query_id>'
        f"<results>{''.join(results)}</results><clicked>{clicked}</clicked></interaction>"
    )


PAGE = [result(1, "d1", "夜车 <1>"), result(2, "d2", "车票")]


def write_tiangong(folder: Path) -> TianGong:
    sessions = [
        interaction(1, "q1", "夜车", PAGE, "1 1 12"),
        interaction(2, "q2", "nothing", [], ""),
        interaction(3, "q1", "夜车", [*PAGE, result(3, "d2", "again"), result(11, "d9", "")], "2"),
        interaction(4, "q3", "gap", [result(1, "d1", "x"), result(3, "d3", "y")], ""),
    ]
    xml = "".join(
        f'<session num="{number}">{body}</session>' for number, body in enumerate(sessions)
    )
    (folder / "log.xml").write_text(f"<sogou>{xml}</sogou>", encoding="utf-8")
    (folder / "labels.txt").write_text(
        "0 7\tq1  d1\t 4.0\n1\t7 q1 d2 0\nbroken line\n2 7 q9 d1 3\n", encoding="utf-8"
    )
    (folder / "bodies.txt").write_text(
        "d1\tVienna to Paris\nd7\tunknown\nno tab\n", encoding="utf-8"
    )
    return TianGong(folder / "log.xml", folder / "labels.txt", folder / "bodies.txt")


def test_tiangong_as_published_with_its_junk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = prepared(write_tiangong(tmp_path), tmp_path)
    assert collection.sessions.to_pylist() == [
        {"session_id": "0-1", "query_id": "q1", "doc_ids": ["d1", "d2"], "clicks": [True, False]},
        {"session_id": "2-3", "query_id": "q1", "doc_ids": ["d1", "d2"], "clicks": [False, True]},
    ]
    assert collection.queries.to_pylist() == [{"query_id": "q1", "text": "夜车", "frequency": 2}]
    assert {
        row["doc_id"]: (row["title"], row["body"]) for row in collection.documents.to_pylist()
    } == {
        "d1": ("夜车 <1>", "Vienna to Paris"),
        "d2": ("车票", ""),
    }
    assert collection.judgments.to_pylist() == [
        {"query_id": "q1", "doc_id": "d1", "grade": 4},
        {"query_id": "q1", "doc_id": "d2", "grade": 0},
    ]
    assert collection.candidates["doc_id"].to_pylist() == ["d1", "d2"]
    printed = " ".join(capsys.readouterr().out.split())
    for line in (
        "set aside: 1 clicks on a rank that the page does not show",
        "set aside: 1 searches without results or without a query id",
        "set aside: 1 results that repeat a rank or a document of their page",
        "set aside: 1 results with a rank out of 1-10 or without a document id",
        "set aside: 1 searches with a gap between their ranks",
        "set aside: 1 lines of human labels without five columns and a grade of 0-4",
        "set aside: 1 judgments of unknown queries or documents",
        "set aside: 1 lines of bodies without an id and a text",
    ):
        assert line in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<sogou><session>", "log.xml: is not well-formed XML: .*line 1"),
        ("<sogou></sogou>", "no usable search"),
        (None, "log.xml: there is no such file"),
    ],
)
def test_a_broken_xml_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "log.xml").write_text(content)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "collection", TianGong(tmp_path / "log.xml"))


def test_tiangong_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    source = write_tiangong(tmp_path)
    labels, xml = tmp_path / "labels.txt", tmp_path / "log.xml"
    labels.write_bytes(b"0 7 q1 d1 4\n1 7 q1 caf\xe9 0\n")
    with pytest.raises(InputError, match=r"labels.txt: line 2 is not text in UTF-8: byte 11 .0xe9"):
        prepare(tmp_path / "collection", source)
    labels.write_text("0 7 q1 d1 4\n")
    xml.write_text(xml.read_text().replace('rank="11"', f'rank="{"9" * 5000}"'))
    collection = prepared(source, tmp_path)
    assert collection.sessions.num_rows == 2
    xml.write_bytes(gzip.compress(b"<sogou><session>" + b"x" * 5 * 2**20))
    with pytest.raises(InputError, match=r"log.xml: has 4 MiB without the end of a <session>"):
        prepare(tmp_path / "other", source)


def test_a_search_has_the_time_at_which_its_session_began(tmp_path: Path) -> None:
    source = write_tiangong(tmp_path)
    xml = source.sessions.read_text(encoding="utf-8")
    timed = xml.replace('<session num="0"', '<session num="0" starttime="1427848204.72"')
    timed = timed.replace('<session num="2">', '<session num="2"><starttime>2015-03-01</starttime>')
    source.sessions.write_text(timed, encoding="utf-8")
    prepare(tmp_path / "out", source, held_out=0.5)
    collection = read_collection(tmp_path / "out")
    assert collection.sessions["session_id"].to_pylist() == ["2-3"]
    assert collection.held_out_sessions["session_id"].to_pylist() == ["0-1"]
    assert collection.held_out_sessions["time"].to_pylist() == [1427848204]
