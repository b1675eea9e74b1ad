"""Splits, buckets and supervision are data, read and completed in one place."""

from dataclasses import replace

import pyarrow as pa

from corpus.groups import query_groups, reported_groups
from corpus.schemas import empty_table
from corpus.tables import Collection
from tests.conftest import make_table


def judged(collection: Collection, *query_ids: str) -> Collection:
    """Of frequencies 2, 1 and 0; q1 is for training, q2 for validation, q3 for test."""
    splits = collection.splits.select(["query_id", "split"])
    grades = make_table("judgments", [(query_id, "d1", 1) for query_id in query_ids])
    return replace(collection, splits=splits, judgments=grades)


def test_what_the_table_says_is_taken(tiny_collection: Collection) -> None:
    said = make_table(
        "splits", [("q3", "train", "high", False), ("q1", "test", "low", True)]
    )  # q2 is not listed
    groups = query_groups(replace(tiny_collection, splits=said), "strict", (0, 0))
    assert groups["query_id"].to_pylist() == ["q1", "q2", "q3"]
    assert groups["split"].to_pylist() == ["test", None, "train"]
    assert groups["bucket"].to_pylist() == ["low", "low", "high"]
    assert groups["supervised"].to_pylist() == [True, False, False]


def test_in_production_judged_queries_of_the_log_are_supervised(
    tiny_collection: Collection,
) -> None:
    all_judged = judged(tiny_collection, "q1", "q2", "q3")
    groups = query_groups(all_judged)
    assert groups["supervised"].to_pylist() == [True, True, False]
    assert groups["bucket"].to_pylist() == ["medium", "low", "low"]
    nobody = query_groups(judged(tiny_collection, "q1"))
    assert nobody["supervised"].to_pylist() == [True, False, False]


def test_under_the_strict_protocol_training_queries_alone_are(tiny_collection: Collection) -> None:
    groups = query_groups(judged(tiny_collection, "q1", "q2", "q3"), "strict")
    assert groups["supervised"].to_pylist() == [True, False, False]


def test_without_splits_every_query_is_supervised(tiny_collection: Collection) -> None:
    groups = query_groups(replace(tiny_collection, splits=empty_table("splits")))
    assert groups["supervised"].to_pylist() == [True] * 3
    assert groups["split"].to_pylist() == [None] * 3
    assert groups["bucket"].to_pylist() == ["medium", "low", "low"]


def test_how_tables_are_chunked_makes_no_difference(tiny_collection: Collection) -> None:
    some = judged(tiny_collection, "q2")
    chunked = replace(
        some,
        queries=pa.concat_tables([some.queries.slice(row, 1) for row in range(3)]),
        splits=pa.concat_tables([some.splits.slice(0, 2), some.splits.slice(2)]),
    )
    assert query_groups(chunked).to_pydict() == query_groups(some).to_pydict()


def test_each_query_is_reported_in_its_bucket_in_all_and_as_known_or_new(
    tiny_collection: Collection,
) -> None:
    rare_first = replace(tiny_collection, queries=tiny_collection.queries.take([2, 1, 0]))
    groups = reported_groups(rare_first)
    assert groups["group"].unique().tolist() == ["medium", "low", "all", "in the log", "new"]
    assert groups.groupby("query_id")["group"].agg(list).to_dict() == {
        "q1": ["medium", "all", "in the log"],
        "q2": ["low", "all", "in the log"],
        "q3": ["low", "all", "new"],
    }
