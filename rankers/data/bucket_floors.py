"""The buckets of frequency that a ranker was trained with, kept beside it for where it serves."""

import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.places import Place, write_whole
from corpus.tables import Collection

BUCKET_FLOORS = "bucket_floors.json"
Floors = dict[str, int | None]


@dataclass(frozen=True)
class FrequencyRanges:
    """From which frequency to which the queries of each bucket have.

    Attributes:
        of_bucket: least and most, by the bucket's name; only of those that have queries.
    """

    of_bucket: dict[str, tuple[int, int]]

    def with_others(self, other: "FrequencyRanges") -> "FrequencyRanges":
        """The ranges of the queries of both."""
        both = dict(self.of_bucket)
        for name, (least, most) in other.of_bucket.items():
            before = both.get(name, (least, most))
            both[name] = min(before[0], least), max(before[1], most)
        return FrequencyRanges(both)


def frequency_ranges(collection: Collection) -> FrequencyRanges:
    """The ranges of a collection's buckets, or of those of some of its queries."""
    groups = query_groups(collection)
    frequency, bucket = groups["frequency"].to_numpy(), groups["bucket"].to_numpy()
    ranges = {name: frequency[bucket == name] for name in BUCKETS}
    return FrequencyRanges(
        {name: (int(of.min()), int(of.max())) for name, of in ranges.items() if len(of)}
    )


def write_ranges(ranges: FrequencyRanges, ranker: Place) -> None:
    """Writes from how many searches on a query is of high, and of medium, frequency.

    Where a query of a lower bucket is as frequent, as among a team's own buckets, nothing is
    written.

    Args:
        ranges: of the buckets in the collection that the ranker was trained on.
        ranker: its folder.
    """
    of_bucket = ranges.of_bucket
    named = [name for name in BUCKETS if name in of_bucket]
    if any(of_bucket[upper][0] <= of_bucket[lower][1] for upper, lower in pairwise(named)):
        return
    floors = {name: of_bucket[name][0] if name in of_bucket else None for name in BUCKETS[:-1]}
    write_whole(ranker / BUCKET_FLOORS, json.dumps(floors, indent=1))


def read_bucket_floors(ranker: Place) -> Floors | None:
    """What `write_ranges` wrote beside a ranker; None where it wrote nothing.

    Raises:
        InputError: the file holds something else.
    """
    path = ranker / BUCKET_FLOORS
    if not path.exists():
        return None
    try:
        floors = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        floors = None
    if (
        not isinstance(floors, dict)
        or list(floors) != list(BUCKETS[:-1])
        or any(type(floor) not in (int, type(None)) for floor in floors.values())
    ):
        raise InputError(
            f"{path}: does not hold whole numbers or null for {' and '.join(BUCKETS[:-1])}; "
            "take it away, to take the buckets of each collection"
        )
    return floors


def bucket_numbers(frequency: NDArray[np.int64], floors: Floors) -> NDArray[np.int64]:
    """The number among `BUCKETS` of the bucket of each query.

    Args:
        frequency: searches of each query, int64, shape (queries,).
        floors: the lowest frequency of high and of medium; None where no query is of the bucket.

    >>> bucket_numbers(np.array([90, 9, 8, 1]), {"high": 90, "medium": 9}).tolist()
    [0, 1, 2, 2]
    """
    reached = [
        np.full(len(frequency), fill_value=False) if floor is None else frequency >= floor
        for floor in (floors[name] for name in BUCKETS[:-1])
    ]
    return np.select(reached, range(len(reached)), len(reached)).astype(np.int64)


def with_buckets(lists: pa.Table, floors: Floors | None) -> pa.Table:
    """Lists of any collection with the buckets by a ranker's floors, where it has some.

    Args:
        lists: frequency and bucket of each query, as of `rankers.data.lists.candidate_ids`.
        floors: from `read_bucket_floors`.
    """
    if floors is None:
        return lists
    numbers = bucket_numbers(lists["frequency"].to_numpy(), floors)
    place = lists.schema.get_field_index("bucket")
    return lists.set_column(place, "bucket", pa.array(numbers))
