"""Sections on who wins on which queries: means with intervals, paired tests, wins and losses."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from corpus.groups import GROUPS
from evaluation.report.figures import (
    add_legend,
    draw_points,
    ends_of,
    new_panel,
    plain,
    styles,
)
from evaluation.report.parts import VERDICTS, Estimate, Picture, Section, Table, Verdict


def headline_section(
    measures: pd.DataFrame,
    measure: str,
    comparison: pd.DataFrame,
    baseline: str,
) -> Section:
    """The means of one measure by group of queries, with intervals and verdicts.

    Args:
        measures: ranker, measure, bucket (the group), value, queries, and low and high, the bounds
            of the interval of the value, where they are known.
        measure: the measure to show.
        comparison: the paired tests against `baseline`, as `evaluation.significance` makes them.
        baseline: the ranker that the others are compared with.
    """
    shown = measures[measures["measure"] == measure]
    words = (
        f"Mean {measure} over the queries of each group. Below each mean is its 95 % interval, "
        "from a bootstrap over queries."
    )
    parts: list[str | Table | Picture] = []
    tested = comparison[comparison["measure"] == measure]
    if len(tested):
        parts.append(
            f"Each ranker is compared with {baseline}, query by query, by a paired test that is "
            "corrected by Holm's method for all the comparisons made. A mean is marked where a "
            "difference is shown (corrected p below 0.05), and only what wins is bold. "
            '"No difference shown" is not "equal": a smaller difference than the column detectable '
            "tells would hardly be found with so many queries."
        )
    parts += [
        Picture(
            "headline",
            _draw_means(shown, measure),
            f"{measure} of each ranker by group of queries, with 95 % intervals; the numbers are "
            "in the table below",
            f"{measure} by group of queries. Bars are 95 % intervals.",
        ),
        means_table("headline", measures, measure, words, comparison),
    ]
    if len(tested):
        caption = (
            f"{measure} against {baseline}: the difference with its 95 % interval, effect size "
            "(mean of the differences over their standard deviation), p before and after Holm's "
            "correction, the queries won, tied and lost, and the smallest difference that so many "
            "queries would detect."
        )
        parts.append(Table("comparison", comparison_table(tested), caption))
    return Section("Who wins on which queries", parts)


def all_measures_section(measures: pd.DataFrame, elsewhere: Sequence[str]) -> Section:
    """A table of means for each measure.

    Args:
        measures: as for `headline_section`.
        elsewhere: measures that other sections show.
    """
    names = [name for name in measures["measure"].unique() if name not in elsewhere]
    tables = [
        means_table(
            f"measure {name}",
            measures,
            name,
            f"Mean {name} by group of queries, with 95 % intervals where they are known.",
        )
        for name in sorted(names, key=_natural)
    ]
    return Section("All measures", tables)


def win_loss_section(duels: pd.DataFrame, measure: str) -> Section:
    """Every ranker against every other, a table for each group of queries.

    Args:
        duels: the columns of a comparison (`evaluation.significance`) and `baseline`, the ranker
            compared with.
        measure: the measure to show.
    """
    shown = duels[duels["measure"] == measure]
    tables = []
    for group in in_order(shown["group"], GROUPS):
        of_group = shown[shown["group"] == group]
        names = pd.unique(pd.concat([of_group["ranker"], of_group["baseline"]]))
        duel = {(row.ranker, row.baseline): row for row in of_group.itertuples()}
        rows = [
            {"ranker": name}
            | {
                f"against {other}": _difference(duel[name, other], counts=True)
                if (name, other) in duel
                else None
                for other in names
            }
            for name in names
        ]
        queries = int(of_group["queries"].max())
        caption = (
            f"{measure} on {_of_group(group)} ({queries:,} queries): the row's ranker less the "
            "column's, the 95 % interval of the difference, what a paired test shows after Holm's "
            "correction, and the queries won, tied and lost."
        )
        tables.append(Table(f"win loss {group}", pd.DataFrame(rows), caption))
    return Section("Every ranker against every other", tables)


def means_table(
    name: str,
    measures: pd.DataFrame,
    measure: str,
    caption: str,
    comparison: pd.DataFrame | None = None,
) -> Table:
    """A table with a row for each ranker and a column of estimates for each group of queries.

    Args:
        name: of the table.
        measures: as for `headline_section`.
        measure: the measure to show.
        caption: of the table.
        comparison: as for `headline_section`.
    """
    shown = measures[measures["measure"] == measure]
    verdicts = _verdicts(comparison, measure)
    queries = shown.groupby("bucket", observed=True)["queries"].max()
    groups = in_order(shown["bucket"], GROUPS)
    cells = {
        (row["ranker"], row["bucket"]): Estimate(
            row["value"],
            known(row.get("low")),
            known(row.get("high")),
            verdicts.get((row["ranker"], row["bucket"])),
        )
        for row in shown.to_dict("records")
    }
    rows = [
        {"ranker": ranker} | {group: cells.get((ranker, group)) for group in groups}
        for ranker in shown["ranker"].unique()
    ]
    notes = {group: f"{queries[group]:,} queries" for group in groups}
    return Table(name, pd.DataFrame(rows), caption, notes)


def comparison_table(tested: pd.DataFrame) -> pd.DataFrame:
    """A row for each comparison, its difference as an estimate with its verdict."""
    table = pd.DataFrame(
        {
            "ranker": tested["ranker"],
            "group": tested["group"].astype(str),
            "queries": tested["queries"],
            "difference": [_difference(row) for row in tested.itertuples()],
            "effect size": tested["effect_size"],
            "p": tested["p"],
            "p (Holm)": tested["p_holm"],
            "wins": tested["wins"],
            "ties": tested["ties"],
            "losses": tested["losses"],
            "detectable": tested["detectable"],
        }
    )
    order = {group: place for place, group in enumerate(in_order(tested["group"], GROUPS))}
    return table.iloc[np.argsort([order[group] for group in table["group"]], kind="stable")]


def in_order(names: "pd.Series", first: Sequence[str]) -> list[str]:
    """The distinct names: those of `first` in its order, then the others as they come."""
    there = [str(name) for name in pd.unique(names.astype(str))]
    return [name for name in first if name in there] + [name for name in there if name not in first]


def known(value: float | None) -> float | None:
    """The value, or None for NaN."""
    return None if value is None or np.isnan(value) else float(value)


def _verdicts(comparison: pd.DataFrame | None, measure: str) -> dict[tuple[str, str], Verdict]:
    """What is shown of each ranker and group; that nothing is shown is left to the other tables."""
    if comparison is None:
        return {}
    tested = comparison[comparison["measure"] == measure]
    rows: Iterable[Any] = tested[tested["verdict"].isin(VERDICTS[:2])].itertuples()
    return {(row.ranker, str(row.group)): row.verdict for row in rows}


def _difference(row: Any, counts: bool = False) -> Estimate:
    note = f"{row.wins:,} won, {row.ties:,} tied, {row.losses:,} lost" if counts else ""
    return Estimate(row.difference, known(row.low), known(row.high), row.verdict, note, signed=True)


def _draw_means(shown: pd.DataFrame, measure: str) -> Figure:
    figure, panel = new_panel("queries", measure)
    groups, rankers = in_order(shown["bucket"], GROUPS), list(shown["ranker"].unique())
    place = {group: number for number, group in enumerate(groups)}
    for number, (ranker, style) in enumerate(styles(rankers).items()):
        rows = shown[shown["ranker"] == ranker]
        shift = 0.7 * ((number + 0.5) / len(rankers) - 0.5)
        across = rows["bucket"].astype(str).map(place) + shift
        draw_points(panel, ranker, style, across, rows["value"], up_ends=ends_of(rows))
    panel.set_xticks(range(len(groups)), [plain(group).replace(" ", "\n", 1) for group in groups])
    panel.grid(visible=False, axis="x")
    add_legend(figure, panel)
    return figure


def _of_group(group: str) -> str:
    return {
        "all": "all queries",
        "in the log": "queries in the log",
        "new": "queries new to the log",
    }.get(group, f"queries of {group} frequency")


def _natural(name: str) -> tuple[str, int]:
    """Sorts nDCG@3 before nDCG@10."""
    head, _, cut = name.partition("@")
    return head, int(cut) if cut.isdigit() else 0
