"""What each query is to training and evaluation: its split, bucket and supervision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from corpus.frequency import BUCKETS, frequency_buckets
from corpus.schemas import empty_table
from corpus.tables import Collection

Protocol = Literal["production", "strict"]
IN_LOG, NEW = "in the log", "new"
# The groups that results are told of, in this order.
GROUPS = (*BUCKETS, "all", IN_LOG, NEW)
OF_SPLITS = ("split", "bucket", "supervised")
NO_FREQUENCY = 2**63 - 1


def query_groups(
    collection: Collection, protocol: Protocol = "production", cuts: tuple[int, int] = (3, 7)
) -> pa.Table:
    """The split and bucket of each query, and whether it is supervised.

    All is read from the table `splits`, as `prepare` wrote it. What an older table or a team's own
    lacks is worked out here, and nowhere else. A query is supervised, which is to say that its
    sessions and annotations may reach training, if it is of the split train; under the protocol
    "production" also if humans judged it and it was searched in the log window, as in production
    the clicks of a judged query are in the log. Human judgments themselves never reach training.

    Args:
        collection: with queries; without a table `splits` every query is supervised.
        protocol: which queries are supervised, where the table does not say.
        cuts: the deciles of `frequency_buckets`, where the table names no bucket.

    Returns:
        query_id, frequency, split (null where the table does not list the query), bucket and
        supervised (bool), a row for each of `collection.queries` in their order.
    """
    queries, splits = collection.queries, collection.splits
    row = pc.index_in(queries["query_id"], value_set=splits["query_id"])
    split, bucket, supervised = (
        splits[name].take(row).combine_chunks()
        if name in splits.column_names
        else pa.nulls(queries.num_rows)
        for name in OF_SPLITS
    )
    if bucket.null_count:
        counted = pa.array(frequency_buckets(queries["frequency"].to_numpy(), cuts), pa.string())
        bucket = pc.coalesce(bucket.cast(pa.string()), counted)
    if supervised.null_count:
        supervised = pc.coalesce(
            supervised.cast(pa.bool_()), _by_protocol(collection, split, protocol)
        )
    return pa.table(
        {
            "query_id": queries["query_id"],
            "frequency": queries["frequency"],
            "split": split.cast(pa.string()),
            "bucket": bucket,
            "supervised": supervised,
        }
    )


@dataclass(frozen=True)
class GroupRules:
    """What all queries together decide of the groups of some of them.

    Attributes:
        floors: from how many searches on a query is of the buckets high and medium, see
            `bucket_floors`.
        any_splits: whether the table `splits` lists any query.
    """

    floors: tuple[float, float]
    any_splits: bool


def bucket_floors(counts: Mapping[int, int], cuts: tuple[int, int] = (3, 7)) -> tuple[float, float]:
    """From how many searches on `frequency_buckets` calls a query high, and medium.

    Args:
        counts: of each frequency, how many queries have it.
        cuts: see `frequency_buckets`.

    >>> bucket_floors({900: 1, 500: 1, 200: 1, 30: 1, 25: 1, 20: 1, 10: 1, 3: 1, 2: 1, 1: 9})
    (200.0, 20.0)
    """
    frequency = np.array(sorted((value for value in counts if value > 1), reverse=True), np.int64)
    queries = np.array([counts[value] for value in frequency.tolist()], np.int64)
    # Of equal frequencies the mean rank, from 0.5 on.
    rank = np.cumsum(queries) - queries / 2
    decile = np.floor(10 * rank / max(queries.sum(), 1))
    high, medium = (frequency[decile < cut].min(initial=NO_FREQUENCY) for cut in cuts)
    return float(high), float(medium)


def splits_of_part(tables: Mapping[str, pa.Table], rules: GroupRules) -> pa.Table:
    """The table `splits` of some queries, by which `query_groups` tells of them what it would of
    all.

    Args:
        tables: queries, splits and, if there are any, judgments, of these queries.
        rules: of all queries.
    """
    queries, splits = tables["queries"], tables["splits"]
    judgments = tables.get("judgments", empty_table("judgments"))
    nothing = empty_table("documents")
    collection = Collection(queries, nothing, nothing, nothing, judgments, splits)
    groups = query_groups(collection)
    frequency = queries["frequency"].to_numpy()
    counted = np.select([frequency >= floor for floor in rules.floors], BUCKETS[:-1], BUCKETS[-1])
    row = pc.index_in(queries["query_id"], value_set=splits["query_id"])
    bucket = pc.coalesce(splits["bucket"].take(row), pa.array(counted, pa.string()))
    supervised = groups["supervised"]
    if rules.any_splits and splits.num_rows == 0:
        supervised = pa.array([False] * queries.num_rows)
    return pa.table(
        {
            "query_id": queries["query_id"],
            "split": groups["split"],
            "bucket": bucket,
            "supervised": supervised,
        }
    )


def complete_splits(collection: Collection, protocol: Protocol, cuts: tuple[int, int]) -> pa.Table:
    """The table `splits` with the bucket and supervision of each of its queries, as data.

    Args:
        collection: with queries and splits.
        protocol: see `query_groups`.
        cuts: see `query_groups`.
    """
    groups, splits = query_groups(collection, protocol, cuts), collection.splits
    row = pc.index_in(splits["query_id"], value_set=groups["query_id"])
    for name in ("bucket", "supervised"):
        column = groups[name].take(row)
        if (place := splits.schema.get_field_index(name)) < 0:
            splits = splits.append_column(name, column)
        else:
            splits = splits.set_column(place, name, column)
    return splits


def reported_groups(collection: Collection) -> pd.DataFrame:
    """The groups of `GROUPS` that each query is in: its bucket, "all", and "in the log" or "new".

    A query is in the log if it was searched in the log window.

    Args:
        collection: with queries.

    Returns:
        query_id and group, three rows for each query, in the order of `GROUPS`.
    """
    groups = query_groups(collection).select(["query_id", "frequency", "bucket"]).to_pandas()
    searched = groups["frequency"] > 0
    members = {bucket: groups["bucket"] == bucket for bucket in BUCKETS}
    members |= {"all": searched | True, IN_LOG: searched, NEW: ~searched}
    return pd.concat(
        [groups.loc[members[group], ["query_id"]].assign(group=group) for group in GROUPS],
        ignore_index=True,
    )


def _by_protocol(collection: Collection, split: pa.Array, protocol: Protocol) -> pa.Array:
    queries = collection.queries
    if collection.splits.num_rows == 0:
        return pa.array([True] * queries.num_rows)
    supervised = pc.equal(split, "train")
    if protocol == "production":
        judged = pc.is_in(
            queries["query_id"], value_set=pc.unique(collection.judgments["query_id"])
        )
        searched = pc.and_(judged, pc.greater(queries["frequency"], 0)).combine_chunks()
        supervised = pc.or_(supervised, pc.and_(searched, pc.is_valid(split)))
    return pc.fill_null(supervised, False)
