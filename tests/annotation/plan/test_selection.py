"""Which pairs are annotated, in which parts, and which are asked again."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.plan import selection as pairs_module
from annotation.plan.parts import unanswered_pairs
from annotation.plan.selection import hash_texts, number_parts, pairs_to_annotate
from corpus.groups import query_groups
from corpus.places import place_of
from corpus.schemas import empty_table
from corpus.tables import Collection
from tests.conftest import make_table


@given(st.data())
@settings(max_examples=30)
def test_queries_are_wanted_whether_few_or_all_are_looked_at(data: st.DataObject) -> None:
    ids = [f"q{number}" for number in range(9)]
    queries = pa.table({"query_id": ids, "text": ids, "frequency": [0, 1, 2] * 3})
    listed = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    some_of = st.sampled_from(["train", "validation", "test"])
    rows = [
        (name, data.draw(some_of), None, data.draw(st.sampled_from([True, False, None])))
        for name in listed
    ]
    judged = data.draw(st.lists(st.sampled_from(ids), unique=True))
    others = {name: empty_table(name) for name in ("documents", "candidates", "sessions")}
    tables = Collection(
        queries=queries,
        splits=make_table("splits", rows),
        judgments=make_table("judgments", [(name, "d", 1) for name in judged]),
        **others,
    )
    groups = query_groups(tables).to_pylist()
    expected = [
        group["supervised"] or (group["split"] == "validation" and group["query_id"] not in judged)
        for group in groups
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs_module, "QUERIES_AT_ONCE", data.draw(st.integers(1, 9)))
        assert pairs_module.wanted_queries(tables).tolist() == expected


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_the_hash_of_texts_is_what_earlier_folders_recorded(
    at_once: int, tables: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs_module, "HASHED_AT_ONCE", at_once)
    assert hash_texts(pairs_to_annotate(tables, "collection"), tables) == "e6fbdc133f9c"


@given(
    st.lists(
        st.lists(
            st.sampled_from([None, "empty query", "engine: gone", "budget: spent", "prompt: no"]),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 6),
    st.sets(st.integers(0, 8)),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_pairs_without_a_lasting_answer_are_asked_again(
    queries: list[list[str | None]], batch_size: int, missing: set[int], whole_queries: bool
) -> None:
    errors = [error for query in queries for error in query]
    query_row = np.repeat(np.arange(len(queries)), [len(query) for query in queries])
    pairs = pa.table({"query_row": query_row})
    part = number_parts(pairs, whole_queries, batch_size)
    pairs = pairs.append_column("part", pa.array(part))
    again = np.array([error is not None and error[:6] in ("engine", "budget") for error in errors])
    with tempfile.TemporaryDirectory() as name:
        for number in set(part.tolist()):
            rows = [error for error, own in zip(errors, part, strict=True) if own == number]
            if number in missing:
                again[part == number] = True
            else:
                table = pa.table({"error": pa.array(rows, pa.string())})
                pq.write_table(table, Path(name) / f"part-{number:06d}.parquet")
        found = unanswered_pairs(pairs, place_of(name), whole_queries)
    if whole_queries:
        again = np.array([again[query_row == query].any() for query in query_row])
    assert found.tolist() == again.tolist()


@given(st.lists(st.integers(1, 7), min_size=1, max_size=20), st.integers(1, 10), st.booleans())
def test_parts_keep_lists_whole_and_are_about_as_large_as_asked(
    lengths: list[int], batch_size: int, whole_queries: bool
) -> None:
    query_row = np.repeat(np.arange(len(lengths)), lengths)
    pairs = pa.table({"query_row": query_row, "doc_row": np.zeros(len(query_row), dtype=int)})
    part = number_parts(pairs, whole_queries, batch_size)
    assert (np.diff(part) >= 0).all()
    longest = batch_size + max(lengths) - 1 if whole_queries else batch_size
    assert np.bincount(part).max() <= longest
    if whole_queries:
        for query in range(len(lengths)):
            assert len(set(part[query_row == query])) == 1
