"""Measures of rankings against human grades, by frequency bucket, with ir-measures."""

from collections.abc import Iterable

import ir_measures
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from ir_measures import AP, RR, Judged, nDCG
from numpy.typing import NDArray

from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.tables import Collection
from evaluation.graded_measures import dcg, err
from evaluation.trec_writing import in_trec_order

# Of ir-measures, by trec_eval's definitions but for Judged, which is its own.
MEASURES = [nDCG @ 1, nDCG @ 3, nDCG @ 5, nDCG @ 10, RR, AP, Judged @ 10]
DCG_DEPTHS = (1, 3, 5, 10)
ERR_DEPTH = 10
HIGHEST_GRADE = 4  # of the scale of Baidu-ULTR and TREC; ERR takes a higher one where it is given
MAIN_MEASURE = "nDCG@10"
JUDGED = "Judged@10"


def measure_run(
    run: pd.DataFrame,
    judgments: pa.Table,
    queries: Iterable[str] | None = None,
    highest: int | None = None,
) -> pd.DataFrame:
    """Measures a ranking of each query against human grades.

    nDCG takes the grade as gain (trec_eval's definition: Jarvelin & Kekalainen, TOIS 2002); RR
    and AP count grades of 1 and more as relevant; DCG and ERR are those of Baidu-ULTR, see
    `evaluation.graded_measures`, and unlike the others tell nothing of queries of other judgments.
    Judged is the share of the first ten documents that have a grade. Unjudged documents count as
    irrelevant, and queries without a relevant judged document are left out, since all their
    rankings measure the same. Equal scores are ordered as in the file of the run, see
    `in_trec_order`. Queries of the run that have no judgments are passed over, as by trec_eval.

    Args:
        run: query_id, doc_id and score (finite float) of each ranked document.
        judgments: the table judgments of the collection.
        queries: ids of the queries that count, where the run misses them too: these have 0 in all
            measures, as with trec_eval's option -c. By default those of the run.
        highest: the highest grade of the collection, where these are only some of its judgments.

    Returns:
        query_id, measure ("nDCG@10", "RR", "AP", "DCG@10", "ERR@10", "Judged@10", ...), value (in
        [0, 1] but for DCG, which is at least 0).
    """
    qrels = judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    given = qrels["grade"].max() if highest is None and len(qrels) else highest
    highest = max(HIGHEST_GRADE, int(given or 0))
    counted = run["query_id"] if queries is None else list(queries)
    qrels = qrels[qrels["query_id"].isin(counted)]
    answerable = qrels["query_id"][qrels["grade"] > 0].unique()
    qrels = qrels[qrels["query_id"].isin(answerable)].rename(columns={"grade": "relevance"})
    if qrels.empty:
        return pd.DataFrame({"query_id": [], "measure": [], "value": []})
    ranked = in_trec_order(run[run["query_id"].isin(answerable)])[["query_id", "doc_id"]]
    # Ranks instead of scores, so that no library orders equal scores in its own way.
    ranked["score"] = -ranked.groupby("query_id").cumcount().astype(float)
    values = ir_measures.iter_calc(MEASURES, qrels, ranked)
    rows = [(value.query_id, str(value.measure), value.value) for value in values]
    grades = _grades_by_rank(ranked, qrels, answerable)
    of_depth = {f"DCG@{depth}": dcg(grades, depth) for depth in DCG_DEPTHS}
    of_depth[f"ERR@{ERR_DEPTH}"] = err(grades, ERR_DEPTH, highest)
    for name, of_queries in of_depth.items():
        rows += [(q, name, float(v)) for q, v in zip(answerable, of_queries, strict=True)]
    return pd.DataFrame(rows, columns=["query_id", "measure", "value"])


def unranked_queries(run: pd.DataFrame, judgments: pa.Table, queries: Iterable[str]) -> list[str]:
    """The queries that count 0 in `measure_run` because the run has no document of theirs.

    Args:
        run: query_id of each ranked document.
        judgments: the table judgments of the collection.
        queries: ids of the queries that count.

    Returns:
        Ids of queries with a relevant judged document, in the order of `queries`.
    """
    answerable = judgments.filter(pc.greater(judgments["grade"], 0))["query_id"].to_pylist()
    missed = set(answerable).difference(run["query_id"])
    return [query_id for query_id in queries if query_id in missed]


def _grades_by_rank(
    ranked: pd.DataFrame, qrels: pd.DataFrame, query_ids: "NDArray[np.str_]"
) -> NDArray[np.float64]:
    """The grades of the first documents of each query, at least 0, shape (queries, depth)."""
    depth = max(*DCG_DEPTHS, ERR_DEPTH)
    top = ranked[ranked["score"] > -depth].merge(qrels, on=["query_id", "doc_id"])
    rows = pd.Index(query_ids).get_indexer(pd.Index(top["query_id"]))
    grades = np.zeros((len(query_ids), depth))
    grades[rows, -top["score"].to_numpy().astype(int)] = top["relevance"].clip(lower=0)
    return grades


def candidate_gains(run: pd.DataFrame, judgments: pa.Table) -> pd.DataFrame:
    """The gain of each ranked document: its grade, or 0 if it is negative or not judged.

    Args:
        run: query_id and doc_id of each ranked document.
        judgments: the table judgments of the collection.

    Returns:
        query_id, doc_id, gain (float64, at least 0), a row for each ranked document.
    """
    grades = judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    gains = run[["query_id", "doc_id"]].merge(grades, "left", ["query_id", "doc_id"])
    return gains.assign(gain=gains.pop("grade").fillna(0.0).clip(lower=0))


def telling_queries(gains: pd.DataFrame) -> "pd.Index[str]":
    """The ids of queries whose documents differ in gain; rankings of others all measure the same.

    Args:
        gains: query_id and gain of each document.
    """
    of_query = gains.groupby("query_id")["gain"]
    different = of_query.max() > of_query.min()
    return different.index[different]


def query_buckets(collection: Collection) -> "pd.Series[str]":
    """The frequency bucket of each query, indexed by query_id; see `corpus.groups.query_groups`.

    Args:
        collection: with queries and, where it was prepared, their buckets in the splits.
    """
    groups = query_groups(collection)
    return pd.Series(
        groups["bucket"].to_numpy(), index=groups["query_id"].to_numpy(), name="bucket"
    )


def mean_by_bucket(values: pd.DataFrame, buckets: "pd.Series[str]") -> pd.DataFrame:
    """Averages measures over the queries of each bucket, and over all.

    Args:
        values: measures of each query, from `measure_run`.
        buckets: frequency bucket of each query, from `query_buckets`.

    Returns:
        measure, bucket (high, medium, low, all), value (mean, in [0, 1]), queries (their number).
    """
    bucketed = values.assign(bucket=values["query_id"].map(buckets))
    both = pd.concat([bucketed, bucketed.assign(bucket="all")])
    means = both.groupby(["measure", "bucket"])["value"].agg(["mean", "count"]).reset_index()
    means["bucket"] = pd.Categorical(means["bucket"], [*BUCKETS, "all"])
    means = means.rename(columns={"mean": "value", "count": "queries"})
    return means.sort_values(["measure", "bucket"]).reset_index(drop=True)
