"""Which pairs a budget buys, on a collection where every answer can be counted by hand."""

import tempfile
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.plan import budget as budget_module
from annotation.plan import selection as pairs_module
from annotation.plan.budget import Budget, Policy, Turns, spend_budget
from annotation.plan.parts import unanswered_pairs
from annotation.plan.selection import hash_texts, number_parts, pairs_to_annotate
from corpus import mapped_arrays
from corpus.errors import InputError
from corpus.groups import query_groups
from corpus.places import place_of
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection
from tests.conftest import make_table

QUERIES = 10
DOCUMENTS = 4


@pytest.fixture(scope="module")
def tables() -> Collection:
    """Query i of ten has frequency 2 ** (10 - i) and four candidates; sessions show some of q0."""
    queries = [f"q{number}" for number in range(QUERIES)]
    documents = list("abcd")
    pairs = [(query, doc, rank) for query in queries for rank, doc in enumerate(documents, 1)]
    query_id, doc_id, rank = (list(column) for column in zip(*pairs, strict=True))
    frequency = [2 ** (10 - number) for number in range(QUERIES)]
    shown = [(["a", "b"], [True, False])] * 8 + [(["a", "c"], [False, True])] * 2
    sessions = [[f"s{n}" for n in range(10)], ["q0"] * 10, *map(list, zip(*shown, strict=True))]
    return Collection(
        queries=pa.table([queries, queries, frequency], schema=SCHEMAS["queries"]),
        documents=pa.table([documents, [""] * 4, ["x"] * 4], schema=SCHEMAS["documents"]),
        candidates=pa.table([query_id, doc_id, rank, [0.0] * 40], schema=SCHEMAS["candidates"]),
        sessions=pa.table(sessions, schema=SCHEMAS["sessions"]),
        judgments=empty_table("judgments"),
        splits=empty_table("splits"),
    )


def bought(
    tables: Collection,
    budget: Budget,
    whole_queries: bool = False,
    tokens: int = 10,
    seed: int = 0,
) -> list[tuple[int, int]]:
    pairs = pairs_to_annotate(tables, "collection")
    kept = spend_budget(
        pairs, tables, budget, whole_queries, lambda some: np.full(some.num_rows, tokens), seed
    )
    rows = list(zip(kept["query_row"].to_pylist(), kept["doc_row"].to_pylist(), strict=True))
    assert rows == sorted(rows), "pairs keep their order, so that prefixes are shared"
    return rows


def test_without_a_limit_everything_is_bought(tables: Collection) -> None:
    assert len(bought(tables, Budget())) == QUERIES * DOCUMENTS


def test_buckets_are_those_of_the_frequency(tables: Collection) -> None:
    rows = bought(tables, Budget(buckets=["low", "medium"]))
    assert {query for query, _ in rows} == set(range(3, 10))


def test_buckets_are_those_of_the_splits_and_not_counted_anew(tables: Collection) -> None:
    ids = tables.queries["query_id"]
    bucket = ["low"] * 2 + ["high"] * 8
    split = pa.table({"query_id": ids, "split": ["train"] * 10, "bucket": bucket})
    rows = bought(replace(tables, splits=split), Budget(buckets=["low"]))
    assert {query for query, _ in rows} == {0, 1}


def test_queries_that_training_may_not_read_cost_nothing(
    tables: Collection, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tables.queries["query_id"]
    parts = ["train"] * 4 + ["validation"] * 2 + ["test"] * 4
    supervised = [True] * 4 + [False, True] + [True, False, False, False]
    splits = pa.table({"query_id": ids, "split": parts, "supervised": supervised})
    parted = replace(tables, splits=splits)
    rows = bought(parted, Budget())
    assert {query for query, _ in rows} == {0, 1, 2, 3, 4, 5, 6}
    said = "left out: 12 pairs of 3 queries that training may not read; --all_queries annotates"
    assert said in capsys.readouterr().out
    assert pairs_to_annotate(parted, "collection", all_queries=True).num_rows == 40
    # Humans have judged query 4, so that no grade of a judge is needed to validate by it.
    judgments = make_table("judgments", [("q4", "a", 2)])
    rows = bought(replace(parted, judgments=judgments), Budget())
    assert {query for query, _ in rows} == {0, 1, 2, 3, 5, 6}
    shown = replace(parted, candidates=empty_table("candidates"), splits=splits.slice(7))
    with pytest.raises(InputError, match="collection: training may read none of the queries"):
        pairs_to_annotate(shown, "collection")


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


def test_the_tail_comes_first(tables: Collection) -> None:
    rows = bought(tables, Budget(max_pairs=6))
    assert [query for query, _ in rows].count(9) == 4
    assert [query for query, _ in rows].count(8) == 2


def test_lists_are_bought_whole(tables: Collection) -> None:
    rows = bought(tables, Budget(max_pairs=11), whole_queries=True)
    assert [query for query, _ in rows] == [8] * 4 + [9] * 4


def test_tokens_are_never_overspent(tables: Collection) -> None:
    assert len(bought(tables, Budget(max_tokens=99), tokens=10)) == 9
    assert len(bought(tables, Budget(max_tokens=100), tokens=10)) == 10
    assert len(bought(tables, Budget(max_tokens=99), whole_queries=True, tokens=10)) == 8
    assert len(bought(tables, Budget(max_tokens=10**9), tokens=10)) == 40


def test_the_pairs_that_were_shown_least_come_first(tables: Collection) -> None:
    rows = bought(tables, Budget(max_pairs=39, policy="fewest_impressions"))
    assert (0, 0) not in rows  # "a" was shown ten times, "b" eight, "c" twice, all others never
    rows = bought(tables, Budget(max_pairs=38, policy="fewest_impressions"))
    assert {(0, 0), (0, 1)}.isdisjoint(rows)


def test_the_pairs_of_the_most_open_click_rate_come_first(tables: Collection) -> None:
    # Beta(8.5, 2.5) of "a" is wider than Beta(0.5, 8.5) of "b", though "a" was shown more often.
    rows = bought(tables, Budget(max_pairs=39, policy="widest_posterior"))
    assert (0, 1) not in rows
    rows = bought(tables, Budget(max_pairs=38, policy="widest_posterior"))
    assert {(0, 0), (0, 1)}.isdisjoint(rows)


def test_rows_that_stand_for_many_sessions_count_as_many(tables: Collection) -> None:
    # One row each, of 8 and of 2 sessions: the same traffic as the ten rows.
    counted = tables.sessions.take([0, 8]).append_column("sessions", pa.array([8, 2]))
    for policy in get_args(Policy):
        for count in range(36, 40):
            budget = Budget(max_pairs=count, policy=policy)
            assert bought(replace(tables, sessions=counted), budget) == bought(tables, budget)
    # "a" was shown three times now, "b" once and "c" twice, whatever the order of their rows.
    again = counted.set_column(4, "sessions", pa.array([1, 2])).take([1, 0])
    for policy, last in (("fewest_impressions", [0, 2, 1]), ("widest_posterior", [2, 0, 1])):
        for count in range(3):
            budget = Budget(max_pairs=39 - count, policy=policy)
            kept = bought(replace(tables, sessions=again), budget)
            assert {(0, row) for row in last[: count + 1]}.isdisjoint(kept)
    # Counts need not be in the chunks of the other columns.
    chunked = pa.concat_tables([tables.sessions.slice(0, 7), tables.sessions.slice(7)])
    chunked = chunked.append_column("sessions", pa.array([1] * 10, pa.uint32()))
    budget = Budget(max_pairs=38, policy="widest_posterior")
    assert bought(replace(tables, sessions=chunked), budget) == bought(tables, budget)


def test_equals_are_bought_query_by_query(tables: Collection) -> None:
    chosen = set()
    for seed in range(20):
        rows = bought(tables, Budget(max_pairs=22, policy="uniform"), seed=seed)
        counts = Counter(query for query, _ in rows)
        assert sorted(counts.values()) == [2, 4, 4, 4, 4, 4]
        chosen |= set(counts)
    assert chosen == set(range(QUERIES)), "any query can come first"


@pytest.mark.parametrize("policy", get_args(Policy))
def test_how_tables_are_chunked_makes_no_difference(
    tables: Collection, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunked = Collection(
        **{
            field.name: pa.concat_tables(
                [table.slice(start, 3) for start in range(0, max(table.num_rows, 1), 3)]
            )
            for field in fields(tables)
            for table in [getattr(tables, field.name)]
        }
    )
    shown, chunked_shown = (
        replace(some, candidates=empty_table("candidates")) for some in (tables, chunked)
    )
    whole = bought(tables, Budget(max_pairs=38, policy=policy))
    whole_shown = bought(shown, Budget(max_pairs=2, policy=policy))
    monkeypatch.setattr(mapped_arrays, "ROWS_AT_ONCE", 3)
    assert bought(chunked, Budget(max_pairs=38, policy=policy)) == whole
    assert bought(chunked_shown, Budget(max_pairs=2, policy=policy)) == whole_shown


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_the_hash_of_texts_is_what_earlier_folders_recorded(
    at_once: int, tables: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs_module, "HASHED_AT_ONCE", at_once)
    assert hash_texts(pairs_to_annotate(tables, "collection"), tables) == "e6fbdc133f9c"


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        ({"max_pairs": 0}, "max_pairs must be at least 1"),
        ({"max_tokens": -1}, "max_tokens must be at least 1"),
        ({"buckets": ["tail"]}, "no bucket 'tail'"),
    ],
)
def test_a_budget_that_will_not_do_is_refused(budget: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Budget(**budget)


def test_a_budget_that_buys_nothing_is_refused(tables: Collection) -> None:
    with pytest.raises(InputError, match="not buy"):
        bought(tables, Budget(max_tokens=9), tokens=10)
    equal = replace(tables, queries=tables.queries.set_column(2, "frequency", [[5] * QUERIES]))
    with pytest.raises(InputError, match="high"):
        bought(equal, Budget(buckets=["high"]))


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=12),
    st.integers(1, 120),
    st.integers(1, 5),
    st.booleans(),
)
def test_what_tokens_buy_is_the_longest_beginning_of_the_order(
    lists: list[tuple[int, int]], max_tokens: int, at_once: int, whole_queries: bool
) -> None:
    lengths, urgencies = (np.array(column) for column in zip(*lists, strict=True))
    query = np.repeat(np.arange(len(lists)), lengths)
    pairs = pa.table({"query_row": query, "doc_row": np.arange(len(query))})
    tokens = 3 + np.arange(len(query)) % 7  # of each pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget_module, "COUNTED_AT_ONCE", at_once)
        urgency = np.repeat(urgencies, lengths).astype(float)
        turns = Turns(pairs, urgency, whole_queries, len(lists) + 2, seed=max_tokens)
        last, further = turns.afford(
            pairs, turns.end(None)[0], max_tokens, lambda some: tokens[some["doc_row"].to_numpy()]
        )
    order = np.argsort(turns.of_pairs, kind="stable")
    drawn = np.random.default_rng(max_tokens).permutation(len(lists) + 2)[query]
    assert order.tolist() == np.lexsort((drawn, -urgencies[query])).tolist()
    if whole_queries:  # a query is bought with its last pair
        running = np.cumsum(tokens[order])
        ends = np.append(query[order][1:] != query[order][:-1], True)
        bought = int(np.flatnonzero(ends & (running <= max_tokens)).max(initial=-1)) + 1
    else:
        bought = int((np.cumsum(tokens[order]) <= max_tokens).sum())
    turn = turns.of_pairs[order]
    assert bought == (turn < last).sum() + min(further, (turn == last).sum())


def test_a_million_pairs_are_bought_in_seconds() -> None:
    rows = np.arange(1_000_000)
    pairs = pa.table({"query_row": rows // 10, "doc_row": rows})
    started = time.process_time()
    turns = Turns(pairs, np.zeros(len(rows)), False, len(rows) // 10, seed=0)
    turns.afford(pairs, turns.end(None)[0], 10**9, lambda some: np.full(some.num_rows, 7))
    assert time.process_time() - started < 4  # by masks of all pairs it took 16 s


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
