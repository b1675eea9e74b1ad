"""How `prepare` parts what is learned from and what is measured on: the log, and the queries."""

from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from corpus.candidates import judged_candidates
from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import Protocol, complete_splits
from corpus.places import Place
from corpus.schemas import SPLITS
from corpus.splits import TEST, TRAIN, split_queries
from corpus.tables import Collection, table_path


@dataclass(frozen=True)
class Parting:
    """Settings of `prepare`, which its docstring explains."""

    held_out: float = 0.2
    protocol: Protocol = "production"
    bucket_cuts: tuple[int, int] = (3, 7)
    judged_candidates: bool = False


def check_parting(held_out: float, bucket_cuts: tuple[int, int]) -> None:
    """Refuses settings of `prepare` that no data could make right.

    Raises:
        InputError: naming the setting.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"held_out must be at least 0 and below 1, not {held_out}")
    if not 0 <= bucket_cuts[0] <= bucket_cuts[1] <= 10:
        raise InputError(f"bucket_cuts must be 0 <= medium <= low <= 10, not {list(bucket_cuts)}")


def part_queries(
    collection: Collection, parting: Parting, seed: int, source: str | Place
) -> Collection:
    """Gives queries their split, bucket and supervision, as far as the collection has them not.

    Args:
        collection: with the sessions of the log window, and frequencies counted there.
        parting: settings.
        seed: the same seed gives the same splits.
        source: the folder of the splits, which errors name.

    Returns:
        The collection with complete splits and, where the settings ask for it, with judged
        documents as candidates of queries that have no other and are not for test.

    Raises:
        InputError: the collection's own splits supervise what the protocol forbids.
    """
    strict = parting.protocol == "strict"
    if collection.splits.num_rows == 0:
        queries = collection.queries
        judged = pc.is_in(
            queries["query_id"], value_set=pc.unique(collection.judgments["query_id"])
        )
        nothing_searched = not pc.any(pc.greater(queries["frequency"], 0)).as_py()
        splits = split_queries(queries, judged.to_numpy(), strict or nothing_searched, seed)
        collection = replace(collection, splits=splits)
    elif strict:
        _refuse_supervised(collection, source)
    splits = complete_splits(collection, parting.protocol, parting.bucket_cuts)
    collection = replace(collection, splits=splits)
    if parting.judged_candidates:
        test = splits["query_id"].filter(pc.equal(splits["split"], TEST))
        candidates = judged_candidates(collection.candidates, collection.judgments, test)
        collection = replace(collection, candidates=candidates)
    return collection


def describe_parting(splits: pa.Table) -> str:
    """One line on how many queries there are of each split and bucket, and are supervised.

    Args:
        splits: the table splits, complete.
    """
    frame = splits.select(["split", "bucket", "supervised"]).to_pandas()
    parts = [
        ", ".join(f"{int((frame[column] == name).sum()):,} {name}" for name in names)
        for column, names in (("split", SPLITS), ("bucket", BUCKETS))
    ]
    return f"queries: {'; '.join(parts)}; {int(frame['supervised'].sum()):,} may train"


def _refuse_supervised(collection: Collection, source: str | Place) -> None:
    splits = collection.splits
    if "supervised" not in splits.column_names:
        return
    told = pc.fill_null(splits["supervised"].cast(pa.bool_()), False)
    others = splits.filter(pc.and_(told, pc.not_equal(splits["split"], TRAIN)))
    if others.num_rows:
        raise InputError(
            f"{table_path(source, 'splits')}: column 'supervised' is true for {others.num_rows:,} "
            f"queries of validation or test, as {others['query_id'][0].as_py()!r}, which the "
            "protocol strict forbids; leave the column out"
        )
