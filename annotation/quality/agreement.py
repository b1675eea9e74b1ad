"""The job `agreement`: a judge's grades compared with humans, with clicks, with another judge."""

import json
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata
from sklearn.metrics import confusion_matrix

from annotation.prompts.prompt import GRADES
from annotation.quality.agreement_measures import measure_agreement
from annotation.quality.grade_scales import HIGHEST, HumanScale, human_scale
from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.output_folder import begin_output, finish_output, warn_unfinished
from corpus.places import Place, whole_file, write_whole
from corpus.tables import read_collection, read_table, table_path

PAIR = ["query_id", "doc_id"]


def agreement(
    collection: Place,
    annotations: Place,
    output: Place,
    click_labels: Place | None = None,
    other_annotations: Place | None = None,
    relevant_from: int = 2,
    highest_human_grade: int | None = None,
    resamples: int = 200,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Compares annotations with human judgments, click labels and another judge's annotations.

    For each and by query frequency: Cohen's kappa (plain, and with quadratic weights),
    Krippendorff's alpha (ordinal), and over all pairs and as a mean over queries Kendall's tau-b
    and the AUC of relevant against irrelevant; and the confusion matrix. Intervals are of 95 %, by
    a bootstrap over queries. Writes agreement.json and agreement.svg.

    Args:
        collection: folder of the collection; its judgments are the human grades.
        annotations: folder with annotations.parquet of one judge.
        output: folder to write agreement.json and agreement.svg into.
        click_labels: folder with click_labels.parquet, to compare with clicks as well.
        other_annotations: folder with another judge's annotations.parquet, to compare with it too.
        relevant_from: the judge's lowest grade, 1 to 3, that counts as relevant: for the AUC, and
            where humans only told relevant from irrelevant.
        highest_human_grade: the highest grade of the scale, from 0, that humans graded on: 1 where
            they only told relevant from irrelevant; by default the highest judgment.
        resamples: the number of bootstrap resamples of queries, at least 1.
        seed: seed of the bootstrap.
        resume: do nothing if the output is complete.

    Raises:
        InputError: an input is missing or broken, or there is nothing to compare with.
    """
    if not 1 <= relevant_from <= max(GRADES):
        raise InputError(f"relevant_from must be between 1 and {max(GRADES)}, not {relevant_from}")
    if highest_human_grade is not None and highest_human_grade < 1:
        raise InputError(f"highest_human_grade must be at least 1, not {highest_human_grade}")
    if resamples < 1 or seed < 0:
        raise InputError(f"resamples ({resamples}) must be at least 1, seed ({seed}) at least 0")
    tables = read_collection(collection)
    judged = read_grades(annotations)
    of_judges = HumanScale(HIGHEST, relevant_from)
    references: dict[str, tuple[pd.DataFrame, HumanScale]] = {}
    if tables.judgments.num_rows:
        judgments = tables.judgments.to_pandas()
        source = str(table_path(collection, "judgments"))
        scale = human_scale(judgments, highest_human_grade, relevant_from, source)
        references["human"] = human_grades(judgments, scale), scale
    if click_labels is not None:
        labels = read_table(click_labels, "click_labels").to_pandas()
        references["clicks"] = grades_of_clicks(labels, judged), of_judges
    if other_annotations is not None:
        references["other judge"] = read_grades(other_annotations), of_judges
    if not references:
        raise InputError(
            f"{collection}: has no judgments; give --click_labels or --other_annotations to "
            "compare the annotations with"
        )
    compared = {
        name: pair_grades(judged, reference, scale)
        for name, (reference, scale) in references.items()
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
        "highest_human_grade": highest_human_grade,
        "resamples": resamples,
        "seed": seed,
    }
    if not begin_output(output, "agreement", settings, resume):
        print(f"{output}: is complete; nothing to do")
        return
    queries = query_groups(tables).select(["query_id", "bucket"]).to_pandas()
    report = {}
    for name, pairs in compared.items():
        bucketed = pairs.merge(queries, on="query_id")
        report[name] = compare_by_bucket(bucketed, references[name][1].levels, resamples, seed)
    write_whole(output / "agreement.json", json.dumps(report, indent=2) + "\n")
    with whole_file(output / "agreement.svg") as file:
        plot_agreement(report).savefig(file, format="svg")
    finish_output(output)
    print_agreement(report)
    if "human" in references:
        print(_told_scale(references["human"][1], highest_human_grade is None))
    for line in _undefined(compared):
        print(line)
    print(f"{output}: agreement.json, agreement.svg")


def compare_by_bucket(
    pairs: pd.DataFrame, levels: int, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Measures, their intervals and the confusion matrix, by bucket and for all.

    Args:
        pairs: the table from `pair_grades`, with a column bucket (high, medium or low).
        levels: the highest grade of the scale on which both are compared.
        resamples: the number of bootstrap resamples, at least 1.
        seed: seed of the bootstrap.

    Returns:
        For each bucket, and "all": the numbers of pairs and of queries; confusion, a matrix with a
        row for each grade of the reference, 0 to `levels`, and a column for each grade of the
        judge, 0 to 3; and measures, as `measure_agreement` returns them.
    """
    report = {}
    for bucket in (*BUCKETS, "all"):
        chosen = pairs if bucket == "all" else pairs[pairs["bucket"] == bucket]
        confusion = (
            confusion_matrix(chosen["grade_reference"], chosen["judge_grade"], labels=GRADES)[
                : levels + 1
            ]
            if len(chosen)
            else np.zeros((0, 0), int)
        )
        report[bucket] = {
            "pairs": len(chosen),
            "queries": int(chosen["query_id"].nunique()),
            "confusion": confusion.tolist(),
            "measures": measure_agreement(chosen, resamples, seed),
        }
    return report


def pair_grades(judged: pd.DataFrame, reference: pd.DataFrame, scale: HumanScale) -> pd.DataFrame:
    """The pairs that both have graded, as `annotation.quality.agreement_measures` takes them.

    Args:
        judged: the judge's grades, from `read_grades`.
        reference: query_id, doc_id, grade (on the scale on which both are compared) and relevant
            (bool); without it, grades from the scale's `relevant_from` on are relevant.
        scale: the scale of the reference.

    Returns:
        query_id, doc_id, the judge's judge_grade (0 to 3), grade (on the common scale) and
        expected_grade (0 to 3), and the reference's grade_reference and relevant.
    """
    shown = reference.rename(columns={"grade": "grade_reference"})
    pairs = judged.merge(shown.drop(columns="expected_grade", errors="ignore"), on=PAIR)
    if "relevant" not in pairs:
        pairs["relevant"] = pairs["grade_reference"] >= scale.relevant_from
    return pairs.assign(judge_grade=pairs["grade"], grade=scale.of_judge(pairs["grade"]))


def read_grades(folder: Place) -> pd.DataFrame:
    """Reads the grades of one judge: query_id, doc_id, grade, expected_grade.

    Pairs without a grade are left out. A missing expected grade is the grade.

    Raises:
        InputError: the table is missing or broken, or a pair has more than one grade.
    """
    table = read_table(folder, "annotations").to_pandas().dropna(subset=["grade"])
    table["expected_grade"] = table["expected_grade"].fillna(table["grade"])
    warn_unfinished(folder)
    repeated = table[table.duplicated(["query_id", "doc_id"])]
    if len(repeated):
        pair = repeated.iloc[0]
        raise InputError(
            f"{folder}: query {pair['query_id']!r} and document {pair['doc_id']!r} have more than "
            "one grade; merge annotators first (ray_jobs/merge.py)"
        )
    return table[["query_id", "doc_id", "grade", "expected_grade"]].astype({"grade": int})


def human_grades(judgments: pd.DataFrame, scale: HumanScale) -> pd.DataFrame:
    """Human grades on the common scale, and whether they mean relevant: columns grade, relevant."""
    return judgments[PAIR].assign(
        grade=scale.of_humans(judgments["grade"]),
        relevant=judgments["grade"] >= scale.relevant_for_humans,
    )


def grades_of_clicks(labels: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Grades for click labels: by rank of relevance, with as many of each grade as the judge gives.

    Equal labels have the same mean rank, and so the same grade.
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
            ends = ("value", "low", "high")
            values = np.array([[found["measures"][key][e] for e in ends] for key in names], float)
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


def _shown(
    value: float | None, low: float | None, high: float | None, queries: int | None = None
) -> str:
    if value is None:
        return "-"
    interval = "" if low is None else f"\n{low:.2f}…{high:.2f}"
    return f"{value:.2f}{interval}" + ("" if queries is None else f"\n({queries:,} queries)")


def _told_scale(scale: HumanScale, found: bool) -> str:
    how = ", the highest of the judgments (--highest_human_grade tells another)" if found else ""
    return (
        f"humans graded from 0 to {scale.highest}{how}; relevant is {scale.relevant_for_humans} "
        f"and more to them, {scale.relevant_from} and more to the judge"
    )


def _undefined(compared: dict[str, pd.DataFrame]) -> list[str]:
    """Says why measures are missing."""
    lines = []
    for name, pairs in compared.items():
        for side, column in (("judge", "grade"), (name, "grade_reference")):
            if len(pairs[column].unique()) == 1:
                lines.append(
                    f"every pair has the grade {pairs[column].iloc[0]} of the {side}: what needs "
                    "different grades is not defined (null), and kappa and alpha say nothing; "
                    "judgments of irrelevant documents belong in the collection too"
                )
    return lines
