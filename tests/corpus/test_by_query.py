"""Tables come together query by query: the same whether they are read at once or in parts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from corpus import by_query as module
from corpus.by_query import by_query, make_call, table_files
from corpus.errors import InputError
from corpus.frequency import frequency_buckets
from corpus.groups import bucket_floors, query_groups
from corpus.query_parts import QueryPart, pack_span, part_of
from corpus.refused_rows import TableError
from corpus.row_groups import read_footers
from corpus.tables import Collection
from tests.conftest import make_table

QUERIES = 40


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three candidates each of 40 queries."""
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 30)
    monkeypatch.setattr(module, "ROWS_OF_PART", 25)


def folder_of(folder: Path, **changed: pa.Table) -> Path:
    """Queries with three candidates each, in two files of two row groups."""
    ids = [f"q{number}" for number in range(QUERIES)]
    queries = [(query, f"text {query}", number) for number, query in enumerate(ids)]
    candidates = [(q, f"d{rank}", rank, 1.0) for rank in (1, 2, 3) for q in reversed(ids)]
    splits = [(q, "train" if n % 4 else "test", None, None) for n, q in enumerate(ids[1:])]
    sessions = [(f"s{n}", q, ["d1", "d2"], [True, False]) for n, q in enumerate(ids)]
    tables = {
        "queries": make_table("queries", queries),
        "candidates": make_table("candidates", candidates),
        "splits": make_table("splits", splits),
        "sessions": make_table("sessions", sessions),
        "judgments": make_table("judgments", [("q4", "d1", 1), ("q9", "d9", 2)]),
    }
    for name, table in (tables | changed).items():
        place = folder / f"{name}.parquet"
        place.mkdir(parents=True)
        half = table.num_rows // 2 + 1
        for number in (0, 1):
            rows = table.slice(number * half, half)
            pq.write_table(rows, place / f"part-{number}.parquet", row_group_size=half // 2 + 1)
    return folder


NAMES = ("queries", "candidates", "splits", "sessions", "judgments")


def sources_of(folder: Path) -> dict[str, Path]:
    return dict.fromkeys(NAMES, folder)


def collected(part: QueryPart) -> pa.Table:
    """A row for each query: what the part holds of it, and how it is grouped."""
    tables = part.tables
    nothing = make_table("documents", [])
    collection = Collection(
        tables["queries"],
        nothing,
        tables["candidates"],
        tables["sessions"],
        tables["judgments"],
        tables["splits"],
    )
    groups = query_groups(collection)
    ranked = tables["candidates"].to_pandas().groupby("query_id", sort=False)["doc_id"].agg(list)
    return groups.append_column(
        "doc_ids", pa.array([ranked[query] for query in groups["query_id"].to_pylist()])
    ).append_column("part", pa.array([part.number] * groups.num_rows))


def in_order(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).sort_by("query_id")


def without_ray(sources: Mapping[str, Path], parts: int) -> list[pa.Table]:
    """What the tasks make of all parts, one after another in this process."""
    found = table_files(sources)
    packed = [
        rows for files in found.values() for span in files.spans for rows in pack_span(span, parts)
    ]
    call = make_call(found, parts, collected, {})
    return list(call(pa.concat_tables(reversed(packed))))


def test_parts_hold_what_one_part_of_all_holds(tmp_path: Path) -> None:
    sources = sources_of(folder_of(tmp_path))
    whole = in_order(by_query(sources, collected, pytest.fail))
    parts = in_order(without_ray(sources, 5))
    assert parts.drop_columns(["part"]).equals(whole.drop_columns(["part"]))
    assert set(whole["part"].to_pylist()) == {0}
    assert parts["part"].to_pylist() == part_of(parts["query_id"], 5).tolist()


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("candidates", ("q5", "d1", 1, 1.0), "part-1.parquet: column 'query_id, doc_id' is a key"),
        ("candidates", ("other", "d1", 1, 1.0), "part-1.parquet: column 'query_id' names a query"),
        ("candidates", ("q5", "d7", 0, 1.0), "part-1.parquet: column 'rank' is below 1"),
        ("sessions", ("s3", "q30", ["d1"], [True]), "part-1.parquet: column 'session_id' is a key"),
    ],
)
def test_rows_that_are_wrong_are_named_by_their_file_and_number(
    name: str, row: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    good = pq.read_table(folder_of(tmp_path / "good") / f"{name}.parquet")
    bad = pa.concat_tables([good, make_table(name, [row])])
    folder = folder_of(tmp_path / "bad", **{name: bad})
    # It is the last one of its table, and so of the second file.
    number = good.num_rows - (bad.num_rows // 2 + 1)
    with pytest.raises(TableError, match=rf"{name}.parquet/{said}.*row {number}: {{"):
        without_ray(sources_of(folder), 5)


def refusing(part: QueryPart) -> pa.Table:
    raise InputError(f"part of {part.tables['queries'].num_rows} queries: no")


@pytest.mark.slow
@pytest.mark.usefixtures("_small_parts", "own_cluster")
def test_a_cluster_of_two_processors_shuffles_and_says_what_a_task_refuses(tmp_path: Path) -> None:
    """So few must not make the shuffle wait for others."""
    sources = sources_of(folder_of(tmp_path))
    joined: list[None] = []
    connect = lambda: joined.append(ray.init(num_cpus=2, include_dashboard=False))  # noqa: E731
    parts = in_order(by_query(sources, collected, connect))
    assert len(joined) == 1
    assert parts.equals(in_order(without_ray(sources, 5)))
    with pytest.raises(InputError, match=r"^part of \d+ queries: no$"):
        list(by_query(sources, refusing, lambda: None))


def test_a_missing_column_is_seen_before_anything_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    pq.write_table(pa.table({"query_id": ["q1"]}), folder / "judgments.parquet" / "part-0.parquet")
    with pytest.raises(InputError, match=r"judgments\.parquet: column 'doc_id' is missing"):
        read_footers(folder, "judgments")


@given(st.lists(st.integers(0, 6), max_size=40))
def test_floors_of_buckets_are_those_that_all_queries_have(frequency: list[int]) -> None:
    values, counts = np.unique(np.array(frequency, np.int64), return_counts=True)
    floors = bucket_floors(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    at_least = np.select([values >= floor for floor in floors], ["high", "medium"], "low")
    of_value = dict(zip(values.tolist(), at_least.tolist(), strict=True))
    assert [of_value[one] for one in frequency] == frequency_buckets(
        np.array(frequency, int)
    ).tolist()
