"""A BEIR folder is read whole; junk in it is named by file and line, or counted."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import InputError
from corpus.readers.beir import read_beir, read_published_split
from corpus.schemas import empty_table

HEADER = "query-id\tcorpus-id\tscore\n"
CORPUS = '{"_id": "d1", "title": "Fox", "text": "A red fox."}\n{"_id": "d2", "text": "狐狸 🦊"}\n'
QUERIES = '{"_id": "q1", "text": "fox"}\n{"_id": "q2", "text": "ثعلب"}\n'
QRELS = f"{HEADER}q1\td1\t2\nq2\td2\t1\n"


def write_beir(
    folder: Path,
    corpus: str | bytes = CORPUS,
    queries: str | bytes = QUERIES,
    **qrels: str | bytes,
) -> Path:
    files = {"corpus.jsonl": corpus, "queries.jsonl": queries}
    files |= {f"qrels/{name}.tsv": rows for name, rows in (qrels or {"test": QRELS}).items()}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_beir(folder)
    return str(caught.value)


def test_a_folder_is_read_into_tables(tmp_path: Path) -> None:
    collection, set_aside = read_beir(write_beir(tmp_path))
    assert collection.documents.to_pylist() == [
        {"doc_id": "d1", "title": "Fox", "body": "A red fox."},
        {"doc_id": "d2", "title": "", "body": "狐狸 🦊"},
    ]
    assert collection.queries.to_pylist() == [
        {"query_id": "q1", "text": "fox", "frequency": 0},
        {"query_id": "q2", "text": "ثعلب", "frequency": 0},
    ]
    assert collection.judgments.to_pylist() == [
        {"query_id": "q1", "doc_id": "d1", "grade": 2},
        {"query_id": "q2", "doc_id": "d2", "grade": 1},
    ]
    for name in ("candidates", "sessions", "splits"):
        assert getattr(collection, name) == empty_table(name)
    assert set(set_aside.values()) == {0}


def test_all_qrels_files_are_read(tmp_path: Path) -> None:
    folder = write_beir(tmp_path, test=f"{HEADER}q1\td1\t2\n", train=f"{HEADER}q2\td2\t0\n")
    collection, _ = read_beir(folder)
    assert collection.judgments["query_id"].to_pylist() == ["q1", "q2"]
    assert collection.judgments["grade"].to_pylist() == [2, 0]


def test_blank_lines_carriage_returns_and_numbers_as_ids_are_read(tmp_path: Path) -> None:
    collection, _ = read_beir(
        write_beir(
            tmp_path,
            corpus='\r\n{"_id": 184, "title": null, "text": "fox"}\r\n\r\n',
            queries='{"_id": 1, "text": "fox"}',
            test=HEADER.replace("\n", "\r\n") + "1\t184\t-1\r\n\r\n",
        )
    )
    assert collection.documents.to_pylist() == [{"doc_id": "184", "title": "", "body": "fox"}]
    assert collection.judgments.to_pylist() == [{"query_id": "1", "doc_id": "184", "grade": -1}]


def test_a_quote_in_an_id_is_a_character_like_others(tmp_path: Path) -> None:
    corpus = "".join(json.dumps({"_id": f'"{name}', "text": "x"}) + "\n" for name in "abc")
    rows = "".join(f'q1\t"{name}\t1\n' for name in "abc")
    collection, _ = read_beir(write_beir(tmp_path, corpus=corpus, test=HEADER + rows))
    assert collection.judgments["doc_id"].to_pylist() == ['"a', '"b', '"c']


def test_judgments_of_what_is_not_there_are_set_aside_and_counted(tmp_path: Path) -> None:
    rows = "q1\td1\t2\nq1\td8\t1\nq1\td9\t1\nq9\td1\t1\n"
    collection, set_aside = read_beir(write_beir(tmp_path, test=HEADER + rows))
    assert collection.judgments["doc_id"].to_pylist() == ["d1"]
    assert set_aside == {
        "judgments of unknown queries": 1,
        "judgments of unknown documents": 2,
    }


@pytest.mark.parametrize("name", ["corpus", "queries"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"_id": "x", "text": "cut sho', "is not JSON"),
        (b'{"_id": "x", "text": "caf\xe9"}', "is not JSON"),
        (b'["x", "text"]', "is not a JSON object"),
        (b'{"text": "no id"}', "has no field '_id'"),
        (b'{"_id": "x"}', "has no field 'text'"),
        (b'{"_id": null, "text": "null id"}', "has no field '_id'"),
        (b'{"_id": "x", "text": null}', "has no field 'text'"),
    ],
)
def test_a_bad_line_is_named_by_its_number(
    name: str, line: bytes, reason: str, tmp_path: Path
) -> None:
    good = CORPUS if name == "corpus" else QUERIES
    content = good.encode() + b"\n" + line + b"\n"
    folder = write_beir(tmp_path, **{name: content}, test=QRELS)
    assert refusal(folder).startswith(f"{folder / name}.jsonl: line 4 {reason}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('["a", "list"]', "not text"),
        ("5", "not text"),
        (r'"half an emoji: \ud83e"', "half an emoji"),
    ],
)
def test_text_that_is_no_text_is_refused(text: str, shown: str, tmp_path: Path) -> None:
    folder = write_beir(tmp_path, corpus=CORPUS + f'{{"_id": "d3", "text": {text}}}\n')
    message = refusal(folder)
    assert message.startswith(f"{folder / 'corpus.jsonl'}: ")
    assert shown in message


def test_an_id_with_two_texts_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path, corpus=CORPUS + CORPUS.replace(".", "!").replace("🦊", "?"))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'corpus.jsonl'}: column 'doc_id' is a key")
    assert "row 2: {'doc_id': 'd1'}; row 3: {'doc_id': 'd2'}" in message


def test_what_stands_there_twice_word_for_word_is_read_once_and_counted(tmp_path: Path) -> None:
    folder = write_beir(
        tmp_path,
        corpus=CORPUS + CORPUS,
        queries=QUERIES + QUERIES.splitlines()[1],
        test=QRELS + "q1\td1\t2\n",
        train=f"{HEADER}q1\td1\t2.0\n",
    )
    collection, set_aside = read_beir(folder)
    assert collection.documents.num_rows == collection.queries.num_rows == 2
    assert collection.judgments["grade"].to_pylist() == [2, 1]
    assert set_aside == {
        "judgments of unknown queries": 0,
        "judgments of unknown documents": 0,
        "documents that repeat an earlier one": 2,
        "queries that repeat an earlier one": 1,
        "judgments that repeat an earlier one": 2,
    }


@pytest.mark.parametrize(("written", "grade"), [("1.0", 1), ("2.", 2), ("+3", 3), ("-1.0", -1)])
def test_whole_grades_may_be_written_as_fractions(written: str, grade: int, tmp_path: Path) -> None:
    folder = write_beir(tmp_path, test=f"{HEADER}q1\td1\t{written}\n")
    assert read_beir(folder)[0].judgments["grade"].to_pylist() == [grade]


def test_marks_of_utf_8_and_gzip_and_numbers_as_ids_are_read(tmp_path: Path) -> None:
    corpus = '\ufeff{"_id": 1.0, "text": "a"}\n{"_id": 2, "text": "b"}\n'
    rows = f"\ufeff{HEADER}q1\t1\t2\nq1\t2\t1\n"
    folder = write_beir(tmp_path, corpus=gzip.compress(corpus.encode()), test=rows)
    collection, _ = read_beir(folder)
    assert collection.documents["doc_id"].to_pylist() == ["1", "2"]
    assert collection.judgments["doc_id"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize("value", ["true", "[1]", "NaN", '""', r'"\ud800"'])
def test_an_id_that_is_none_is_named_by_its_line(value: str, tmp_path: Path) -> None:
    folder = write_beir(tmp_path, queries=QUERIES + f'{{"_id": {value}, "text": "x"}}\n')
    assert refusal(folder).startswith(f"{folder / 'queries.jsonl'}: line 3 has the '_id' ")


def test_the_published_split_is_read(tmp_path: Path) -> None:
    rows = {name: f"{HEADER}{name}\td1\t1\nboth\td1\t1\n" for name in ("train", "dev", "test")}
    folder = write_beir(tmp_path, **rows, all=f"{HEADER}other\td1\t1\n")
    assert read_published_split(folder) == {
        "train": "train",
        "dev": "validation",
        "test": "test",
        "both": "test",
    }


@pytest.mark.parametrize(
    "row",
    [
        "q1\td2\t1.5",
        "q1\td2\tgood",
        "q1\td2\t",
        "q1\td2",
        "q1 d2 1",
        "q1\t0\td2\t1",
        "q1\td2\t99999999999999999999",
        "q1\td2\t99",
        "q1\td2\tnan",
        "q1\td2\tinf",
        "q1\td2\t1_0",
    ],
)
def test_a_bad_judgment_is_named_by_its_line(row: str, tmp_path: Path) -> None:
    folder = write_beir(tmp_path, test=f"{HEADER}q1\td1\t2\n\n{row}\n")
    message = refusal(folder)
    assert message.startswith(f"{folder / 'qrels' / 'test.tsv'}: line 4 ")
    assert repr(row) in message


def test_judgments_that_are_not_in_utf_8_are_named_by_their_line(tmp_path: Path) -> None:
    folder = write_beir(tmp_path, test=QRELS.encode() + b"q1\tcaf\xe9\t1\n")
    assert refusal(folder).startswith(f"{folder / 'qrels' / 'test.tsv'}: line 4 ")


def test_judgments_without_a_header_do_not_lose_their_first_row(tmp_path: Path) -> None:
    folder = write_beir(tmp_path, test="q1\td1\t2\nq2\td2\t1\n")
    assert refusal(folder).startswith(f"{folder / 'qrels' / 'test.tsv'}: line 1 ")


def test_a_pair_judged_twice_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path, test=QRELS + "q1\td1\t0\n")
    message = refusal(folder)
    assert "qrels" in message
    assert "row 2: {'query_id': 'q1', 'doc_id': 'd1', 'grade': '0'}" in message


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path / 'corpus.jsonl'}: there is no such file")
    (tmp_path / "corpus.jsonl").write_text(CORPUS, encoding="utf-8")
    assert refusal(tmp_path).startswith(f"{tmp_path / 'queries.jsonl'}: there is no such file")
    (tmp_path / "queries.jsonl").write_text(QUERIES, encoding="utf-8")
    assert refusal(tmp_path).startswith(f"{tmp_path / 'qrels'}: holds no .tsv file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    documents=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
        st.text(st.characters(codec="utf-8"), max_size=20),
        max_size=5,
    ),
    ascii_only=st.booleans(),
)
def test_any_text_survives(documents: dict[str, str], ascii_only: bool, tmp_path: Path) -> None:
    lines = [
        json.dumps({"_id": doc_id, "text": text}, ensure_ascii=ascii_only)
        for doc_id, text in documents.items()
    ]
    folder = write_beir(tmp_path, corpus="\n".join(lines), test=HEADER)
    read = read_beir(folder)[0].documents
    assert dict(zip(read["doc_id"].to_pylist(), read["body"].to_pylist(), strict=True)) == documents


def test_cranfield_is_read_whole(cranfield: Path) -> None:
    collection, set_aside = read_beir(cranfield)
    assert collection.documents.num_rows == 1400
    assert collection.queries.num_rows == 150
    lines = (cranfield / "qrels" / "all.tsv").read_text().splitlines()
    assert collection.judgments.num_rows + sum(set_aside.values()) == len(lines) - 1
    assert set(collection.judgments["grade"].to_pylist()) <= {1, 2, 3, 4}
    first = collection.documents.slice(0, 1).to_pylist()[0]
    assert first["doc_id"] == "1"
    assert first["title"].startswith("experimental investigation of the aerodynamics of a wing")
