"""The job `prepare`: from a world, a BEIR folder or one's own tables to a checked collection."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.frequency import count_frequency
from corpus.places import Place, remove, write_whole
from corpus.prepare import prepare
from corpus.schemas import SCHEMAS, empty_table
from corpus.sources import TablesFolder
from corpus.splits import split_queries
from corpus.tables import Collection, read_collection, write_collection, write_table
from tests.corpus.prepared import WORLD, contents

TABLES = [field.name for field in fields(Collection)]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_a_world_is_prepared_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "a [bold] folder with a name that is longer than a terminal is wide" / "out"
    prepare(output, WORLD, seed=3)
    assert sorted(contents(output)) == sorted([*(f"{name}.parquet" for name in TABLES), "job.json"])
    collection = read_collection(output)
    judged = np.isin(collection.queries["query_id"], collection.judgments["query_id"])
    assert judged.sum() == 13
    split = split_queries(collection.queries, judged, fill_train=False, seed=3)["split"]
    assert collection.splits["split"] == split
    searched = collection.queries["frequency"].to_numpy() > 0
    assert collection.splits["supervised"].to_pylist() == (~judged | searched).tolist()
    assert collection.held_out_sessions.num_rows == 80
    counted = count_frequency(collection.queries["query_id"], collection.sessions)
    assert collection.queries["frequency"].combine_chunks() == counted.combine_chunks()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("held out: 80 of 400 sessions, the last by time")
    assert said[1].startswith("queries: 27 train, 4 validation, 9 test; ")
    assert said[2] == (
        f"{output}: 40 queries, 60 documents, 240 candidate pairs, 320 sessions, 78 judgments"
    )


def test_a_store_gives_and_takes_what_a_folder_does(store: Place, tmp_path: Path) -> None:
    prepare(tmp_path / "here", WORLD, seed=3)
    prepare(store / "there", WORLD, seed=3)
    assert contents(store / "there") == contents(tmp_path / "here")
    with pytest.raises(InputError, match="there: holds the finished output of prepare"):
        prepare(store / "there", WORLD, seed=3)
    prepare(tmp_path / "back", TablesFolder(store / "there"), seed=3)
    back, here = (read_collection(tmp_path / name) for name in ("back", "here"))
    assert back.sessions.equals(here.sessions)


def test_what_was_cut_short_in_a_store_is_made_again(store: Place) -> None:
    with pytest.raises(InputError, match="no such folder"):
        prepare(store / "out", TablesFolder(store / "nothing"))
    assert not store.exists()
    prepare(store / "out", WORLD, seed=3)
    whole = contents(store / "out")
    record = json.loads((store / "out" / "job.json").read_text()) | {"complete": False}
    write_whole(store / "out" / "job.json", json.dumps(record))
    remove(store / "out" / "splits.parquet")
    prepare(store / "out", WORLD, seed=3, resume=True)
    assert contents(store / "out").keys() == whole.keys()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    prepare(tmp_path / "once", WORLD, seed=3)
    prepare(tmp_path / "other", WORLD, seed=4)
    # Another process, which hashes strings in another way.
    program = (
        "from pathlib import Path; from corpus.prepare import prepare; "
        "from corpus.sources import SimulatedWorld; "
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


def test_rows_of_a_counted_log_are_told_as_the_sessions_that_they_stand_for(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("queries", "documents"):
        write_table(getattr(tiny_collection, name), tmp_path / "mine", name)
    counts = pa.array([5, 1, 7])
    counted = tiny_collection.sessions.append_column("sessions", counts)
    write_table(counted, tmp_path / "mine", "sessions")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"), held_out=0.0)
    assert " 13 sessions, " in last_line(capsys)


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
