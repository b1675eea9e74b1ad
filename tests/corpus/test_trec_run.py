from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.tables import Collection
from corpus.trec_run import read_trec_run

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
