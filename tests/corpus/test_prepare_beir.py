"""A BEIR folder becomes a collection, with its published split."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import BeirFolder, TablesFolder
from corpus.tables import read_collection, write_table


def write_beir(folder: Path, corpus: str, queries: str, qrels: str) -> None:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")


def test_all_scripts_and_a_document_of_200_000_characters(tmp_path: Path) -> None:
    long_body = "狐狸 ثعلب fox 🦊👩‍👩‍👧 \u202eabc\u202c " * 8001
    assert len(long_body) > 200_000
    documents = pa.table(
        {
            "doc_id": ["文档一", "وثيقة", "🦊", "long"],
            "title": ["红色 狐狸", "الثعلب الأحمر", "🦊🦊", ""],
            "body": ["狐狸 在 夜里 捕猎。", "ثعلب في الليل", "", long_body],
        }
    )
    queries = pa.table(
        {
            "query_id": ["查询", "سؤال", "❓", "q"],
            "text": ["狐狸", "ثعلب", "🦊", "fox"],
            "frequency": [5, 3, 2, 1],
        }
    )
    write_table(documents, tmp_path / "mine", "documents")
    write_table(queries, tmp_path / "mine", "queries")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    prepared = read_collection(tmp_path / "out")
    assert prepared.documents.to_pydict() == documents.to_pydict()
    assert prepared.queries.to_pydict() == queries.to_pydict()
    found = prepared.candidates.to_pandas().groupby("query_id")["doc_id"].agg(set).to_dict()
    assert found == {"查询": {"文档一", "long"}, "سؤال": {"وثيقة", "long"}, "q": {"long"}}


def test_a_beir_folder_is_prepared_with_what_is_set_aside_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_beir(
        tmp_path / "beir",
        corpus='{"_id": "d1", "text": "red fox"}\n{"_id": "d2", "text": "bread"}\n',
        queries='{"_id": "q1", "text": "fox"}\n{"_id": "q2", "text": "🦊"}\n',
        qrels="query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td7\t1\nq1\td8\t1\nq7\td1\t1\n",
    )
    prepare(tmp_path / "out", BeirFolder(tmp_path / "beir", sessions=30))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "set aside: 1 judgments of unknown queries",
        "set aside: 2 judgments of unknown documents",
        "held out: 6 of 30 sessions, the last by time",
        "queries: 1 train, 0 validation, 1 test; 0 high, 1 medium, 1 low; 2 may train",
        f"{tmp_path / 'out'}: 2 queries, 2 documents, 1 candidate pairs, 24 sessions, 1 judgments; "
        "1 queries have no candidate and are set aside",
    ]
    assert read_collection(tmp_path / "out").queries["frequency"].to_pylist() == [24, 0]


def test_a_beir_folder_without_documents_is_refused(tmp_path: Path) -> None:
    write_beir(tmp_path / "beir", "", '{"_id": "q1", "text": "fox"}\n', "a\tb\tc\n")
    with pytest.raises(InputError, match=r"documents.*the collection is empty"):
        prepare(tmp_path / "out", BeirFolder(tmp_path / "beir"))


def beir_folder(folder: Path, **qrels: range) -> BeirFolder:
    """Thirty queries and documents; for each file of qrels, which of them it judges."""
    lines = [f'{{"_id": "{n}", "text": "fox {n}"}}\n' for n in range(30)]
    write_beir(folder, "".join(lines), "".join(lines), "a\tb\tc\n")
    (folder / "qrels" / "test.tsv").unlink()
    for name, rows in qrels.items():
        judged = "".join(f"{n}\t{n}\t1\n" for n in rows)
        (folder / "qrels" / f"{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return BeirFolder(folder, sessions=60, candidates_per_query=3)


@pytest.mark.parametrize(
    ("qrels", "counts"),
    [
        ({"test": range(20)}, {"test": 20, "train": 10}),
        ({"train": range(5), "dev": range(5, 10), "test": range(10, 30)}, (5, 5, 20)),
        ({"train": range(8), "test": range(8, 28)}, (8, 2, 20)),
        ({"all": range(30)}, {"validation": 10, "test": 20}),
        ({"all": range(12)}, (18, 4, 8)),
    ],
)
def test_the_published_split_of_a_beir_folder_is_kept(
    qrels: dict[str, range],
    counts: dict[str, int] | tuple[int, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(tmp_path / "out", beir_folder(tmp_path / "beir", **qrels))
    splits = read_collection(tmp_path / "out").splits
    split = dict(zip(splits["query_id"].to_pylist(), splits["split"].to_pylist(), strict=True))
    if not isinstance(counts, dict):
        counts = dict(zip(("train", "validation", "test"), counts, strict=True))
    assert Counter(split.values()) == counts
    assert all(split[str(n)] == "test" for n in qrels.get("test", ()))
    said = "no query is left for validation, as qrels/ is split already; to have all queries"
    published = not qrels.keys() <= {"all"}
    assert (said in capsys.readouterr().err) == (published and "validation" not in counts)


def test_cranfield_is_prepared(cranfield: Path, tmp_path: Path) -> None:
    prepare(tmp_path, BeirFolder(cranfield, sessions=3000), seed=1)
    collection = read_collection(tmp_path)
    assert collection.sessions.num_rows == 2400
    assert collection.held_out_sessions.num_rows == 600
    lists = collection.candidates.to_pandas().groupby("query_id")
    assert len(lists) == 150
    assert 10 <= lists.size().min() <= lists.size().max() == 16
    key = ["query_id", "doc_id"]
    judged = collection.judgments.to_pandas()
    candidates = collection.candidates.to_pandas()
    # Judged documents are in a list where BM25 finds them among the best 16, and only there.
    assert candidates["score"].min() > 0
    assert 0.3 < len(judged.merge(candidates, on=key)) / len(judged) < 0.6
    # Most of what a user clicks is judged relevant; most of what is shown is not.
    clicked = collection.sessions.select(["query_id", "doc_ids", "clicks"]).to_pandas()
    shown = clicked.explode(["doc_ids", "clicks"]).rename(columns={"doc_ids": "doc_id"})
    graded = shown.merge(judged, on=key, how="left")
    relevant = graded["grade"].notna()
    assert relevant[graded["clicks"].astype(bool)].mean() > relevant.mean() + 0.2
