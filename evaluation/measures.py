"""Measures of rankings against human grades, by frequency bucket, with ir-measures."""

import ir_measures
import pandas as pd
import pyarrow as pa
from ir_measures import AP, RR, nDCG

from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.tables import Collection
from evaluation.trec_run import in_trec_order

MEASURES = [nDCG @ 1, nDCG @ 3, nDCG @ 5, nDCG @ 10, RR, AP]
MAIN_MEASURE = "nDCG@10"


def measure_run(run: pd.DataFrame, judgments: pa.Table) -> pd.DataFrame:
    """Measures a ranking of each query against human grades.

    nDCG takes the grade as gain (trec_eval's definition: Jarvelin & Kekalainen, TOIS 2002); RR
    and AP count grades of 1 and more as relevant. Unjudged documents count as irrelevant, and
    queries without a relevant judged document are left out, since all their rankings measure the
    same. Equal scores are ordered as in the file of the run, see `in_trec_order`.

    Args:
        run: query_id, doc_id and score (finite float) of each ranked document.
        judgments: the table judgments of the collection.

    Returns:
        query_id, measure ("nDCG@10", "RR", "AP", ...), value in [0, 1].
    """
    qrels = judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    qrels = qrels[qrels["query_id"].isin(run["query_id"])]
    answerable = qrels["query_id"][qrels["grade"] > 0].unique()
    qrels = qrels[qrels["query_id"].isin(answerable)].rename(columns={"grade": "relevance"})
    if qrels.empty:
        return pd.DataFrame({"query_id": [], "measure": [], "value": []})
    ranked = in_trec_order(run[run["query_id"].isin(answerable)])[["query_id", "doc_id"]]
    # Ranks instead of scores, so that no library orders equal scores in its own way.
    ranked["score"] = -ranked.groupby("query_id").cumcount().astype(float)
    values = ir_measures.iter_calc(MEASURES, qrels, ranked)
    rows = [(value.query_id, str(value.measure), value.value) for value in values]
    return pd.DataFrame(rows, columns=["query_id", "measure", "value"])


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
