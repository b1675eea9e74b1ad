"""The gains that validation measures rankings by: human grades, or else labels."""

import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from evaluation.measures import MAIN_MEASURE, candidate_gains, measure_run, telling_queries

DEPTH = 10
# The names of yardsticks: human grades, and labels.
GRADE = "grade"
LABELS = {"annotation_label": "annotations", "click_label": "click labels"}


def told_apart(human: pa.Table, lists: pa.Table) -> dict[str, int]:
    """How many queries have rankings that each yardstick tells apart, by its name.

    Args:
        human: the table judgments, of any queries.
        lists: lists of the validation queries with query_id, doc_ids, annotation_label and
            click_label, from `rankers.data.lists.add_labels`.
    """
    pairs = _candidates(lists, [])
    counts = {GRADE: len(telling_queries(candidate_gains(pairs, gains_by(GRADE, human, lists))))}
    for name in LABELS:
        counts[name] = len(telling_queries(gains_by(name, human, lists).to_pandas()))
    return counts


def name_yardstick(telling: Mapping[str, int], lists: int) -> str:
    """Chooses what validation measures rankings by; prints a line if it is labels.

    Human grades, if they differ between two candidates of some query. Otherwise labels: annotations
    or, if there are none or they do not differ, click labels. The mix has no say, so that rankers
    of one collection, labels and annotations are measured by the same.

    Args:
        telling: from `told_apart`.
        lists: how many there are.

    Returns:
        `GRADE`, or one of `LABELS`.

    Raises:
        InputError: none of them tells rankings of the queries apart.
    """
    if telling[GRADE]:
        return GRADE
    for name in LABELS:
        if telling[name]:
            print(
                f"validation: no human grade tells rankings of the {lists} validation "
                f"queries apart; the best epoch is chosen by the {LABELS[name]} of {telling[name]}",
                file=sys.stderr,
            )
            return name
    raise InputError(
        f"nothing tells rankings of the {lists} validation queries apart, so that no "
        "epoch could be better than another: no human grade, annotation or click label makes one "
        "of their candidates better than another. Give some of these for them"
    )


def gains_by(name: str, human: pa.Table, lists: pa.Table) -> pa.Table:
    """The gains of the queries of lists by a yardstick.

    Args:
        name: from `name_yardstick`.
        human: see `told_apart`, and so is `lists`.

    Returns:
        query_id, doc_id and grade, int64, of all documents that humans judged for these queries; or
        query_id, doc_id and gain, double, of the candidates that have a label.
    """
    if name == GRADE:
        judged = human.filter(pc.is_in(human["query_id"], value_set=lists["query_id"]))
        return judged.select(["query_id", "doc_id", "grade"])
    pairs = _candidates(lists, [name])
    gains = pairs.assign(gain=pairs[name].astype(float)).dropna(subset="gain")
    gains = gains[["query_id", "doc_id", "gain"]].reset_index(drop=True)
    return pa.Table.from_pandas(gains, preserve_index=False)


def _candidates(lists: pa.Table, names: list[str]) -> pd.DataFrame:
    """A row for each candidate: query_id, doc_id and what columns say of it."""
    columns = ["doc_ids", *names]
    pairs = lists.select(["query_id", *columns]).to_pandas().explode(columns)
    return pairs.rename(columns={"doc_ids": "doc_id"})


def measure_by(run: pd.DataFrame, yardstick: pa.Table) -> pd.DataFrame:
    """The nDCG@10 of each query whose rankings can differ in it.

    Args:
        run: query_id, doc_id and score of each ranked document.
        yardstick: grades or gains, from `gains_by`.

    Returns:
        query_id, measure ("nDCG@10") and value, in [0, 1].
    """
    if "gain" in yardstick.column_names:
        return ndcg_of_gains(run, yardstick.to_pandas()).assign(measure=MAIN_MEASURE)
    values = measure_run(run, yardstick)
    return values[values["measure"] == MAIN_MEASURE]


def ndcg_of_gains(run: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """nDCG@10 with real-valued gains, such as click labels or expected grades.

    The discount of rank r is 1 / log2(r + 1), as in trec_eval's nDCG. Documents without a gain are
    removed from the ranking (Sakai, SIGIR 2007), since nothing is known of them, and queries whose
    gains are all equal are left out.

    Args:
        run: query_id, doc_id and score of each ranked document; equal scores keep their order.
        gains: query_id, doc_id and gain; a negative gain counts as 0.

    Returns:
        query_id and value, in [0, 1].

    >>> run = pd.DataFrame({"query_id": ["q", "q"], "doc_id": ["a", "b"], "score": [2.0, 1.0]})
    >>> float(ndcg_of_gains(run, run.assign(gain=[0.01, 0.02]))["value"].iloc[0].round(4))
    0.8597
    """
    gains = gains[["query_id", "doc_id", "gain"]].assign(gain=gains["gain"].clip(lower=0))
    known = run.merge(gains, on=["query_id", "doc_id"])
    known = known[known["query_id"].isin(telling_queries(known))]
    dcg = {}
    for column in ("score", "gain"):
        ranked = known.sort_values(column, ascending=False, kind="stable")
        rank = ranked.groupby("query_id").cumcount().to_numpy()
        discount = np.where(rank < DEPTH, 1 / np.log2(rank + 2), 0.0)
        dcg[column] = (ranked["gain"] * discount).groupby(ranked["query_id"]).sum()
    return (dcg["score"] / dcg["gain"]).rename("value").reset_index()
