"""What a system's ranking measures, of all queries at once or of some, as parts of a collection.

There is a row for each measure of each query, and what else the page of results wants of a query.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from corpus.frequency import BUCKETS
from corpus.groups import GROUPS, IN_LOG, NEW, query_groups
from corpus.schemas import empty_table
from corpus.tables import Collection
from evaluation.measures import candidate_gains, measure_run, telling_queries, unranked_queries
from evaluation.traffic import PAIR, Propensities, count_by_context, traffic_ndcg, with_scores
from evaluation.trec_writing import in_trec_order, trec_lines

# The tables of a collection that a part is measured by.
TABLES = ("queries", "splits", "judgments", "candidates", "held_out_sessions")
# Of the results: a measure of a query, its text, frequency and bucket, the document that is ranked
# first and its grade; and numbers of all queries, by how those of parts come together.
VALUE, QUERY, FIRST, SUM, LEAST = "value", "query", "first", "sum", "least"
NO_PROPENSITIES = Propensities("", None, {None: np.array([1.0])})
RESULTS = pa.schema(
    [
        ("kind", pa.string()),
        ("query_id", pa.string()),
        ("name", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
    ]
)


@dataclass(frozen=True)
class Truth:
    """What all systems are measured by.

    Attributes:
        split: whose queries are measured.
        highest: the highest grade of the collection.
        propensities: for held-out traffic; None where that does not count.
        max_weight: see `evaluation.traffic.count_traffic`.
    """

    split: str
    highest: int
    propensities: Propensities | None
    max_weight: float


@dataclass(frozen=True)
class Measured:
    """What a system measures.

    Attributes:
        results: of `RESULTS`.
        lines: its ranking as texts of a TREC run.
        traffic: from `evaluation.traffic.with_scores`, of some queries each.
    """

    results: pa.Table
    lines: Iterable[str]
    traffic: Iterable[pd.DataFrame]

    def of_kind(self, kind: str) -> pd.DataFrame:
        """The results of a kind, without that column."""
        of_kind = self.results.filter(pc.equal(self.results["kind"], kind))
        return of_kind.drop_columns(["kind"]).to_pandas()

    def total(self, name: str) -> float:
        """A number of all queries."""
        numbers = self.of_kind(SUM)
        return float(numbers["value"][numbers["name"] == name].sum())

    def least(self, name: str) -> float:
        """The least of a number, 0 where there is none."""
        numbers = self.of_kind(LEAST)
        found = numbers["value"][numbers["name"] == name].min()
        return 0.0 if pd.isna(found) else float(found)


def measure_tables(
    tables: Mapping[str, pa.Table], truth: Truth, name: str, given: bool = False
) -> Measured:
    """Measures a ranking of some queries.

    Args:
        tables: `TABLES` of these queries, without any row for others; and, but for the first stage,
            `runs`, which the system ranks.
        truth: what to measure by.
        name: of the system, for the TREC run.
        given: whether the runs are another's, of which only what is measured is kept.
    """
    collection = _collection(tables)
    groups = query_groups(collection)
    of_split = groups.filter(pc.equal(groups["split"], truth.split))["query_id"]
    first_stage = _of_queries(tables["candidates"], of_split)
    first_stage = first_stage.set_column(
        first_stage.schema.get_field_index("score"),
        "score",
        pc.negate(first_stage["rank"]).cast(pa.float64()),
    )
    candidates = first_stage.select([*PAIR, "score"]).to_pandas()
    judgments = _of_queries(tables["judgments"], of_split)
    judged = pc.unique(judgments["query_id"])
    counts = _traffic(tables["held_out_sessions"], candidates, truth)
    by_traffic = traffic_ndcg(candidates, counts)["query_id"]
    ranking = candidates
    if "runs" in tables:
        ranking = tables["runs"].select([*PAIR, "score"]).to_pandas()
    counted = of_split.filter(pc.is_in(of_split, value_set=judged)).to_pylist()
    asked = {*counted, *counts["query_id"]}
    if given:
        ranking = ranking[ranking["query_id"].isin(asked)].reset_index(drop=True)
    values = pd.concat(
        [measure_run(ranking, judgments, counted, truth.highest), traffic_ndcg(ranking, counts)]
    )
    measured = {*values["query_id"], *counts["query_id"]}
    telling = telling_queries(candidate_gains(candidates, judgments))
    with_candidates = judgments["query_id"].to_pandas().isin(candidates["query_id"])
    grades = judgments["grade"].to_pandas()[with_candidates]
    numbers = {
        "lists": candidates["query_id"].nunique(),
        "telling": len(telling),
        "by traffic": len(by_traffic),
        "judged": len(grades),
        "relevant": int((grades > 0).sum()),
        "missed": len(unranked_queries(ranking, judgments, counted)),
        "ranked": len(ranking),
        "asked": len(asked),
    }
    results = [
        values.assign(kind=VALUE).rename(columns={"measure": "name"}),
        _queries(groups, collection.queries, measured),
        _firsts(ranking[ranking["query_id"].isin(measured)], judgments),
        pd.DataFrame({"kind": SUM, "name": numbers.keys(), "value": numbers.values()}),
    ]
    if len(ranking):
        lowest = {"kind": [LEAST], "name": ["score"], "value": [ranking["score"].min()]}
        results.append(pd.DataFrame(lowest))
    table = pa.concat_tables([as_results(frame) for frame in results])
    return Measured(table, [trec_lines(ranking, name)], [with_scores(counts, ranking)])


def texts_of_measured(system: Measured) -> pd.DataFrame:
    """query_id, text, frequency and bucket of the queries that a system is measured on.

    There are a few others, so that each group has one that any query of the collection is in.
    """
    queries = system.of_kind(QUERY).rename(columns={"name": "bucket", "value": "frequency"})
    queries = queries.astype({"frequency": "int64"}).reset_index(drop=True)
    return queries[["query_id", "text", "frequency", "bucket"]]


def groups_of_queries(queries: pd.DataFrame) -> pd.DataFrame:
    """The groups that each query is in, as `corpus.groups.reported_groups` tells of a collection.

    Args:
        queries: query_id, frequency and bucket.
    """
    searched = queries["frequency"] > 0
    of_group = {bucket: queries["bucket"] == bucket for bucket in BUCKETS}
    of_group |= {"all": searched | True, IN_LOG: searched, NEW: ~searched}
    return pd.concat(
        [queries.loc[of_group[group], ["query_id"]].assign(group=group) for group in GROUPS],
        ignore_index=True,
    )


def _collection(tables: Mapping[str, pa.Table]) -> Collection:
    names = ("queries", "candidates", "judgments", "splits")
    empty = {name: empty_table(name) for name in ("documents", "sessions")}
    return Collection(**empty, **{name: tables[name] for name in names})


def _of_queries(table: pa.Table, query_ids: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.is_in(table["query_id"], value_set=query_ids))


def _traffic(sessions: pa.Table, candidates: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Counts of the held-out traffic of candidate pairs."""
    propensities = truth.propensities
    if propensities is None:
        sessions, propensities = sessions.slice(0, 0), NO_PROPENSITIES
    searched = pa.array(candidates["query_id"].unique(), pa.string())
    counts = count_by_context(_of_queries(sessions, searched), propensities, truth.max_weight)
    return counts.merge(candidates[PAIR], on=PAIR)


def _queries(groups: pa.Table, queries: pa.Table, measured: set[str]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "query_id": groups["query_id"].to_pandas(),
            "name": groups["bucket"].to_pandas(),
            "value": groups["frequency"].to_pandas().astype(float),
            "text": queries["text"].to_pandas(),
        }
    )
    # And one of each group, so that a group without any that is measured is known.
    kept = frame["query_id"].isin(measured)
    kept |= ~frame.assign(searched=frame["value"] > 0).duplicated(["name", "searched"])
    return frame[kept].assign(kind=QUERY)


def _firsts(ranking: pd.DataFrame, judgments: pa.Table) -> pd.DataFrame:
    first = in_trec_order(ranking).drop_duplicates("query_id")[PAIR]
    grades = judgments.select([*PAIR, "grade"]).to_pandas()
    graded = first.merge(grades, "left", PAIR).assign(kind=FIRST)
    return graded.rename(columns={"doc_id": "name", "grade": "value"})


def as_results(frame: pd.DataFrame) -> pa.Table:
    """The columns of `RESULTS`, null where a frame has none of that name."""
    columns = {
        field.name: pa.array(frame[field.name], field.type, from_pandas=True)
        if field.name in frame
        else pa.nulls(len(frame), field.type)
        for field in RESULTS
    }
    return pa.table(columns, RESULTS)
