"""A ranker's buckets are those of its training, on whatever collection it serves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.frequency import BUCKETS, frequency_buckets
from corpus.tables import Collection
from rankers.data.bucket_floors import (
    BUCKET_FLOORS,
    bucket_numbers,
    frequency_ranges,
    read_bucket_floors,
    with_buckets,
    write_ranges,
)
from tests.conftest import make_table


def of_frequencies(collection: Collection, frequency: list[int], buckets: list[str]) -> Collection:
    ids = [f"q{row}" for row in range(len(frequency))]
    queries = [(name, "fox", often) for name, often in zip(ids, frequency, strict=True)]
    splits = [(name, "train", bucket, True) for name, bucket in zip(ids, buckets, strict=True)]
    return replace(
        collection,
        queries=make_table("queries", list(queries)),
        splits=make_table("splits", list(splits)),
    )


@pytest.mark.parametrize(
    ("frequency", "cuts"),
    [
        ([100, 90, 80, 40, 40, 30, 20, 2, 2, 2, 1, 0], (3, 7)),
        ([100, 90, 80, 40, 40, 30, 20, 2, 2, 2, 1, 0], (0, 10)),
        ([100, 90, 80], (10, 10)),
        ([1, 1, 0], (3, 7)),
        ([], (3, 7)),
    ],
)
def test_floors_give_back_the_buckets_that_they_were_made_of(
    frequency: list[int], cuts: tuple[int, int], tiny_collection: Collection, tmp_path: Path
) -> None:
    buckets = frequency_buckets(np.array(frequency, dtype=np.int64), cuts).tolist()
    write_ranges(frequency_ranges(of_frequencies(tiny_collection, frequency, buckets)), tmp_path)
    floors = read_bucket_floors(tmp_path)
    assert floors is not None
    found = bucket_numbers(np.array(frequency, dtype=np.int64), floors)
    assert [BUCKETS[number] for number in found] == buckets


def test_a_ranker_takes_its_own_buckets_on_another_collection(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    assert read_bucket_floors(tmp_path) is None
    lists = pa.table({"frequency": [500, 50, 5], "bucket": [0, 0, 0], "text": ["a", "b", "c"]})
    assert with_buckets(lists, None) is lists
    known = of_frequencies(tiny_collection, [200, 20, 2], ["high", "medium", "low"])
    write_ranges(frequency_ranges(known), tmp_path)
    assert with_buckets(lists, read_bucket_floors(tmp_path))["bucket"].to_pylist() == [0, 1, 2]


def test_buckets_that_do_not_follow_from_frequency_are_not_kept(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    own = of_frequencies(tiny_collection, [9, 8, 7], ["low", "high", "low"])
    write_ranges(frequency_ranges(own), tmp_path)
    assert not (tmp_path / BUCKET_FLOORS).exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"high": 3}', '{"high": 3, "medium": "2"}', '{"high": true, "medium": 1}'],
)
def test_another_file_of_the_name_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / BUCKET_FLOORS).write_text(content)
    with pytest.raises(InputError, match=r"bucket_floors.json: does not hold whole numbers"):
        read_bucket_floors(tmp_path)
