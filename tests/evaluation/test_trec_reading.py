"""TREC runs are read as trec_eval reads them, and what is written is read back."""

import gzip
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.tables import Collection
from evaluation import trec_reading
from evaluation.measures import measure_run
from evaluation.trec_reading import candidates_of_lines, read_trec_rows, read_trec_run
from evaluation.trec_writing import write_trec_run
from tests.conftest import make_table

RUN = """\
q3 Q0 d4 1 0.5 bm25
q1\tQ0\td2  9 -1e0 bm25

q1 Q0 d1 0 2.5 bm25
q3 Q0 d1 2 0.5 bm25
q9 Q0 d1 1 3.0 bm25
q1 Q0 web-7 3 0.1 bm25
q9 Q0 web-7 2 2.0 bm25
"""


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "first.run"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_documents_are_ranked_by_score_and_unknown_ids_are_counted(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    candidates, set_aside = read_trec_run(_write(tmp_path, RUN), tiny_collection)
    assert [tuple(row.values()) for row in candidates.to_pylist()] == [
        ("q1", "d1", 1, 2.5),
        ("q1", "d2", 2, -1.0),
        ("q3", "d4", 1, 0.5),
        ("q3", "d1", 2, 0.5),
    ]
    assert set_aside == {"lines of unknown queries": 2, "lines of unknown documents": 1}


@pytest.mark.parametrize("packed", [False, True])
def test_marks_and_packing_make_no_difference(
    packed: bool, tiny_collection: Collection, tmp_path: Path
) -> None:
    content = b"\xef\xbb\xbf" + RUN.replace("\n", "\r\n").encode()
    path = _write(tmp_path, gzip.compress(content) if packed else content)
    plain = tmp_path / "plain"
    plain.mkdir()
    assert read_trec_run(path, tiny_collection) == read_trec_run(
        _write(plain, RUN), tiny_collection
    )


def test_a_line_that_stands_there_twice_is_read_once_and_counted(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    path = _write(tmp_path, "q1 Q0 d1 1 2.5 a\nq1 Q0 d2 2 1 a\nq1 Q0 d1 3 2.50 a\n")
    candidates, set_aside = read_trec_run(path, tiny_collection)
    assert candidates["doc_id"].to_pylist() == ["d1", "d2"]
    assert set_aside == {"lines that repeat an earlier one": 1}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"q2 Q0 d3 1 0.5", r"line 9 is 'q2 Q0 d3 1 0.5', not 6 fields \(query Q0 document rank"),
        (b"q2 Q0 d3 1 0.5 bm25 2", "line 9 is .*, not 6 fields"),
        (b"q2 Q0 d\xff 1 0.5 bm25", "line 9 is .* in UTF-8"),
        (b"q2 Q0 d3 1 high bm25", "line 9 has the score 'high', which is no finite number"),
        (b"q2 Q0 d3 1 nan bm25", "line 9 has the score 'nan'"),
        (b"q1 Q0 d1 3 0.1 bm25", "line 9 has query 'q1' and document 'd1', as line 4 has; keep"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(
    tiny_collection: Collection, tmp_path: Path, line: bytes, said: str
) -> None:
    path = _write(tmp_path, RUN.encode() + line)
    with pytest.raises(InputError, match=f"first.run: {said}"):
        read_trec_run(path, tiny_collection)


@pytest.mark.parametrize(
    ("text", "said"),
    [("q9 Q0 d1 1 3.0 bm25\n", "1 lines of unknown queries"), ("\n", "it is empty")],
)
def test_a_run_of_another_collection_is_refused(
    tiny_collection: Collection, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError, match=f"holds no pair of the collection .{said}.; give"):
        read_trec_run(_write(tmp_path, text), tiny_collection)


def test_a_run_that_is_not_there_is_refused(tiny_collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing.run: there is no such file"):
        read_trec_run(tmp_path / "missing.run", tiny_collection)


ODD_IDS = [
    'buy "red shoes" online',
    "a%20b",
    "a b",
    "100%",
    "",
    "%",
    "问\u3000题",
    "tab\tand\nline",
    "x\x85",
    "\ufeff1",
]


def test_a_written_run_is_read_back_whatever_the_ids(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    collection = replace(
        tiny_collection,
        queries=pa.table({"query_id": ODD_IDS, "text": ODD_IDS, "frequency": [0] * len(ODD_IDS)}),
        documents=pa.table({"doc_id": ODD_IDS, "title": ODD_IDS, "body": ODD_IDS}),
    )
    pairs = [(query, document) for query in ODD_IDS for document in ODD_IDS]
    run = pd.DataFrame(pairs, columns=["query_id", "doc_id"])
    run["score"] = np.random.default_rng(0).normal(size=len(run)).astype(np.float32)
    write_trec_run(run, tmp_path / "run.trec", "first stage")
    lines = (tmp_path / "run.trec").read_text(encoding="utf-8").split("\n")
    assert {len(line.split()) for line in lines[:-1]} == {6}
    assert {line.split()[5] for line in lines[:-1]} == {"first_stage"}
    candidates, set_aside = read_trec_run(tmp_path / "run.trec", collection)
    assert not set_aside
    read = {(row["query_id"], row["doc_id"]): row["score"] for row in candidates.to_pylist()}
    assert {pair: np.float32(score) for pair, score in read.items()} == {
        (row.query_id, row.doc_id): np.float32(row.score) for row in run.itertuples()
    }


def test_a_mark_that_begins_an_id_is_not_taken_for_that_of_the_file(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    queries = pa.table({"query_id": ["\ufeff1"], "text": ["fox"], "frequency": [0]})
    run = pd.DataFrame({"query_id": ["\ufeff1"], "doc_id": ["d1"], "score": [1.0]})
    write_trec_run(run, tmp_path / "run.trec", "tag")
    candidates, _ = read_trec_run(tmp_path / "run.trec", replace(tiny_collection, queries=queries))
    assert candidates["query_id"].to_pylist() == ["\ufeff1"]


def test_equal_scores_are_in_trec_evals_order(tmp_path: Path) -> None:
    rows = [("q2", "a", 1.0), ("q1", "b", 0.1), ("q1", "z", 0.5), ("q1", "a", 0.1)]
    # A blank comes before "!", and the "%" that stands for it after.
    rows += [("q1", "a!b", 0.1), ("q1", "a b", 0.1), ("q1", "é", 0.1 + 1e-12)]
    run = pd.DataFrame(rows, columns=["query_id", "doc_id", "score"])
    write_trec_run(run, tmp_path / "run.trec", "bm25")
    assert (tmp_path / "run.trec").read_text().splitlines() == [
        "q1 Q0 z 1 0.5 bm25",
        f"q1 Q0 é 2 {0.1 + 1e-12} bm25",
        "q1 Q0 b 3 0.1 bm25",
        "q1 Q0 a%20b 4 0.1 bm25",
        "q1 Q0 a!b 5 0.1 bm25",
        "q1 Q0 a 6 0.1 bm25",
        "q2 Q0 a 1 1.0 bm25",
    ]


def test_a_written_run_is_read_by_ir_measures(tmp_path: Path) -> None:
    run = pd.DataFrame(
        [("q1", "d1", 1.0), ("q1", "d2", 3.0), ("问题", "d1", 0.25), ("问题", "d2", 0.5)],
        columns=["query_id", "doc_id", "score"],
    )
    write_trec_run(run, tmp_path / "run.trec", "famol")
    assert (tmp_path / "run.trec").read_text().splitlines()[0] == "q1 Q0 d2 1 3.0 famol"
    read = {
        (row.query_id, row.doc_id): row.score
        for row in ir_measures.read_trec_run(str(tmp_path / "run.trec"))
    }
    assert read == {(row.query_id, row.doc_id): row.score for row in run.itertuples()}


def test_ids_of_other_systems_may_hold_any_sign_but_blanks(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    ids = ["http://a/b%20c", "50%", "no\xa0break"]
    documents = pa.table({"doc_id": ids, "title": ids, "body": ids})
    collection = replace(tiny_collection, documents=documents)
    text = "".join(f"q1 Q0 {name} 1 {-rank} bm25\n" for rank, name in enumerate(ids))
    candidates, set_aside = read_trec_run(_write(tmp_path, text), collection)
    assert candidates["doc_id"].to_pylist() == ids
    assert not set_aside


def test_a_run_as_trec_eval_takes_it_has_the_measures_by_hand(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    # As in trec_eval's own test: lines in any order, parted by tabs, with ranks that say nothing.
    text = (
        "q1\tQ0\td2\t104\t  2.129133\tSTANDARD\n"
        "q1\tQ0\td3\t414\t  1.724760\tSTANDARD\n"
        "q1\tQ0\td1\t124\t  2.104024\tSTANDARD\n"
        "q2\tQ0\td3\t1\t  1.000000\tSTANDARD\n"
        "q2\tQ0\td4\t2\t -1.000000\tSTANDARD\n"
    )
    candidates, _ = read_trec_run(_write(tmp_path, text), tiny_collection)
    grades = [("q1", "d1", 1), ("q1", "d2", 0), ("q1", "d3", 2), ("q1", "d4", 1), ("q2", "d3", 1)]
    judgments = pa.table(
        dict(zip(("query_id", "doc_id", "grade"), zip(*grades, strict=True), strict=True))
    )
    measured = measure_run(candidates.to_pandas(), judgments)
    value = {(row.query_id, row.measure): row.value for row in measured.itertuples()}
    # q1: d2 (0), d1 (1), d3 (2), and d4 (1) not found.
    assert value["q1", "RR"] == pytest.approx(1 / 2)
    assert value["q1", "AP"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert value["q1", "nDCG@3"] == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)
    assert [value["q2", name] for name in ("RR", "AP", "nDCG@10")] == [1, 1, 1]


def test_many_lines_are_read_as_few_are(
    tiny_collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids as they are and encoded, known or not; lines that repeat, in other reads, too."""
    monkeypatch.setattr(trec_reading, "LINES_AT_ONCE", 3)
    queries = make_table("queries", [(name, "t", 1) for name in ("q1", "50%", "a b", "%61", "")])
    documents = make_table("documents", [(name, "", "") for name in ("d1", "d%20e", "d e", "%")])
    collection = replace(tiny_collection, queries=queries, documents=documents)
    path = tmp_path / "a.run"
    path.write_text(
        "q1 Q0 d1 1 3 a\nq1 Q0 d%20e 1 3 a\nq1 Q0 d%2520e 1 3.0 a\n50% Q0 d1 1 3 a\n\n"
        "50%25 Q0 d1 1 3 a\na%20b Q0 % 1 1 a\n%61 Q0 no 1 1 a\nno%20 Q0 no 1 1 a\n% Q0 d1 1 7 a\n"
        "q1 Q0 d1 1 3 a\na Q0 d1 1 3 a\n% Q0 % 1 9 a\n"
    )
    expected, set_aside = read_trec_run(path, collection)
    known = [set(table[0].to_pylist()) for table in (queries, documents)]
    counted: Counter[str] = Counter()
    of_queries, of_documents = (
        lambda ids, known=known: np.array([name in known for name in ids.to_pylist()], dtype=bool)
        for known in known
    )
    lines = pa.concat_tables(read_trec_rows(path, of_queries, of_documents, counted))
    shuffled = lines.take(np.random.default_rng(0).permutation(lines.num_rows))
    assert candidates_of_lines(shuffled, path, counted).equals(expected)
    assert counted == set_aside
    path.write_text("q1 Q0 d1 1 3 a\nq1 Q0 d%20e 1 3 a\nq1 Q0 d1 1 4 a\n")
    lines = pa.concat_tables(read_trec_rows(path, of_queries, of_documents, counted))
    with pytest.raises(InputError, match=r"a.run: line 3 has query 'q1' .* 'd1', as line 1 has"):
        candidates_of_lines(lines, path, counted)
