"""Which pairs a budget buys, on a collection where every answer can be counted by hand."""

import time
from collections import Counter
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.plan import budget as budget_module
from annotation.plan.budget import Budget, Policy, Turns, spend_budget
from annotation.plan.selection import pairs_to_annotate
from corpus import mapped_arrays
from corpus.errors import InputError
from corpus.schemas import empty_table
from corpus.tables import Collection
from tests.annotation.plan.conftest import DOCUMENTS, QUERIES
from tests.conftest import make_table


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
