"""Sections on trade-offs: head against tail, human judgments against traffic."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.report.figures import (
    add_legend,
    draw_points,
    ends_of,
    new_panel,
    styles,
)
from evaluation.report.headline import means_table
from evaluation.report.parts import Picture, Section

SQUARE = (4.6, 4.4)  # inches


def frontier_section(
    measures: pd.DataFrame, measure: str, head: str = "high", tail: str = "low"
) -> Section:
    """Each ranker's head against its tail, and the frontier of those that no other beats on both.

    Args:
        measures: ranker, measure, bucket (the group of queries), value, and low and high, the
            bounds of its interval, where they are known.
        measure: the measure to show.
        head: the group across.
        tail: the group up.
    """
    shown = measures[measures["measure"] == measure]
    across, up = _of_ranker(shown, "bucket", head), _of_ranker(shown, "bucket", tail)
    axes = (f"{measure}, queries of {head} frequency", f"{measure}, queries of {tail} frequency")
    figure, frontier = _draw_frontier(across, up, axes)
    caption = (
        f"{measure} on frequent (across) against rare queries (up), with 95 % intervals. The line "
        f"joins the rankers that no other beats on both: {', '.join(frontier)}. It goes by the "
        "means alone; whether a difference is shown is in the tables of tests."
    )
    return Section(
        "Head against tail",
        [Picture("frontier", figure, f"{measure}: head against tail of each ranker", caption)],
    )


def two_truths_section(
    measures: pd.DataFrame,
    human: str,
    traffic: str,
    further: Sequence[str] = (),
    comparison: pd.DataFrame | None = None,
) -> Section:
    """What human judgments and what held-out traffic say of each ranker, and their trade-off.

    Args:
        measures: as for `frontier_section`.
        human: the measure against human judgments.
        traffic: the measure against the traffic after the log window.
        further: further measures against that traffic, each shown in a table.
        comparison: the paired tests against a baseline, as for `headline_section`.
    """
    of_all = measures[measures["bucket"] == "all"]
    across, up = _of_ranker(of_all, "measure", human), _of_ranker(of_all, "measure", traffic)
    figure, frontier = _draw_frontier(across, up, (f"{human} (human judgments)", traffic))
    tables = [
        means_table(
            f"truth {name}",
            measures,
            name,
            f"{name} of each ranker by group of queries, with 95 % intervals where they are known.",
            comparison,
        )
        for name in (traffic, *further)
    ]
    caption = (
        "What people read in the text (across) against what users did later (up), over all "
        "measured queries, with 95 % intervals. The line joins the rankers that no other beats on "
        f"both: {', '.join(frontier)}."
    )
    return Section(
        "Two truths: human judgments and held-out traffic",
        [
            "Human judgments tell how well a document's text answers a query. The traffic after "
            "the log window tells what users chose, quality and habit included; its clicks are "
            "weighted by inverse propensity, since users see the top of a page more often. A "
            "ranker can win by one and lose by the other.",
            Picture("two-truths", figure, f"{human} against {traffic} of each ranker", caption),
            *tables,
        ],
    )


def _of_ranker(shown: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    return shown[shown[column] == name].drop_duplicates("ranker").set_index("ranker")


def _draw_frontier(
    across: pd.DataFrame, up: pd.DataFrame, axes: tuple[str, str]
) -> tuple[Figure, list[str]]:
    """Each ranker as a point, and the names of those that no other beats on both axes."""
    figure, panel = new_panel(*axes, size=SQUARE)
    names = [name for name in across.index if name in up.index]
    for name, style in styles(names).items():
        one, other = across.loc[[name]], up.loc[[name]]
        ends = ends_of(one), ends_of(other)
        draw_points(panel, name, style, one["value"], other["value"], *ends)
    points = pd.DataFrame({"across": across["value"], "up": up["value"]}).loc[names].dropna()
    frontier = join_frontier(panel, points)
    add_legend(figure, panel)
    return figure, [str(name) for name in frontier.index]


def join_frontier(panel: Axes, points: pd.DataFrame) -> pd.DataFrame:
    """Joins the points that no other beats on both axes; returns them."""
    best = points.sort_values(["across", "up"], ascending=False)
    frontier = best[best["up"] > best["up"].cummax().shift(fill_value=-np.inf)]
    panel.plot(frontier["across"], frontier["up"], color="#666666", linewidth=1, zorder=0)
    return frontier
