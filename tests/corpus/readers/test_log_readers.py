"""Published and own click logs, with the junk that they hold, become a collection."""

import gzip
import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import InputError
from corpus.prepare import BaiduUltr, OwnLogFiles, Source, TianGong, prepare
from corpus.readers import log_tables
from corpus.readers.ids import id_of_text
from corpus.tables import Collection, read_collection


def prepared(source: Source, folder: Path) -> Collection:
    prepare(folder / "collection", source)
    return read_collection(folder / "collection")


def result(rank: int | str, doc_id: str, title: str) -> str:
    models = "".join(f"<{m}>0.5</{m}>" for m in ("TACM", "PSCM", "THCM", "UBM", "DBN", "POM"))
    return (
        f'<result rank="{rank}"><url>u</url><docid>{doc_id}</docid><title>{escape(title)}</title>'
        f"<vtype>1</vtype><relevance>{models}</relevance></result>"
    )


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


def baidu_result(position: int | str, url: str, title: str, click: str, columns: int = 32) -> str:
    cells = ["-"] * 32
    cells[:6] = [str(position), url, title, "7\x018", "media", click]
    return "\t".join(cells[:columns])


def write_baidu(folder: Path) -> BaiduUltr:
    first = [
        "11\t100\x01200\t-",
        baidu_result(1, "aa", "1\x012", "1"),
        baidu_result(2, "bb", "-", "0", columns=20),
    ]
    junk = [
        "12\t300\t-",
        "13\t300\t-",
        baidu_result(1, "aa", "1\x012", "-"),
        "14\t300\t-",
        baidu_result(2, "aa", "1\x012", "0"),
        "15\t300\t-",
        baidu_result(1, "aa", "1", "0"),
        baidu_result(2, "aa", "1", "0"),
    ]
    second = ["11\t100\x01200\t-", baidu_result(1, "bb", "3", "0")]
    (folder / "parts").mkdir()
    for name, lines in {"part-0.gz": first + junk, "part-1.gz": second}.items():
        with gzip.open(folder / "parts" / name, "wt", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    (folder / "annotations.txt").write_text(
        "11\t100\t1\x012\t7\x018\t3.0\t0\n11\t100\t5\t-\t0\t0\nshort\tline\n", encoding="utf-8"
    )
    return BaiduUltr(folder / "parts", folder / "annotations.txt")


def test_baidu_ultr_as_published_with_its_junk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection = prepared(write_baidu(tmp_path), tmp_path)
    assert collection.sessions.select(["session_id", "doc_ids", "clicks"]).to_pylist() == [
        {"session_id": "part-0.gz-0", "doc_ids": ["aa", "bb"], "clicks": [True, False]},
        {"session_id": "part-1.gz-0", "doc_ids": ["bb"], "clicks": [False]},
    ]
    assert collection.queries.to_pylist() == [
        {"query_id": "11", "text": "100 200", "frequency": 2},
        {"query_id": "judged-11", "text": "100", "frequency": 0},
    ]
    documents = {row["doc_id"]: row for row in collection.documents.to_pylist()}
    assert documents["aa"] == {"doc_id": "aa", "title": "1 2", "body": "7 8"}
    assert documents["bb"]["title"] == ""
    judged = collection.judgments.to_pylist()
    assert [(row["query_id"], row["grade"]) for row in judged] == [
        ("judged-11", 3),
        ("judged-11", 0),
    ]
    assert [documents[row["doc_id"]]["title"] for row in judged] == ["1 2", "5"]
    candidates = collection.candidates.to_pylist()
    assert [row["query_id"] for row in candidates] == ["11", "11", "judged-11", "judged-11"]
    printed = " ".join(capsys.readouterr().out.split())
    for line in (
        "1 searches without results",
        "1 searches with a result that lacks its document or its click",
        "1 searches whose positions are not 1, 2, 3 and so on",
        "1 searches that show a document twice",
        "1 lines of annotations without six columns",
    ):
        assert f"set aside: {line}" in printed


@pytest.mark.parametrize(
    "broken",
    [
        "2\tbb\t3",  # a result cut to three columns
        "2\tbb",
        "2",
        "2\t55\t3",  # a result whose document is called like a query's token
        "caf\xe9\t100\t-",
        "12\t100",  # a search cut to two columns
    ],
)
def test_a_page_with_a_cut_line_is_set_aside_whole(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "11\t100\t-",
        baidu_result(1, "aa", "1", "1"),
        broken,
        baidu_result(3, "cc", "1", "0"),
        "12\t100\t-",
        baidu_result(1, "dd", "1", "0"),
    ]
    (tmp_path / "part.gz").write_bytes(gzip.compress("\n".join(lines).encode("latin1")))
    collection = prepared(BaiduUltr(tmp_path / "part.gz"), tmp_path)
    assert collection.sessions["doc_ids"].to_pylist() == [["dd"]]
    printed = capsys.readouterr().out
    assert "set aside: 1 lines that are neither a search nor a result" in printed
    assert "set aside: 1 searches with a broken line in or after them" in printed


def test_a_search_may_have_the_number_of_the_next_position_for_its_id(tmp_path: Path) -> None:
    results = [baidu_result(1, "aa", "1", "1"), baidu_result(2, "bb", "1", "1")]
    lines = ["1\t100\t-", *results, "3\t55\t-", *results[:1]]
    (tmp_path / "part.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    collection = prepared(BaiduUltr(tmp_path / "part.gz"), tmp_path)
    assert collection.sessions["query_id"].to_pylist() == ["1", "3"]


def test_queries_that_share_an_id_are_told_apart_by_their_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for tokens in ("100", "200", "100"):
        lines += [f"7\t{tokens}\t-", baidu_result(1, f"of{tokens}", "1", "0")]
    (tmp_path / "part.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    judged = [("7\t100\t1\t2", 3), ("7\t300\t1\t2", 0), ("7\t300\t5\t2", 1), ("7\t300\t5\t2", 1)]
    (tmp_path / "annotations.txt").write_text(
        "".join(f"{columns}\t{grade}\t0\n" for columns, grade in [*judged, ("7\t100\t1\t2", 4)])
    )
    source = BaiduUltr(tmp_path / "part.gz", tmp_path / "annotations.txt")
    collection = prepared(source, tmp_path)
    text_of = {row["query_id"]: row["text"] for row in collection.queries.to_pylist()}
    assert sorted(text_of.values()) == ["100", "100", "200", "300"]
    assert [text_of[row["query_id"]] for row in collection.sessions.to_pylist()] == [
        "100",
        "200",
        "100",
    ]
    for row in collection.sessions.to_pylist():
        assert row["doc_ids"] == [f"of{text_of[row['query_id']]}"]
    assert [
        (text_of[row["query_id"]], row["grade"]) for row in collection.judgments.to_pylist()
    ] == [("100", 3), ("300", 0), ("300", 1)]
    printed = capsys.readouterr().out
    assert "set aside: 1 judgments that repeat an earlier one" in printed
    assert "set aside: 1 judgments that contradict an earlier one, which is kept" in printed


def test_a_cut_gzip_part_is_named(tmp_path: Path) -> None:
    source = write_baidu(tmp_path)
    part = tmp_path / "parts" / "part-0.gz"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part-0.gz: is no whole gzip file"):
        prepare(tmp_path / "collection", source)


ROWS: list[dict[str, Any]] = [
    {"sid": 1, "q": "night train", "shown": ["a", "b"], "clicked": [0, 1]},
    {"sid": 2, "q": "night train", "shown": ["a"], "clicked": [0, 1]},
    {"sid": 3, "q": "ticket", "shown": ["b", "b"], "clicked": [0, 1]},
    {"sid": 4, "q": "ticket", "shown": ["b", "c"], "clicked": [1, 0]},
    {"sid": 5, "q": None, "shown": ["b"], "clicked": [1]},
    {"sid": 6, "q": "ticket", "shown": None, "clicked": [1]},
]
DOCUMENTS: list[dict[str, Any]] = [
    {"doc_id": "a", "title": "Night train", "body": "Vienna"},
    {"doc_id": "b", "body": "B"},
]
COLUMNS = {"session_id": "sid", "text": "q", "doc_ids": "shown", "clicks": "clicked"}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_logs_of_ones_own_by_their_own_names(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in {"log": ROWS, "documents": DOCUMENTS}.items():
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n\n")
    source = OwnLogFiles(tmp_path / f"log.{suffix}", tmp_path / f"documents.{suffix}", COLUMNS)
    collection = prepared(source, tmp_path)
    assert collection.sessions.to_pylist() == [
        {
            "session_id": "1",
            "query_id": id_of_text("night train"),
            "doc_ids": ["a", "b"],
            "clicks": [False, True],
        },
        {
            "session_id": "4",
            "query_id": id_of_text("ticket"),
            "doc_ids": ["b", "c"],
            "clicks": [True, False],
        },
    ]
    assert collection.queries["text"].to_pylist() == ["night train", "ticket"]
    assert {row["doc_id"] for row in collection.documents.to_pylist()} == {"a", "b", "c"}
    printed = " ".join(capsys.readouterr().out.split())
    for line in (
        "1 searches whose clicks are not a 0 or 1 for each document",
        "1 searches that show a document twice",
        "1 searches without a query",
        "1 searches without a list of documents and a list of clicks",
        "1 documents kept without any text",
    ):
        assert f"set aside: {line}" in printed
    assert ("set aside: 2 lines that are no JSON object" in printed) == (suffix == "jsonl")


def test_a_wrong_mapping_is_refused_with_the_right_names(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    (tmp_path / "documents.jsonl").write_text(json.dumps(DOCUMENTS[0]) + "\n")
    paths = tmp_path / "log.jsonl", tmp_path / "documents.jsonl"
    with pytest.raises(InputError, match=r"no column 'doc_ids', only sid, q, shown, clicked"):
        prepare(tmp_path / "one", OwnLogFiles(*paths))
    with pytest.raises(InputError, match=r"'querry' is none of session_id"):
        prepare(tmp_path / "two", OwnLogFiles(*paths, {"querry": "q"}))


def test_a_log_longer_than_a_part_is_written_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 3)
    rows = [
        {"query": f"q{n % 2}", "doc_ids": [f"d{n % 5}", "x"], "clicks": [n % 2, 0]}
        for n in range(10)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps({"doc_id": "x"}) + "\n"))
    source = OwnLogFiles(tmp_path / "log.jsonl", tmp_path / "documents.jsonl")
    collection = prepared(source, tmp_path)
    assert len(list((tmp_path / "collection" / "sessions.parquet").iterdir())) == 4
    assert collection.sessions["session_id"].to_pylist() == [str(n) for n in range(10)]
    assert collection.queries["frequency"].to_pylist() == [5, 5]
    q0 = id_of_text("q0")
    first = [row for row in collection.candidates.to_pylist() if row["query_id"] == q0]
    assert [row["score"] for row in first] == [-1.0] * 5 + [-2.0]


def write_log(folder: Path, rows: list[dict[str, Any]]) -> OwnLogFiles:
    """A log in JSON lines, with documents d1 to d3; each row changes a search of d1 and d2."""
    search = {"session_id": "s", "query_id": "q1", "query": "fox", "doc_ids": ["d1", "d2"]}
    lines = [json.dumps(search | {"clicks": [1, 0]} | row) + "\n" for row in rows]
    (folder / "log.jsonl").write_text("".join(lines))
    documents = [json.dumps({"doc_id": f"d{n}", "title": "t"}) + "\n" for n in (1, 2, 3)]
    (folder / "documents.jsonl").write_text("".join(documents))
    return OwnLogFiles(folder / "log.jsonl", folder / "documents.jsonl")


NO_ID: list[Any] = [None, float("nan"), True, "", ["q1"], {"a": 1}, "\ud800", 1e300]


def test_a_missing_query_id_is_made_of_the_text(tmp_path: Path) -> None:
    rows = [{"query_id": value, "query": f"text {n % 2}"} for n, value in enumerate(NO_ID)]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    assert collection.queries["text"].to_pylist() == ["text 0", "text 1"]
    assert collection.queries["frequency"].to_pylist() == [4, 4]
    ids = collection.queries["query_id"].to_pylist()
    assert ids == [id_of_text("text 0"), id_of_text("text 1")]
    assert not any(char.isspace() for name in ids for char in name)


def test_texts_of_one_query_id_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"query_id": "q", "query": text} for text in ("shoes", "Shoes", "boots", "shoes")]
    queries = prepared(write_log(tmp_path, rows), tmp_path).queries
    assert queries.select(["text", "frequency"]).to_pylist() == [{"text": "shoes", "frequency": 4}]
    told = "2 texts of searches, as their query id had another text before, which is kept"
    assert f"set aside: {told}" in capsys.readouterr().out


def test_searches_of_documents_without_an_id_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"doc_ids": [value, "d2"]} for value in NO_ID] + [{}]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    assert collection.sessions.num_rows == 1
    assert collection.documents["doc_id"].to_pylist() == ["d1", "d2", "d3"]
    printed = capsys.readouterr().out
    assert f"set aside: {len(NO_ID)} searches that show a document without an id" in printed


def test_numbers_are_the_same_ids_in_every_type(tmp_path: Path) -> None:
    rows = [{"query_id": value, "doc_ids": [value, "d2"]} for value in (1, "1", 1.0)]
    rows += [{"doc_ids": [1, 1.0]}]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    assert collection.queries["query_id"].to_pylist() == ["1"]
    assert collection.sessions["doc_ids"].to_pylist() == [["1", "d2"]] * 3


def test_searches_of_one_session_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 2)
    # "u-2" is a session of its own, which the second search of "u" must not be taken for.
    names = ["u", "u", "u-2", "v", "u", None, "5"]
    rows = [{"session_id": name} for name in names]
    collection = prepared(write_log(tmp_path, rows), tmp_path)
    ids = collection.sessions["session_id"].to_pylist()
    assert ids == ["u", "u-2*", "u-2", "v", "u-3", "5", "5-2"]
    again = write_log(tmp_path, rows)
    prepare(tmp_path / "again", again)
    assert read_collection(tmp_path / "again").sessions == collection.sessions


def test_columns_that_may_be_a_context_go_along_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 2)
    rows: list[dict[str, Any]] = [
        {"nested": [1], "sessions": -5},
        {"device": None},
        {"device": "phone", "version": 2, "new": True},
        {"device": "", "version": 2.0, "new": False},
        {"device": "tv"},
    ]
    sessions = prepared(write_log(tmp_path, rows), tmp_path).sessions
    assert sessions.column_names[4:] == ["device", "version", "new"]
    assert sessions["device"].to_pylist() == [None, None, "phone", None, "tv"]
    assert sessions["version"].to_pylist() == [None, None, "2", "2", None]
    assert sessions["new"].to_pylist() == [None, None, "true", "false", None]
    schemas = {
        str(pq.read_schema(part))
        for part in (tmp_path / "collection" / "sessions.parquet").iterdir()
    }
    assert len(schemas) == 1


def test_columns_of_parquet_that_are_not_used_are_not_converted(tmp_path: Path) -> None:
    source = write_log(tmp_path, [])
    table = pa.table(
        {
            "query": pa.array(["fox"] * 2).dictionary_encode(),
            "query_id": pa.array([b"q1", None]),
            "doc_ids": pa.array([["d1"], ["d2"]], pa.large_list(pa.large_string())),
            "clicks": pa.array([[1], [0]], pa.list_(pa.uint8())),
            "device": pa.array(["phone", None]).dictionary_encode(),
            "session_id": pa.array([2**50, 2**53], pa.timestamp("ms")),
            # Dates that Python has none for.
            "at": pa.array([2**50, 2**53], pa.timestamp("ms", tz="America/New_York")),
            "parts": pa.array([{"at": 2**53}] * 2, pa.struct([("at", pa.timestamp("ms"))])),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    source.sessions = tmp_path / "log.parquet"
    collection = prepared(source, tmp_path)
    assert collection.queries["query_id"].to_pylist() == ["q1", id_of_text("fox")]
    assert collection.sessions["session_id"].to_pylist() == ["0", "1"]
    assert collection.sessions.column_names[4:] == ["device"]
    assert collection.sessions["device"].to_pylist() == ["phone", None]
    assert collection.sessions["clicks"].to_pylist() == [[True], [False]]


def test_half_characters_and_lists_for_texts_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_log(tmp_path, [{"query": "half \ud83e", "\ud83e": "x"}, {"query": ["fox"]}])
    with source.documents.open("a") as file:
        file.write('{"doc_id": "d4", "title": ["t"]}\n{"doc_id": "d1", "title": "other"}\n')
    collection = prepared(source, tmp_path)
    assert collection.queries["text"].to_pylist() == ["half \ufffd"]
    assert collection.sessions.column_names[4:] == ["\ufffd"]
    assert collection.documents["title"].to_pylist() == ["t", "t", "t", ""]
    printed = capsys.readouterr().out
    for line in (
        "2 halves of characters, which became U+FFFD",
        "1 searches without a query",
        "1 titles and bodies of documents that are no text",
        "1 documents whose id an earlier one has, which is kept",
    ):
        assert f"set aside: {line}" in printed


def test_a_folder_of_files_of_several_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_log(tmp_path, [{}, {}])
    content = source.sessions.read_bytes()
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + content)
    (log / "b.jsonl.gz").write_bytes(gzip.compress(content))
    pq.write_table(
        pa.Table.from_pylist([*map(json.loads, content.splitlines())]), log / "c.parquet"
    )
    for name in ("d.csv", "_SUCCESS", ".a.crc"):
        (log / name).touch()
    source.sessions = log
    assert prepared(source, tmp_path).sessions.num_rows == 6
    assert "set aside: 1 files that are no .jsonl, .jsonl.gz, .parquet" in capsys.readouterr().out


def test_broken_parquet_is_named(tmp_path: Path) -> None:
    source = write_log(tmp_path, [])
    source.sessions = tmp_path / "log.parquet"
    source.sessions.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"log.parquet: is no parquet file"):
        prepare(tmp_path / "collection", source)
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
    pq.write_table(pa.table({"query": bad, "doc_ids": [["d1"]], "clicks": [[1]]}), source.sessions)
    with pytest.raises(InputError, match=r"log.parquet: rows 0 to 0 hold text that is not in UTF"):
        prepare(tmp_path / "collection", source)
