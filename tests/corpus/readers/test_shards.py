"""Shards and blocks make no difference, and neither does the way in which rows are read."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import text_lines
from corpus.errors import InputError
from corpus.places import Place
from corpus.prepare import prepare
from corpus.readers import (
    json_columns,
    log_format,
    log_tables,
    parquet_columns,
    shown_pairs,
    tiangong_xml,
)
from corpus.readers.json_columns import read_json_columns
from corpus.readers.log_format import Columns
from corpus.readers.own_columns import documents_of, searches_of
from corpus.readers.own_log import (
    DOCUMENT_COLUMNS,
    RESERVED,
    SEARCH_COLUMNS,
    _documents_of_rows,
    _searches_of_rows,
)
from corpus.sources import BaiduUltr, LogSource, OwnLogFiles, TianGong
from corpus.tables import Collection, read_collection
from tests.corpus.readers.conftest import prepared, result


def json_log(folder: Path) -> OwnLogFiles:
    """Searches of all kinds: with and without ids, of one session, broken, blank, with a date."""
    rows: list[Any] = []
    for n in range(60):
        row = {"query": f"text {n % 7}", "doc_ids": [f"d{n % 5}", "x"], "clicks": [n % 2, 0]}
        rows.append(row | ({"session_id": f"s{n // 2}", "device": n} if n % 3 else {}))
    rows[10] = {"query": "no lists"}
    rows[20]["session_id"] = ["no id"]
    rows[30]["query_id"] = 7
    lines = [json.dumps(row) for row in rows]
    lines[40:40] = ["", "not json", '{"a": 1} {"b": 2}', "  "]
    (folder / "log.jsonl").write_text("\n".join(lines))
    documents = [json.dumps({"doc_id": f"d{n}", "title": "2024-01-01"}) for n in (1, 2, 1)]
    (folder / "documents.jsonl").write_text("\r\n".join(documents))
    return OwnLogFiles(folder / "log.jsonl", folder / "documents.jsonl")


def test_a_log_of_few_large_files_is_large_though_each_is_one_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = baidu_log(tmp_path)
    assert not source.is_large()
    monkeypatch.setattr(log_tables, "SHARD_BYTES", 10)
    assert source.is_large()
    for part in (1, 2):
        (tmp_path / "parts" / f"part-{part}.gz").unlink()
    assert not source.is_large()


def test_a_last_shard_may_hold_but_the_end_of_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiangong_log(tmp_path)
    whole = prepared(source, tmp_path)
    size = source.sessions.stat().st_size
    monkeypatch.setattr(log_format, "SHARD_BYTES", size - 40)
    monkeypatch.setattr(tiangong_xml, "MOST_ELEMENT_BYTES", size // 4)
    assert len(source.log().shards(Counter())) == 2
    prepare(tmp_path / "again", source, held_out=0.0)
    assert in_order(read_collection(tmp_path / "again")) == in_order(whole)


def parquet_log(folder: Path) -> OwnLogFiles:
    source = json_log(folder)
    rows = [row for row in map(_parsed, source.sessions.read_text().splitlines()) if row]
    for row in rows:
        row["session_id"] = str(row.get("session_id"))
    source.sessions = folder / "log.parquet"
    pq.write_table(pa.Table.from_pylist(rows), source.sessions, row_group_size=7)
    return source


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def tiangong_log(folder: Path) -> TianGong:
    """Sessions as published, and some that are not: an entity, a comment, an empty one."""
    sessions = []
    for n in range(40):
        page = "".join(result(rank, f"d{n}-{rank}", f"&lt;{n}&gt; 夜") for rank in (1, 2))
        title = "<!-- -->" if n % 7 == 0 else ""
        sessions.append(
            f'<session num="{n}" starttime="{n}"><interaction num="1"><query>q&#33;{n % 3}</query>'
            f"<query_id>q{n % 3}</query_id><results>{page}{title}</results><clicked><click>"
            f"<rank>{1 + n % 3}</rank></click></clicked></interaction></session>\r\n"
        )
    sessions[5] = "<session/>"
    sessions[6] = sessions[6].replace("&#33;", " ")
    (folder / "log.xml").write_text(f"<sogou>\n{''.join(sessions)}</sogou>", encoding="utf-8")
    return TianGong(folder / "log.xml")


def baidu_log(folder: Path) -> BaiduUltr:
    """Parts in which an id stands for several queries, which only all parts tell."""
    (folder / "parts").mkdir()
    for part, tokens in enumerate(("100 200", "200 100", "300")):
        lines = []
        for n, token in enumerate(tokens.split()):
            cells = ["1", f"u{part}{n}", "1\x012", "-", "media", "1", *["-"] * 26]
            lines += [f"7\t{token}\t-", "\t".join(cells), f"8\t{token}\t-", "\t".join(cells)]
        content = "\n".join(lines).encode()
        (folder / "parts" / f"part-{part}.gz").write_bytes(gzip.compress(content))
    return BaiduUltr(folder / "parts")


@pytest.mark.parametrize("write", [json_log, parquet_log, tiangong_log, baidu_log])
def test_shards_and_blocks_make_no_difference(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source: LogSource = write(tmp_path)
    whole = prepared(source, tmp_path)
    said = capsys.readouterr().out
    for module in (log_format, parquet_columns):
        monkeypatch.setattr(module, "SHARD_BYTES", 700)
    for module, name in ((text_lines, "BLOCK_BYTES"), (tiangong_xml, "BYTES_AT_ONCE")):
        monkeypatch.setattr(module, name, 600)
    monkeypatch.setattr(json_columns, "FEW_BYTES", 150)
    assert len(source.log().shards(Counter())) > 2
    prepare(tmp_path / "again", source, held_out=0.0)
    assert in_order(read_collection(tmp_path / "again")) == in_order(whole)
    assert capsys.readouterr().out.replace("/again", "/collection") == said


@pytest.mark.parametrize("write", [json_log, tiangong_log, baidu_log])
def test_candidates_are_the_same_in_however_many_parts(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: LogSource = write(tmp_path)
    monkeypatch.setattr(log_format, "SHARD_BYTES", 700)
    whole = prepared(source, tmp_path)
    monkeypatch.setattr(shown_pairs, "PAIRS_OF_PART", 2)
    monkeypatch.setattr(shown_pairs, "ROWS_OF_GROUP", 1)
    prepare(tmp_path / "again", source, held_out=0.0)
    files = list((tmp_path / "again" / "candidates.parquet").iterdir())
    assert len(files) > 1
    again = read_collection(tmp_path / "again")
    by_rank = [("query_id", "ascending"), ("rank", "ascending")]
    assert again.candidates.sort_by(by_rank) == whole.candidates.sort_by(by_rank)
    # All that the log shows of a query is in one of them.
    queries = [set(pq.read_table(file)["query_id"].to_pylist()) for file in files]
    assert sum(map(len, queries)) == len(set().union(*queries))
    assert not [path for path in (tmp_path / "again").iterdir() if path.name.startswith(".")]


def in_order(collection: Collection) -> dict[str, list[dict[str, Any]]]:
    return {name: table.to_pylist() for name, table in vars(collection).items()}


def test_a_log_is_read_from_a_store(store: Place, tmp_path: Path) -> None:
    source = json_log(tmp_path)
    whole = prepared(source, tmp_path)
    for path in (source.sessions, source.documents):
        with (store / path.name).open("wb") as file:
            file.write(path.read_bytes())
    there = OwnLogFiles(store / "log.jsonl", store / "documents.jsonl")
    prepare(store / "collection", there, held_out=0.0)
    assert in_order(read_collection(store / "collection")) == in_order(whole)


def test_a_bad_byte_is_told_with_its_line_also_far_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = json_log(tmp_path)
    lines = source.sessions.read_bytes().split(b"\n")
    lines[50] = b'{"query": "caf\xe9"}'
    source.sessions.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    monkeypatch.setattr(log_format, "SHARD_BYTES", 500)
    with pytest.raises(InputError, match=r"line 51 is not JSON in UTF-8: byte 15 \(0xe9\)"):
        prepare(tmp_path / "out", source)


def test_what_is_nested_too_deep_for_arrow_is_no_object(tmp_path: Path) -> None:
    deep = b'{"a": ' + b"[" * 10**5 + b"]" * 10**5 + b"}"
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + deep + b'\n{"a": 2}\n')
    aside: Counter[str] = Counter()
    assert rows_of(path, aside) == [{"a": 1}, {"a": 2}]
    assert aside == {text_lines.NO_OBJECT: 1}


def rows_of(path: Path, aside: Counter[str]) -> list[dict[str, Any]]:
    parts = read_json_columns(path, 0, None, aside)
    return [row for part in parts for row in (part if isinstance(part, list) else part.to_pylist())]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2),
    st.floats(),
    st.sampled_from(
        [0.0, 1.0, 2.0**53, 1e22, "", "1", "a", " 7", "2026-01-02", "1970-01-01 00:01"]
    ),
)
values = scalars | st.lists(scalars, max_size=3) | st.just({"a": 1})
names = ("session_id", "query_id", "query", "doc_ids", "clicks", "time", "device")
strict = {
    "query": st.sampled_from(["fox", "rye"]),
    "doc_ids": st.lists(st.sampled_from(["a", "b", 1, 1.5]), max_size=3),
    "clicks": st.lists(st.sampled_from([0, 1, 1.0]), max_size=3),
}
rows_of_logs = st.fixed_dictionaries(
    {}, optional={name: strict.get(name, values) | values for name in names}
)


@given(st.lists(rows_of_logs, max_size=6))
def test_columns_say_what_rows_do(rows: list[dict[str, Any]]) -> None:
    block = "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = json_columns._table(block, {}) if rows else None
    if table is None:
        return  # which is read as rows
    reserved = RESERVED | set(SEARCH_COLUMNS.values())
    by_columns: Counter[str] = Counter()
    by_rows: Counter[str] = Counter()
    found = searches_of(table, SEARCH_COLUMNS, reserved, by_columns)
    same = _searches_of_rows(rows, SEARCH_COLUMNS, reserved, by_rows)
    assert said(found) == said(same)
    assert by_columns == by_rows


@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("doc_id", "title", "body"), values)),
        min_size=1,
        max_size=5,
    )
)
def test_columns_of_documents_say_what_rows_do(rows: list[dict[str, Any]]) -> None:
    table = json_columns._table("".join(json.dumps(row) + "\n" for row in rows).encode(), {})
    if table is None:
        return
    by_columns: Counter[str] = Counter()
    by_rows: Counter[str] = Counter()
    found = documents_of(table, DOCUMENT_COLUMNS, by_columns)
    same = _documents_of_rows(rows, DOCUMENT_COLUMNS, set(), by_rows)
    assert found.documents == same.documents
    assert by_columns == by_rows


def said(columns: Columns) -> tuple[list[dict[str, Any]], list[int], set[str]]:
    assert columns.row is not None
    device = "device" in columns.searches.column_names
    searches = (
        columns.searches
        if device
        else columns.searches.append_column(
            "device", pa.nulls(columns.searches.num_rows, pa.string())
        )
    )
    documents = set(columns.documents["doc_id"].to_pylist())
    return searches.to_pylist(), columns.row.tolist(), documents
