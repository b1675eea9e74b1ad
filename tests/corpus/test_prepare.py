"""The job `prepare`: from a world, a BEIR folder or one's own tables to a checked collection."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.output_folder import begin_output
from corpus.prepare import (
    BaiduUltr,
    BeirFolder,
    OwnLogFiles,
    SimulatedWorld,
    Source,
    TablesFolder,
    TianGong,
    prepare,
)
from corpus.schemas import SCHEMAS, empty_table
from corpus.splits import split_queries
from corpus.tables import Collection, read_collection, write_collection, write_table

WORLD = SimulatedWorld(queries=40, documents=60, sessions=400, candidates_per_query=6)
TABLES = ["queries", "documents", "candidates", "sessions", "judgments", "splits"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def write_beir(folder: Path, corpus: str, queries: str, qrels: str) -> None:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")


def test_a_world_is_prepared_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "a [bold] folder with a name that is longer than a terminal is wide" / "out"
    prepare(output, WORLD, seed=3)
    assert sorted(contents(output)) == sorted([*(f"{name}.parquet" for name in TABLES), "job.json"])
    collection = read_collection(output)
    assert collection.splits == split_queries(collection.queries, seed=3)
    assert last_line(capsys) == (
        f"{output}: 40 queries, 60 documents, 240 candidate pairs, 400 sessions, 240 judgments"
    )


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    prepare(tmp_path / "once", WORLD, seed=3)
    prepare(tmp_path / "other", WORLD, seed=4)
    # Another process, which hashes strings in another way.
    program = (
        "from pathlib import Path; from corpus.prepare import *; "
        "prepare(Path('again'), SimulatedWorld(40, 60, 400, 6), seed=3)"
    )
    repository = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(repository), "PYTHONHASHSEED": "12345"}
    subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=120
    )
    once, again, other = (contents(tmp_path / name) for name in ("once", "again", "other"))
    assert again == once
    assert not [name for name in once if once[name] == other[name]]


def test_a_finished_collection_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(tmp_path, WORLD)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="finished output of prepare"):
        prepare(tmp_path, WORLD)
    with pytest.raises(InputError, match="seed = 0, and is now asked for 1"):
        prepare(tmp_path, WORLD, seed=1, resume=True)
    with pytest.raises(InputError, match="documents = 60, and is now asked for 61"):
        prepare(tmp_path, replace(WORLD, documents=61), resume=True)
    prepare(tmp_path, WORLD, resume=True)
    assert last_line(capsys) == f"{tmp_path}: already prepared"
    assert contents(tmp_path) == before


def test_a_collection_that_was_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path / "whole", WORLD)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("corpus.prepare.finish_output", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path / "cut", WORLD)
    (tmp_path / "cut" / "sessions.parquet").unlink()
    (tmp_path / "cut" / "judgments.parquet").write_bytes(b"PAR1")
    prepare(tmp_path / "cut", WORLD, resume=True)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_ones_own_tables_are_taken_as_they_are(tiny_collection: Collection, tmp_path: Path) -> None:
    write_collection(tiny_collection, tmp_path / "mine")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert read_collection(tmp_path / "out") == tiny_collection


def test_extra_columns_travel_along(tiny_collection: Collection, tmp_path: Path) -> None:
    unknown_frequency = tiny_collection.queries.set_column(2, "frequency", pa.array([0, 0, 0]))
    markets, sources = pa.array(["de", "jp", "us"]), pa.array([{"year": 1}] * 4)
    dwell = pa.array([[1.5, 0.0], [0.0, 8.5], [0.0, 0.0]])
    collection = replace(
        tiny_collection,
        queries=unknown_frequency.append_column("market", markets),
        documents=tiny_collection.documents.append_column("source", sources),
        sessions=tiny_collection.sessions.append_column("dwell_seconds", dwell),
    )
    write_collection(collection, tmp_path / "mine")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    prepared = read_collection(tmp_path / "out")
    assert prepared.queries.column_names == [*SCHEMAS["queries"].names, "market"]
    assert prepared.queries["market"].to_pylist() == ["de", "jp", "us"]
    assert prepared.documents["source"].to_pylist() == [{"year": 1}] * 4
    assert prepared.sessions["dwell_seconds"].to_pylist() == dwell.to_pylist()


def test_what_the_tables_lack_is_made_of_the_log(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_counts = tiny_collection.queries.set_column(2, "frequency", pa.array([0, 0, 0]))
    for name, table in (("queries", no_counts), ("documents", tiny_collection.documents)):
        write_table(table, tmp_path / "mine", name)
    write_table(tiny_collection.sessions, tmp_path / "mine", "sessions")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    prepared = read_collection(tmp_path / "out")
    assert prepared.queries["frequency"].to_pylist() == [2, 1, 0]
    # Shown at positions 1 and 2 once each: equal means, in the order of their ids.
    assert prepared.candidates["doc_id"].to_pylist() == ["d1", "d2", "d3", "d4"]
    assert prepared.candidates["score"].to_pylist() == [-1.5, -1.5, -1.0, -2.0]
    assert prepared.splits.num_rows == 3
    assert last_line(capsys) == (
        f"{tmp_path / 'out'}: 3 queries, 4 documents, 4 candidate pairs, 3 sessions, 0 judgments; "
        "1 queries have no candidate and are set aside"
    )


def test_without_a_log_candidates_are_found_by_bm25(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("queries", "documents"):
        write_table(getattr(tiny_collection, name), tmp_path / "mine", name)
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine", candidates_per_query=1))
    prepared = read_collection(tmp_path / "out")
    assert prepared.candidates.select(["query_id", "doc_id", "rank"]).to_pylist() == [
        {"query_id": "q1", "doc_id": "d1", "rank": 1},
        {"query_id": "q2", "doc_id": "d3", "rank": 1},
    ]
    assert prepared.sessions == empty_table("sessions")
    assert last_line(capsys).endswith("1 queries have no candidate and are set aside")


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


@pytest.mark.parametrize("name", ["queries", "documents"])
def test_an_empty_collection_is_refused(
    name: str, tiny_collection: Collection, tmp_path: Path
) -> None:
    write_collection(tiny_collection, tmp_path / "mine")
    path = write_table(empty_table(name), tmp_path / "mine", name)
    with pytest.raises(InputError, match="has no rows; the collection is empty") as caught:
        prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert str(path) in str(caught.value)
    assert not list((tmp_path / "out").glob("*.parquet"))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda sessions: sessions.drop_columns("clicks"), "column 'clicks' is missing"),
        (
            lambda sessions: sessions.set_column(3, "clicks", pa.array([[1, 7], [0, 1], [0, 0]])),
            "column 'clicks' ",
        ),
        (
            lambda sessions: sessions.set_column(3, "clicks", pa.array([[True], [True], [True]])),
            "column 'clicks' has another length than doc_ids in 3 of 3 rows",
        ),
        (
            lambda sessions: sessions.set_column(2, "doc_ids", pa.array([["d1", "d9"]] * 3)),
            "column 'doc_ids' names a document that documents.parquet lacks in 3 of 3 rows",
        ),
    ],
)
def test_a_bad_log_is_refused_by_file_column_and_row(
    spoil: Callable[[pa.Table], pa.Table],
    named: str,
    tiny_collection: Collection,
    tmp_path: Path,
) -> None:
    write_collection(tiny_collection, tmp_path / "mine")
    path = tmp_path / "mine" / "sessions.parquet"
    pa.parquet.write_table(spoil(tiny_collection.sessions), path)
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert str(caught.value).startswith(f"{path}: {named}")
    assert "row 0: {'session_id': 's1'" in str(caught.value) or "is missing" in named


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
        f"{tmp_path / 'out'}: 2 queries, 2 documents, 1 candidate pairs, 30 sessions, 1 judgments; "
        "1 queries have no candidate and are set aside",
    ]
    assert read_collection(tmp_path / "out").queries["frequency"].to_pylist() == [30, 0]


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
        ({"all": range(30)}, (18, 6, 6)),
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
    assert (said in capsys.readouterr().err) == ("validation" not in counts)


def existing(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("x")
    return path


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (lambda ok, no: TianGong(no), "no"),
        (lambda ok, no: TianGong(ok, human_labels=no), "no"),
        (lambda ok, no: TianGong(ok, human_labels=ok, bodies=no), "no"),
        (lambda ok, no: BaiduUltr(no), "no"),
        (lambda ok, no: BaiduUltr(ok, annotations=no), "no"),
        (lambda ok, no: OwnLogFiles(no, ok), "no"),
        (lambda ok, no: OwnLogFiles(ok, no), "no"),
        (lambda ok, no: BeirFolder(no), "no/corpus.jsonl"),
        (lambda ok, no: TablesFolder(no), "no"),
    ],
)
def test_every_path_is_looked_at_before_anything_is_read_or_claimed(
    source: Callable[[Path, Path], Source], missing: str, tmp_path: Path
) -> None:
    given = source(existing(tmp_path, "ok"), tmp_path / "no")
    with pytest.raises(InputError, match=f"{tmp_path / missing}: there is no such f"):
        given.check()
    with pytest.raises(InputError, match=f"{tmp_path / missing}: there is no such f"):
        prepare(tmp_path / "out", given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("numbers", [{"candidates_per_query": 0}, {"sessions": -1}])
def test_numbers_that_cannot_be_are_refused_before_anything_is_read(
    numbers: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="candidates_per_query must be at least 1"):
        prepare(tmp_path / "out", BeirFolder(existing(tmp_path, "beir"), **numbers))
    assert not (tmp_path / "out").exists()


def test_columns_are_looked_at_before_anything_is_read_or_claimed(tmp_path: Path) -> None:
    log, documents = tmp_path / "log.jsonl", tmp_path / "documents.jsonl"
    log.write_text('{"query": "fox", "doc_ids": ["d1"], "clicks": [1], "page": 1}\n')
    documents.write_text('{"id": "d1", "body": "fox"}\n')
    for columns, said in (
        ({}, "documents.jsonl: there is no column 'doc_id', only id, body; give columns.doc_id"),
        ({"doc_id": "id", "query_id": "qid"}, "log.jsonl: there is no column 'qid', only query"),
        ({"doc_id": "id", "title": "name"}, "documents.jsonl: there is no column 'name'"),
    ):
        with pytest.raises(InputError, match=said):
            prepare(tmp_path / "out", OwnLogFiles(log, documents, columns))
        assert not (tmp_path / "out").exists()
    prepare(tmp_path / "out", OwnLogFiles(log, documents, {"doc_id": "id"}))
    log.unlink()
    prepare(tmp_path / "out", OwnLogFiles(log, documents, {"doc_id": "id"}), resume=True)


def test_a_source_that_fails_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    log, documents = tmp_path / "log.jsonl", tmp_path / "documents.jsonl"
    good = b'{"query": "fox", "doc_ids": ["d1"], "clicks": [1]}\n'
    documents.write_text('{"doc_id": "d1", "body": "fox"}\n')
    log.write_bytes(good * 200 + b"caf\xe9\n")
    (tmp_path / "made").mkdir()
    for output in ("new", "made"):
        with pytest.raises(InputError, match="line 201 is not JSON in UTF-8"):
            prepare(tmp_path / output, OwnLogFiles(log, documents))
        assert not list((tmp_path / output).iterdir())
    with pytest.raises(InputError, match="ask for more"):
        prepare(tmp_path / "new", replace(WORLD, sessions=1))
    log.write_bytes(good * 3)
    prepare(tmp_path / "new", OwnLogFiles(log, documents))
    assert read_collection(tmp_path / "new").sessions.num_rows == 3


def test_what_was_begun_before_is_kept_when_the_source_fails(tmp_path: Path) -> None:
    failing = replace(WORLD, sessions=1)
    settings = {"source": "SimulatedWorld", **vars(failing), "seed": 0}
    begin_output(tmp_path / "out", "prepare", settings, resume=False)
    (tmp_path / "out" / "queries.parquet").touch()
    with pytest.raises(InputError, match="ask for more"):
        prepare(tmp_path / "out", failing, resume=True)
    assert sorted(contents(tmp_path / "out")) == ["job.json", "queries.parquet"]


def test_rows_of_ones_own_tables_that_stand_there_twice_are_counted(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_collection(tiny_collection, tmp_path / "mine")
    judgments = pa.concat_tables([tiny_collection.judgments, tiny_collection.judgments.slice(1)])
    pa.parquet.write_table(judgments, tmp_path / "mine" / "judgments.parquet")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert read_collection(tmp_path / "out") == tiny_collection
    repeated = tiny_collection.judgments.num_rows - 1
    assert f"set aside: {repeated} rows of judgments that repeat" in capsys.readouterr().out


def test_cranfield_is_prepared(cranfield: Path, tmp_path: Path) -> None:
    prepare(tmp_path, BeirFolder(cranfield, sessions=3000), seed=1)
    collection = read_collection(tmp_path)
    assert collection.sessions.num_rows == 3000
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
