"""The tables of `evaluate`: means with intervals, and bold only where a win is shown."""

import math
import re
from typing import NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.measures import JUDGED, MAIN_MEASURE
from evaluation.significance import LEVEL, WINS


class Cell(NamedTuple):
    """A mean as it is shown, its interval, and whether it is shown to be above the baseline's."""

    value: str
    interval: str
    wins: bool


def print_comparison(measures: pd.DataFrame, comparison: pd.DataFrame, baseline: str) -> None:
    """Prints, for each measure that was tested, the means of each ranker by group of queries.

    Bold is a ranker that wins against the baseline, below each mean is its interval, and lines
    below the table say what was tested.

    Args:
        measures: ranker, measure, bucket (the group), value, low, high and queries.
        comparison: from `evaluation.significance.compare`, of the measures to print.
        baseline: the ranker compared with.
    """
    for measure in comparison["measure"].unique():
        cells, heads = _cells(measures, comparison, str(measure))
        table = Table(title=f"{measure} by query frequency", box=box.SIMPLE_HEAD)
        table.add_column("ranker")
        for head in heads:
            table.add_column("\n".join(head), justify="right")
        for ranker, row in cells.items():
            shown = (
                (f"[bold]{cell.value}[/]" if cell.wins else cell.value) + f"\n{cell.interval}"
                for cell in row
            )
            table.add_row(ranker, *shown)
        Console().print(table)
    for line in tested_lines(comparison, baseline):
        print(line)


def markdown_comparison(measures: pd.DataFrame, comparison: pd.DataFrame, baseline: str) -> str:
    """The tables that `print_comparison` prints, in Markdown.

    Args:
        measures: as `print_comparison` takes it.
        comparison: as `print_comparison` takes it.
        baseline: the ranker compared with.
    """
    lines = []
    for measure in comparison["measure"].unique():
        cells, heads = _cells(measures, comparison, str(measure))
        lines += [f"{measure} by query frequency:", ""]
        lines += ["| ranker | " + " | ".join(" ".join(head) for head in heads) + " |"]
        lines += ["|---|" + "---:|" * len(heads)]
        for ranker, row in cells.items():
            shown = (
                f"{f'**{cell.value}**' if cell.wins else cell.value} {cell.interval}".strip()
                for cell in row
            )
            lines += [f"| {ranker} | " + " | ".join(shown) + " |"]
        lines += [""]
    return "\n".join([*lines, *tested_lines(comparison, baseline)]) + "\n"


def tested_lines(comparison: pd.DataFrame, baseline: str) -> list[str]:
    """What was tested, and which groups had too few queries for a test.

    Args:
        comparison: from `evaluation.significance.compare`.
        baseline: the ranker compared with.
    """
    tested = comparison[comparison["p"].notna()]
    counts = [
        f"{number} {column}" + "s" * (number > 1)
        for column in ("ranker", "group", "measure")
        for number in [tested[column].nunique()]
    ]
    lines = [
        f"Bold: wins against {baseline!r} (paired t-tests over queries, p < {LEVEL} after Holm's "
        f"correction for {len(tested):,} tests of {', '.join(counts)}). Below a mean: its 95 % "
        "bootstrap interval."
    ]
    untested = comparison[comparison["p"].isna()].drop_duplicates(["measure", "group"])
    for measure, of_measure in untested.groupby("measure", sort=False):
        sizes = zip(of_measure["group"], of_measure["queries"], strict=True)
        groups = ", ".join(f"{group} ({queries})" for group, queries in sizes)
        lines.append(f"{measure} is not tested on {groups}: a test takes at least two queries.")
    return lines


def _cells(
    measures: pd.DataFrame, comparison: pd.DataFrame, measure: str
) -> tuple[dict[str, list[Cell]], list[tuple[str, str]]]:
    """The rows of a table by ranker, and the heads of its columns: name and number of queries."""
    measures = measures.astype({"bucket": str})
    shown = measures[measures["measure"] == measure].set_index(["ranker", "bucket"])
    won = comparison[(comparison["measure"] == measure) & (comparison["verdict"] == WINS)]
    wins = set(zip(won["ranker"], won["group"], strict=True))
    groups = comparison["group"].unique()
    by_humans = (measures["measure"] == JUDGED) & (measure == MAIN_MEASURE)
    judged = measures[by_humans & (measures["bucket"] == "all")]
    judged_share = judged.set_index("ranker")["value"]
    rows = {}
    for ranker in shown.index.get_level_values("ranker").unique():
        of_group = [shown.loc[ranker, group] for group in groups]
        rows[str(ranker)] = [
            Cell(_number(row["value"]), _interval(row), (ranker, group) in wins)
            for group, row in zip(groups, of_group, strict=True)
        ]
        if len(judged_share):
            rows[str(ranker)].append(Cell(f"{judged_share[ranker]:.0%}", "", False))
    counts = shown["queries"].groupby(level="bucket").max()
    heads = [(str(group), f"({counts[group]:,})") for group in groups]
    return rows, heads + ([("judged", "@10")] if len(judged_share) else [])


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _interval(row: "pd.Series[float]") -> str:
    """Two digits, without the zero before the point, so that six groups fit on a line.

    >>> _interval(pd.Series({"low": 0.849, "high": 1.0}))
    '.85–1.00'
    >>> _interval(pd.Series({"low": -0.302, "high": -0.25}))
    '-.30–-.25'
    """
    if math.isnan(row["low"]):
        return ""
    ends = (f"{end:.2f}" for end in row[["low", "high"]])
    return "–".join(re.sub("^(-?)0", r"\1", end) for end in ends)
