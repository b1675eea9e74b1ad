"""The last sessions are held out: by time where the log has it, else in the order of the log."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import mapped_arrays
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.readers import log_tables
from corpus.sources import OwnLogFiles, TablesFolder
from corpus.tables import Collection, read_collection, write_collection
from corpus.window import LATER, TIMELESS, WINDOW, hold_out, part_by_time
from tests.conftest import make_table


def log_of(collection: Collection, times: Sequence[Any] | None, rows: int = 5) -> Collection:
    """Sessions s0, s1 and so on, of q1 and q2 by turns, with times."""
    shown = {"q1": ["d1", "d2"], "q2": ["d3", "d4"]}
    ids = [("q1", "q2")[row % 2] for row in range(rows)]
    sessions = make_table(
        "sessions", [(f"s{row}", name, shown[name], [True, False]) for row, name in enumerate(ids)]
    )
    if times is not None:
        column = times if isinstance(times, pa.Array) else pa.array(times)
        sessions = sessions.append_column("time", column)
    frequency = pa.array([ids.count(name) for name in ("q1", "q2", "q3")])
    return replace(
        collection,
        sessions=sessions,
        queries=collection.queries.set_column(2, "frequency", frequency),
    )


def held(collection: Collection) -> list[str]:
    return collection.held_out_sessions["session_id"].to_pylist()


def test_the_last_of_a_log_without_times_are_held_out_and_counted_in_neither(
    tiny_collection: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    parted = hold_out(log_of(tiny_collection, None), 0.4, "mine")
    assert held(parted) == ["s3", "s4"]
    assert parted.sessions["session_id"].to_pylist() == ["s0", "s1", "s2"]
    assert parted.queries["frequency"].to_pylist() == [2, 1, 0]
    assert capsys.readouterr().out == (
        "held out: 2 of 5 sessions, the last by the order of the log, which has no times\n"
    )


@pytest.mark.parametrize(
    "times",
    [
        [50, 10, 40, 20, 30],
        [50.5, 10.0, 40.0, 20.0, 30.0],
        pa.array([50, 10, 40, 20, 30], pa.int16()),
        ["50", "10", "40", "20", "30"],
        pa.array(["50", "10", "40", "20", "30"], pa.string_view()),
        pa.array(["50", "10", "40", "20", "30"]).dictionary_encode(),
        [f"2026-03-{day}T10:00:00" for day in (25, 10, 24, 20, 23)],
        ["2026-03-05T00:00Z", "2026-03-01", "2026-03-04T23:00-01:00", "2026-03-01", "2026-03-02"],
        [date(2026, 3, day) for day in (9, 1, 8, 5, 6)],
        [datetime(2026, 3, day, tzinfo=UTC) for day in (9, 1, 8, 5, 6)],
        pa.array([5, 1, 4, 2, 3], pa.timestamp("s")),
        pa.array([5_000_000_001, 1, 5_000_000_000, 2, 3], pa.timestamp("ns")),
        pa.array([2**40, 0, 2**39, 1, 2], pa.timestamp("s", "Asia/Tokyo")),
    ],
)
def test_the_last_by_time_are_held_out(
    times: Any, tiny_collection: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    parted = hold_out(log_of(tiny_collection, times), 0.4, "mine")
    assert held(parted) == ["s0", "s2"]
    assert parted.queries["frequency"].to_pylist() == [1, 2, 0]
    kind = parted.sessions.schema.field("time").type
    assert kind == pa.int64() or (pa.types.is_timestamp(kind) and kind.unit == "us")
    assert capsys.readouterr().out == "held out: 2 of 5 sessions, the last by time\n"


def test_sessions_without_a_time_that_others_have_are_set_aside(
    tiny_collection: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    parted = hold_out(log_of(tiny_collection, ["30", None, "noon", "10", "20"]), 0.4, "mine")
    assert (held(parted), parted.sessions["session_id"].to_pylist()) == (["s0"], ["s3", "s4"])
    assert parted.queries["frequency"].to_pylist() == [1, 1, 0]
    assert "set aside: 2 searches without a time" in capsys.readouterr().out
    for kind in (pa.int64(), pa.null(), pa.string(), pa.timestamp("s")):
        nothing_told = hold_out(log_of(tiny_collection, pa.nulls(5, kind)), 0.4, "mine")
        assert held(nothing_told) == ["s3", "s4"]


@pytest.mark.parametrize("times", [["noon"] * 5, [True] * 5, [[1]] * 5, [b"1"] * 5])
def test_a_column_time_of_something_else_is_refused(
    times: list[Any], tiny_collection: Collection
) -> None:
    with pytest.raises(InputError, match=r"mine/sessions.parquet: column 'time' is .*another name"):
        hold_out(log_of(tiny_collection, times), 0.4, "mine")
    untouched = log_of(tiny_collection, times)
    assert hold_out(untouched, 0.0, "mine") is untouched


def test_times_beyond_microseconds_are_refused_rather_than_taken_for_others(
    tiny_collection: Collection,
) -> None:
    times = pa.array([2**60, 1, 2, 3, 4], pa.timestamp("s"))
    with pytest.raises(InputError, match=r"column 'time' holds times out of range"):
        hold_out(log_of(tiny_collection, times), 0.4, "mine")


def test_own_frequencies_and_own_held_out_sessions_are_kept(tiny_collection: Collection) -> None:
    log = log_of(tiny_collection, None)
    sampled = replace(log, queries=log.queries.set_column(2, "frequency", pa.array([900, 800, 3])))
    parted = hold_out(sampled, 0.4, "mine")
    assert parted.queries["frequency"].to_pylist() == [900, 800, 3]
    assert held(parted) == ["s3", "s4"]
    assert hold_out(parted, 0.4, "mine") is parted


def test_rows_that_stand_for_many_sessions_are_counted_so(tiny_collection: Collection) -> None:
    log = log_of(tiny_collection, None)
    counts = pa.array([6, 1, 1, 1, 1])
    counted = replace(log, sessions=log.sessions.append_column("sessions", counts))
    assert held(hold_out(counted, 0.25, "mine")) == ["s3", "s4"]


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans(), st.integers(1, 4)), max_size=30),
    st.floats(0, 0.99),
)
def test_what_is_held_out_is_never_earlier_and_as_much_as_the_share_allows(
    rows: list[tuple[int, bool, int]], share: float
) -> None:
    time = np.array([row[0] for row in rows], dtype=np.int64)
    known = np.array([row[1] for row in rows], dtype=np.bool_)
    sessions = np.array([row[2] for row in rows], dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped_arrays, "ROWS_AT_ONCE", 3)
        parts = part_by_time(time, known, sessions, share)
    assert (parts[~known] == TIMELESS).all()
    window, later = (parts == WINDOW) & known, (parts == LATER) & known
    assert (window | later)[known].all()
    assert sessions[later].sum() <= share * sessions[known].sum()
    if later.any() and window.any():
        assert time[window].max() <= time[later].min()
    if window.any():
        last = max(np.flatnonzero(window), key=lambda row: (time[row], row))
        assert sessions[later].sum() + sessions[last] > share * sessions[known].sum()


def write_log(folder: Path, times: list[Any]) -> OwnLogFiles:
    rows = [
        {
            "session_id": f"s{n}",
            "query": "fox" if n % 2 else "rye",
            "doc_ids": ["d1"],
            "clicks": [1],
        }
        | ({} if time is None else {"time": time})
        for n, time in enumerate(times)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "documents.jsonl").write_text('{"doc_id": "d1", "title": "fox", "body": "rye"}\n')
    return OwnLogFiles(folder / "log.jsonl", folder / "documents.jsonl")


@pytest.mark.parametrize("rows_per_part", [1, 2, 100])
def test_a_log_in_parts_is_parted_as_one_in_memory(
    rows_per_part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", rows_per_part)
    times = [6, 1, "1970-01-01T00:00:08", 3.5, None, "tea", "5", 4]
    prepare(tmp_path / "out", write_log(tmp_path, times), held_out=0.34)
    collection = read_collection(tmp_path / "out")
    assert held(collection) == ["s0", "s2"]
    assert collection.sessions["session_id"].to_pylist() == ["s1", "s3", "s6", "s7"]
    assert collection.sessions["time"].to_pylist() == [1, 3, 5, 4]
    by_text = collection.queries.to_pandas().set_index("text")["frequency"].to_dict()
    assert by_text == {"rye": 1, "fox": 3}


def test_a_log_in_parts_without_times_is_parted_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "ROWS_PER_PART", 2)
    prepare(tmp_path / "out", write_log(tmp_path, [None] * 5), held_out=0.7)
    collection = read_collection(tmp_path / "out")
    assert held(collection) == ["s2", "s3", "s4"]
    assert "time" not in collection.sessions.column_names
    # A query that was searched after the window alone is new to it, and has its candidates.
    assert sorted(collection.queries["frequency"].to_pylist()) == [1, 1]
    assert len(set(collection.candidates["query_id"].to_pylist())) == 2


@pytest.mark.parametrize(
    "times",
    [
        pa.array([3, 2, 1], pa.timestamp("ns")),
        pa.array([date(2999, 1, 1), date(2026, 1, 2), date(2026, 1, 1)]),
        pa.array([2**38, 2, 1], pa.timestamp("s")),  # beyond Python's dates
    ],
)
def test_dates_of_parquet_are_times(times: pa.Array, tmp_path: Path) -> None:
    source = write_log(tmp_path, [])
    log = pa.table(
        {
            "session_id": ["a", "b", "c"],
            "query": ["fox"] * 3,
            "doc_ids": [["d1"]] * 3,
            "clicks": [[0]] * 3,
            "when": times,
        }
    )
    pq.write_table(log, tmp_path / "log.parquet")
    source = replace(source, sessions=tmp_path / "log.parquet", columns={"time": "when"})
    prepare(tmp_path / "out", source, held_out=0.4)
    if times.type != pa.timestamp("ns"):
        assert held(read_collection(tmp_path / "out")) == ["a"]
    else:  # within one second, in the order of the log
        assert held(read_collection(tmp_path / "out")) == ["c"]


def test_a_collection_keeps_what_was_held_out(tiny_collection: Collection, tmp_path: Path) -> None:
    write_collection(hold_out(log_of(tiny_collection, None), 0.4, "mine"), tmp_path / "mine")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert held(read_collection(tmp_path / "out")) == ["s3", "s4"]
    assert not (tmp_path / "out" / "held_out_sessions.parquet").is_dir()
