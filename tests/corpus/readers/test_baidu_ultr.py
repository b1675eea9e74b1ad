"""Baidu-ULTR as published, with the junk that it holds, becomes a collection."""

import gzip
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import BaiduUltr
from tests.corpus.readers.conftest import prepared


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
