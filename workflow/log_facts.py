"""What a log, a judge's annotations and human judgments hold, as far as it decides what to use."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.quality.agreement import read_grades
from clicks.labels import inverse_propensity_labels
from clicks.log.distinct import compact_sessions, list_results, session_counts
from clicks.propensities import estimate_propensities
from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.places import Place
from corpus.tables import Collection, table_path
from evaluation.diagnosis import PAIR, correlation_given
from evaluation.means import bootstrap_interval
from evaluation.measures import candidate_gains, telling_queries
from evaluation.significance import LEVEL, detectable_effect

MAX_WEIGHT = 20.0  # of a click, as of `fit_clicks`
TESTED_GROUPS = 6  # of queries, in which a ranker is compared with a baseline
# Standard deviation over queries of the difference in nDCG@10 of two trained rankers: in the demo
# it is 0.06 (fusion and annotations) to 0.14 (clicks and annotations).
SPREAD = 0.1


@dataclass(frozen=True)
class Agreement:
    """Rank correlation of the judge's grades with a reference, within queries, from -1 to 1.

    Attributes:
        value: mean over queries.
        low: lower end of its 95 % interval, NaN with fewer than two queries.
        high: upper end of it.
        queries: how many have pairs that both tell apart.
    """

    value: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Facts:
    """What decides which signal to learn from; shares are from 0 to 1.

    Attributes:
        queries: all queries of the collection.
        searched: those that were searched in the log window.
        searches: searches in the window.
        once: share of the searched queries that were searched once; 0 without any.
        traffic: share of the searches by bucket (high, medium, low) of their queries.
        pairs: candidate pairs.
        shown: share of them that the log shows.
        shown_often: share of them that it shows at least `least_impressions` times.
        least_impressions: see `shown_often`.
        clicks: clicks in the window.
        positions: positions of the log's pages.
        unknown_positions: how many of them have a propensity that the log does not tell.
        unknown_clicks: share of the clicks below the first position that lie at these.
        judged: queries of the split test by bucket, and all, that human grades tell rankings of
            their candidates apart on.
        detectable: the least difference in nDCG@10 that these queries show, by bucket and all;
            infinite where there are too few.
        held_out: searches after the window.
        annotated: share of the candidate pairs of queries that training may read which the judge
            graded; None without annotations.
        shown_annotated: share of the shown candidate pairs that it graded.
        with_humans: the judge and human judgments; None without either, or pairs of both.
        with_clicks: the judge and clicks weighted by inverse propensity, likewise.
    """

    queries: int
    searched: int
    searches: int
    once: float
    traffic: dict[str, float]
    pairs: int
    shown: float
    shown_often: float
    least_impressions: int
    clicks: int
    positions: int
    unknown_positions: int
    unknown_clicks: float
    judged: dict[str, int]
    detectable: dict[str, float]
    held_out: int
    annotated: float | None = None
    shown_annotated: float = 0.0
    with_humans: Agreement | None = None
    with_clicks: Agreement | None = None


def measure_facts(
    collection: Collection, folder: Place, annotations: Place | None, least_impressions: int
) -> Facts:
    """Measures what decides.

    Args:
        collection: the tables; sessions, judgments and splits may be empty.
        folder: where they are, for messages.
        annotations: folder of one judge's annotations, or None.
        least_impressions: from how many impressions on a pair counts as shown often.

    Raises:
        InputError: there are no candidates, or the annotations are broken, of several judges, or
            of another collection.
    """
    if collection.candidates.num_rows == 0:
        raise InputError(
            f"{table_path(folder, 'candidates')}: has no rows, and without candidates there is "
            "nothing to rank or annotate; prepare the collection from a log, or with a first stage"
        )
    pairs = collection.candidates.select(PAIR).to_pandas()
    groups = query_groups(collection).to_pandas()
    frequency = groups["frequency"]
    searched = int((frequency > 0).sum())
    by_bucket = frequency.groupby(groups["bucket"]).sum()
    sessions = collection.sessions
    results = _results(sessions)
    of_pairs = results.groupby(PAIR, as_index=False)[["impressions", "clicks"]].sum()
    pairs = pairs.merge(of_pairs, "left", PAIR).fillna({"impressions": 0, "clicks": 0})
    clicks = int(results["clicks"].sum())
    propensity = _propensities(sessions) if clicks else np.full(_positions(results), np.nan)
    unknown = np.isnan(propensity)
    unknown[:1] = False  # of the first position it is 1
    below = results[results["position"] > 1]
    lost = below["clicks"].to_numpy() @ unknown[below["position"].to_numpy() - 1]
    below_clicks = int(below["clicks"].sum())
    judged = _judged(collection, pairs, groups)
    facts = Facts(
        queries=len(groups),
        searched=searched,
        searches=int(session_counts(sessions).sum()),
        once=float((frequency == 1).sum() / max(searched, 1)),
        traffic={
            bucket: float(by_bucket.get(bucket, 0) / max(frequency.sum(), 1)) for bucket in BUCKETS
        },
        pairs=len(pairs),
        shown=_share(pairs["impressions"] > 0),
        shown_often=_share(pairs["impressions"] >= least_impressions),
        least_impressions=least_impressions,
        clicks=clicks,
        positions=len(propensity),
        unknown_positions=int(unknown.sum()),
        unknown_clicks=float(lost / below_clicks) if below_clicks else float(unknown.any()),
        judged=judged,
        detectable={name: detectable(queries) for name, queries in judged.items()},
        held_out=int(session_counts(collection.held_out_sessions).sum()),
    )
    if annotations is None:
        return facts
    grades = read_grades(annotations).drop(columns="grade")
    graded = pairs.merge(grades, "left", PAIR)["expected_grade"].notna()
    if not graded.any():
        raise InputError(
            f"{table_path(annotations, 'annotations')}: has a grade of none of the {len(pairs):,} "
            f"candidate pairs of {folder}; give the annotations of this collection"
        )
    shown = pairs["impressions"] > 0
    supervised = pairs["query_id"].isin(groups["query_id"][groups["supervised"]])
    judgments = collection.judgments.select([*PAIR, "grade"]).to_pandas()
    labels = None
    if clicks and facts.unknown_clicks < 1:
        weighed = [(sessions, np.minimum(np.where(unknown, np.nan, propensity), 1.0))]
        labels = inverse_propensity_labels(weighed, MAX_WEIGHT).to_pandas()
        labels = labels.rename(columns={"relevance": "value"})
    return replace(
        facts,
        annotated=_share(graded[supervised]),
        shown_annotated=_share(graded[shown]),
        with_humans=agree(grades, judgments.rename(columns={"grade": "value"})),
        with_clicks=None if labels is None else agree(grades, labels),
    )


def agree(grades: pd.DataFrame, reference: pd.DataFrame) -> Agreement | None:
    """How the judge's grades go with a reference, within queries.

    Args:
        grades: query_id, doc_id and expected_grade.
        reference: query_id, doc_id and value.

    Returns:
        Spearman's rank correlation, as `evaluation.diagnosis.correlation_given` has it, of queries
        on which the reference differs; None without any.
    """
    run = grades.rename(columns={"expected_grade": "score"})
    truth = reference[[*PAIR, "value"]].assign(all=0)
    values = correlation_given(run, truth, "value", "all").to_numpy().astype(np.float64)
    if not len(values):
        return None
    low, high = bootstrap_interval(values[:, None])
    return Agreement(float(values.mean()), float(low[0]), float(high[0]), len(values))


def detectable(queries: int) -> float:
    """The least difference in nDCG@10 that a paired test of so many queries shows.

    In 80 % of such experiments, of one ranker and one baseline in all groups of queries, and at a
    spread of their difference as the demo has it.
    """
    return SPREAD * detectable_effect(queries, LEVEL / TESTED_GROUPS) if queries else np.inf


def _share(rows: "pd.Series[bool]") -> float:
    return float(rows.mean()) if len(rows) else 0.0


def _results(sessions: pa.Table) -> pd.DataFrame:
    """query_id, doc_id, position, impressions and clicks of the log's results."""
    if sessions.num_rows == 0:
        columns = ("query_id", "doc_id", "position", "impressions", "clicks")
        return pd.DataFrame({name: [] for name in columns}).astype({"position": int})
    return list_results(compact_sessions(sessions)).to_pandas()


def _positions(results: pd.DataFrame) -> int:
    return int(results["position"].max()) if len(results) else 0


def _propensities(sessions: pa.Table) -> NDArray[np.float64]:
    """By position, NaN where the log does not tell it."""
    table = estimate_propensities(sessions, resamples=0).sort_by("position")
    return np.array(table["propensity"].to_numpy(), dtype=np.float64)


def _judged(collection: Collection, pairs: pd.DataFrame, groups: pd.DataFrame) -> dict[str, int]:
    """Test queries whose human grades tell rankings apart, by bucket and all."""
    of_test = groups[groups["split"] == "test"]
    judged = collection.judgments["query_id"]
    graded = pairs[pairs["query_id"].isin(of_test["query_id"])]
    graded = graded[graded["query_id"].isin(pc.unique(judged).to_pylist())]
    telling = telling_queries(candidate_gains(graded, collection.judgments))
    buckets = of_test[of_test["query_id"].isin(telling)]["bucket"].value_counts()
    return {bucket: int(buckets.get(bucket, 0)) for bucket in BUCKETS} | {"all": len(telling)}
