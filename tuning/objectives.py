"""What a search looks for: measures of validation, several of them, or a weighted sum of some."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from corpus.by_query import by_query
from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.places import Place
from corpus.query_parts import QueryPart
from corpus.tables import Collection

ALL = "nDCG@10_all"
MEASURES = (ALL, *(f"nDCG@10_{bucket}" for bucket in BUCKETS))
# Each bucket's measure by the share of searches that fall to its queries in the log.
TRAFFIC = "nDCG@10_traffic"


@dataclass(frozen=True)
class Objectives:
    """What to make as high as it can be.

    Attributes:
        weighted: an objective a row: the weight of each measure in it, by name; they sum to 1.
        names: what each objective is called.
    """

    weighted: tuple[dict[str, float], ...]
    names: tuple[str, ...]

    @property
    def single(self) -> bool:
        """Whether there is one number to go by, so that trials can be compared while they run."""
        return len(self.weighted) == 1

    @property
    def measures(self) -> list[str]:
        """The measures that are asked for."""
        return sorted({name for weights in self.weighted for name in weights})

    def values(self, measures: Mapping[str, float]) -> list[float]:
        """The objectives' values of a trial or an epoch with these measures."""
        return [
            sum(weight * measures[name] for name, weight in weights.items())
            for weights in self.weighted
        ]

    def chosen_by(self, measures: Mapping[str, float]) -> float:
        """The one number that chooses among trials; of several objectives, nDCG@10 of all."""
        return self.values(measures)[0] if self.single else measures[ALL]


def check_objectives(objectives: Sequence[str] | Mapping[str, float]) -> None:
    """Refuses what names no measure, or weights that are none.

    Raises:
        InputError: naming the objective.
    """
    known = (*MEASURES, TRAFFIC)
    if not objectives:
        raise InputError("objectives: name at least one measure")
    for name in objectives:
        if name not in known:
            raise InputError(f"objectives: there is no {name!r}; take {', '.join(known)}")
    if len(set(objectives)) < len(objectives):
        raise InputError("objectives: names a measure twice")
    if isinstance(objectives, Mapping):
        if not all(0 <= weight < float("inf") for weight in objectives.values()):
            raise InputError("objectives: a weight must be at least 0")
        if sum(objectives.values()) <= 0:
            raise InputError("objectives: the weights sum to 0")


def read_objectives(
    objectives: Sequence[str] | Mapping[str, float], searches: Mapping[str, int]
) -> Objectives:
    """The objectives of a search.

    Args:
        objectives: measures, each an objective; or measures with weights, which make one.
        searches: of each bucket in the log, for `TRAFFIC`.
    """
    check_objectives(objectives)
    if isinstance(objectives, Mapping):
        one = {name: float(weight) for name, weight in objectives.items() if weight > 0}
        return Objectives((_by_bucket(one, searches),), ("weighted",))
    rows = tuple(_by_bucket({name: 1.0}, searches) for name in objectives)
    return Objectives(rows, tuple(objectives))


def _by_bucket(weights: Mapping[str, float], searches: Mapping[str, int]) -> dict[str, float]:
    """The weights with `TRAFFIC` resolved into buckets, so that they sum to 1."""
    total, resolved = sum(weights.values()), dict[str, float]()
    for name, weight in weights.items():
        parts = {name: 1.0}
        if name == TRAFFIC:
            everything = sum(searches.values())
            if everything == 0:
                raise InputError(f"objectives: {TRAFFIC} needs a log, and this one has no searches")
            of = {f"nDCG@10_{bucket}": count for bucket, count in searches.items()}
            parts = {part: count / everything for part, count in of.items() if count}
        for part, share in parts.items():
            resolved[part] = resolved.get(part, 0.0) + share * weight / total
    return resolved


def searches_by_bucket(collection: Place, connect: Callable[[], None]) -> dict[str, int]:
    """How many searches of the log fall to the queries of each bucket.

    Args:
        collection: its folder.
        connect: see `corpus.by_query.by_query`.

    Raises:
        TableError: a table is missing or broken.
    """
    sources = dict.fromkeys(("queries", "splits", "judgments"), collection)
    counted = pa.concat_tables(by_query(sources, _count_searches, connect))
    sums = counted.group_by("bucket").aggregate([("frequency", "sum")]).to_pydict()
    found = dict(zip(sums["bucket"], sums["frequency_sum"], strict=True))
    return {bucket: int(found.get(bucket, 0)) for bucket in BUCKETS}


def _count_searches(part: QueryPart) -> pa.Table:
    tables = dict.fromkeys(("documents", "candidates", "sessions"), pa.table({})) | part.tables
    groups = query_groups(Collection(**tables))
    return (
        groups.group_by("bucket")
        .aggregate([("frequency", "sum")])
        .rename_columns({"frequency_sum": "frequency"})
    )


def query_weights(weights: Mapping[str, float], buckets: "pd.Series[str]") -> "pd.Series[float]":
    """What each query counts, so that the mean over queries is the weighted sum of measures.

    Args:
        weights: of measures, summing to 1.
        buckets: of the measured queries, by query_id.

    Returns:
        Factors by query_id; queries that no measure counts are left out, and the mean over those
        that are left is the weighted sum.

    >>> buckets = pd.Series({"a": "high", "b": "low", "c": "low"})
    >>> query_weights({"nDCG@10_low": 1.0}, buckets).to_dict()
    {'b': 1.0, 'c': 1.0}
    >>> query_weights({"nDCG@10_high": 0.5, "nDCG@10_low": 0.5}, buckets).to_dict()
    {'a': 1.5, 'b': 0.75, 'c': 0.75}
    """
    factors = pd.Series(0.0, index=buckets.index)
    for measure, weight in weights.items():
        counted = np.ones(len(buckets), dtype=bool)
        if measure != ALL:
            counted = (buckets == measure.removeprefix("nDCG@10_")).to_numpy()
        factors[counted] += weight / counted.sum()
    counted = (factors > 0).to_numpy()
    return factors[counted] * counted.sum()
