"""The job `agreement`: how far a judge's grades go with humans, with clicks, with another judge."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap, kendalltau, rankdata
from sklearn.metrics import cohen_kappa_score, confusion_matrix, roc_auc_score

from annotation.prompts import GRADES
from corpus.errors import InputError
from corpus.frequency import BUCKETS, frequency_buckets
from corpus.output_folder import begin_output, finish_output, warn_unfinished
from corpus.tables import read_collection, read_table

Measure = Callable[[pd.DataFrame], float]
Interval = dict[str, float | None]
# Under fewer, an interval would pretend to know something.
LEAST_QUERIES = 3


def agreement(
    collection: Path,
    annotations: Path,
    output: Path,
    click_labels: Path | None = None,
    other_annotations: Path | None = None,
    relevant_from: int = 2,
    resamples: int = 200,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Compares annotations with human judgments, click labels and another judge's annotations.

    For each and by query frequency: Cohen's kappa (plain, and with quadratic weights), Kendall's
    tau-b, Krippendorff's alpha (ordinal), the AUC of relevant against irrelevant, and the confusion
    matrix. Intervals are of 95 %, by a bootstrap over queries. Writes agreement.json and
    agreement.svg.

    Args:
        collection: folder of the collection; its judgments are the humans'.
        annotations: folder with annotations.parquet of one judge.
        output: folder to write into.
        click_labels: folder with click_labels.parquet to compare with as well.
        other_annotations: folder with another judge's annotations.parquet.
        relevant_from: the lowest grade, 1 to 3, that counts as relevant for the AUC.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        resume: do nothing if the output is complete.

    Raises:
        InputError: an input is missing or broken, or there is nothing to compare with.
    """
    if not 1 <= relevant_from <= max(GRADES):
        raise InputError(f"relevant_from must be between 1 and {max(GRADES)}, not {relevant_from}")
    if resamples < 1 or seed < 0:
        raise InputError(f"resamples ({resamples}) must be at least 1, seed ({seed}) at least 0")
    tables = read_collection(collection)
    judged = read_grades(annotations)
    references = {}
    if tables.judgments.num_rows:
        references["human"] = human_grades(tables.judgments.to_pandas())
    if click_labels is not None:
        labels = read_table(click_labels, "click_labels").to_pandas()
        references["clicks"] = grades_of_clicks(labels, judged)
    if other_annotations is not None:
        references["other judge"] = read_grades(other_annotations)
    if not references:
        raise InputError(
            f"{collection}: has no judgments; give --click_labels or --other_annotations to "
            "compare the annotations with"
        )
    compared = {
        name: judged.merge(reference, on=["query_id", "doc_id"], suffixes=("", "_reference"))
        for name, reference in references.items()
    }
    for name, pairs in compared.items():
        if pairs.empty:
            raise InputError(f"{annotations}: has no pair that the reference {name!r} has too")
    settings = {
        "collection": str(collection),
        "annotations": str(annotations),
        "click_labels": click_labels and str(click_labels),
        "other_annotations": other_annotations and str(other_annotations),
        "relevant_from": relevant_from,
        "resamples": resamples,
        "seed": seed,
    }
    if not begin_output(output, "agreement", settings, resume):
        print(f"{output}: is complete; nothing to do")
        return
    queries = tables.queries.select(["query_id", "frequency"]).to_pandas()
    queries["bucket"] = frequency_buckets(queries["frequency"].to_numpy())
    report = {}
    for name, pairs in compared.items():
        bucketed = pairs.merge(queries, on="query_id")
        report[name] = compare_by_bucket(bucketed, relevant_from, resamples, seed)
    (output / "agreement.json").write_text(json.dumps(report, indent=2) + "\n")
    plot_agreement(report).savefig(output / "agreement.svg")
    finish_output(output)
    print_agreement(report)
    print(f"{output}: agreement.json, agreement.svg")


def measures(relevant_from: int) -> dict[str, Measure]:
    """The measures of agreement, by name; each takes grade, expected_grade and grade_reference.

    kappa and quadratic_kappa: Cohen (1960, 1968); alpha: Krippendorff (2011), ordinal; tau:
    Kendall's tau-b of expected grades; auc: the chance that of a relevant and an irrelevant
    document the relevant one has the higher expected grade. NaN where a measure is not defined,
    as of a single grade.
    """
    return {
        "kappa": partial(_kappa, weights=None),
        "quadratic_kappa": partial(_kappa, weights="quadratic"),
        "tau": _tau,
        "alpha": _alpha,
        "auc": partial(_auc, relevant_from=relevant_from),
    }


def compare_by_bucket(
    pairs: pd.DataFrame, relevant_from: int, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Measures, their intervals and the confusion matrix, by bucket and for all.

    Args:
        pairs: query_id, bucket, grade, expected_grade, grade_reference.
        relevant_from: see `agreement`.
        resamples: see `agreement`.
        seed: see `agreement`.

    Returns:
        By bucket: pairs, queries, confusion (rows: reference, columns: judge) and measures: of
        each its value and its interval's ends, low and high, None where they are not defined.
    """
    report = {}
    for bucket in (*BUCKETS, "all"):
        chosen = pairs if bucket == "all" else pairs[pairs["bucket"] == bucket]
        found: dict[str, Any] = {
            "pairs": len(chosen),
            "queries": int(chosen["query_id"].nunique()),
            "confusion": confusion_matrix(
                chosen["grade_reference"], chosen["grade"], labels=GRADES
            ).tolist()
            if len(chosen)
            else [],
        }
        found["measures"] = {
            name: _with_interval(chosen, measure, resamples, seed)
            for name, measure in measures(relevant_from).items()
        }
        report[bucket] = found
    return report


def read_grades(folder: Path) -> pd.DataFrame:
    """Grades of one judge: query_id, doc_id, grade, expected_grade; failed pairs are left out.

    Raises:
        InputError: the table is missing or broken, or a pair has more than one grade.
    """
    table = read_table(folder, "annotations").to_pandas().dropna(subset=["grade"])
    warn_unfinished(folder)
    repeated = table[table.duplicated(["query_id", "doc_id"])]
    if len(repeated):
        pair = repeated.iloc[0]
        raise InputError(
            f"{folder}: query {pair['query_id']!r} and document {pair['doc_id']!r} have more than "
            "one grade; merge annotators first (ray_jobs/merge.py)"
        )
    return table[["query_id", "doc_id", "grade", "expected_grade"]].astype({"grade": int})


def human_grades(judgments: pd.DataFrame) -> pd.DataFrame:
    """Human grades on the judge's scale: 0 to 3 as they are, higher scales shrunk and rounded."""
    highest = max(judgments["grade"].max(), max(GRADES))
    grade = (judgments["grade"].clip(lower=0) * max(GRADES) / highest).round().astype(int)
    return judgments[["query_id", "doc_id"]].assign(grade=grade)


def grades_of_clicks(labels: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Grades for click labels, which have none: by rank, with the judge's share of each grade.

    Equal labels have their mean rank, and so the same grade.
    """
    shared = labels.merge(judged, on=["query_id", "doc_id"])
    rank = rankdata(shared["relevance"], method="average")
    grade = np.sort(shared["grade"].to_numpy())[np.floor(rank - 0.5).astype(int)]
    return shared[["query_id", "doc_id"]].assign(grade=grade)


def plot_agreement(report: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """One row for each reference: the measures by bucket with intervals, and the confusion."""
    figure = Figure(figsize=(10, 3.2 * len(report)), layout="constrained")
    axes = figure.subplots(len(report), 2, squeeze=False, width_ratios=[3, 1])
    for (name, by_bucket), (left, right) in zip(report.items(), axes, strict=True):
        names = list(by_bucket["all"]["measures"])
        for shift, (bucket, found) in enumerate(by_bucket.items()):
            values = np.array([list(found["measures"][key].values()) for key in names], float)
            left.errorbar(
                np.arange(len(names)) + 0.15 * (shift - 1.5),
                values[:, 0],
                yerr=np.abs(values[:, 1:].T - values[:, 0]),
                fmt="o",
                label=bucket,
            )
        left.set_xticks(range(len(names)), names)
        left.set_title(f"judge and {name}")
        left.legend(fontsize="small")
        matrix = np.array(by_bucket["all"]["confusion"])
        right.imshow(matrix, cmap="Blues")
        for (row, column), count in np.ndenumerate(matrix):
            right.text(column, row, f"{count:,}", ha="center", va="center")
        right.set_xlabel("judge")
        right.set_ylabel(name)
    return figure


def print_agreement(report: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Prints one table for each reference."""
    for name, by_bucket in report.items():
        shown = Table(title=f"agreement of the judge and {name}, with intervals of 95 %")
        names = list(by_bucket["all"]["measures"])
        for heading in ("queries", "pairs", *names):
            shown.add_column(heading.replace("_", "\n"), justify="right")
        for bucket, found in by_bucket.items():
            cells = [_shown(**found["measures"][key]) for key in names]
            shown.add_row(f"{bucket}\n({found['queries']:,})", f"{found['pairs']:,}", *cells)
        Console().print(shown)


def _shown(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + ("" if low is None else f"\n{low:.2f}…{high:.2f}")


def _with_interval(pairs: pd.DataFrame, measure: Measure, resamples: int, seed: int) -> Interval:
    """The measure and its 95 % interval: percentiles over resampled queries."""
    value = measure(pairs)
    rows = list(pairs.groupby("query_id", sort=True).indices.values())
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    if len(rows) < LEAST_QUERIES:
        return {"value": round(value, 4), "low": None, "high": None}

    def resampled(queries: NDArray[np.int64]) -> float:
        return measure(pairs.iloc[np.concatenate([rows[query] for query in queries])])

    result = bootstrap(
        (np.arange(len(rows)),),
        resampled,
        vectorized=False,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = np.nanquantile(result.bootstrap_distribution, [0.025, 0.975])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _kappa(pairs: pd.DataFrame, weights: str | None) -> float:
    if len(np.unique(pairs[["grade", "grade_reference"]])) < 2:
        return np.nan
    first, second = pairs["grade"], pairs["grade_reference"]
    return float(cohen_kappa_score(first, second, labels=GRADES, weights=weights))


def _tau(pairs: pd.DataFrame) -> float:
    if len(pairs) < 2:
        return np.nan
    return float(kendalltau(pairs["expected_grade"], pairs["grade_reference"]).statistic)


def _alpha(pairs: pd.DataFrame) -> float:
    coded = pairs[["grade", "grade_reference"]].to_numpy().T
    if len(np.unique(coded)) < 2:
        return np.nan
    return float(krippendorff.alpha(reliability_data=coded, level_of_measurement="ordinal"))


def _auc(pairs: pd.DataFrame, relevant_from: int) -> float:
    relevant = pairs["grade_reference"] >= relevant_from
    if relevant.nunique() < 2:
        return np.nan
    return float(roc_auc_score(relevant, pairs["expected_grade"]))
