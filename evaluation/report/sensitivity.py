"""How rankers do as a world's settings change, and where two of them cross."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from corpus.groups import GROUPS
from evaluation.report.figures import (
    add_legend,
    draw_line,
    make_logarithmic,
    new_panel,
    styles,
)
from evaluation.report.headline import in_order, known
from evaluation.report.parts import Estimate, Picture, Section, Table
from evaluation.significance import LOSES, WINS

WIDE = 20  # times the lowest level: an axis that goes so far is logarithmic


def crossings_section(differences: pd.DataFrame, measure: str, pair: tuple[str, str]) -> Section:
    """Where two rankers cross as each setting changes, and their difference at each level.

    Args:
        differences: as `crossings_table` takes them, with `low` and `high`, the bounds of the
            interval of the difference.
        measure: what differs.
        pair: the two rankers.
    """
    one, other = pair
    crossings = Table(
        "crossings",
        crossings_table(differences, pair),
        f"The level of each setting at which {one} and {other} are equal, by straight lines "
        "between the levels, and who wins at both ends. All other settings are those of the "
        "default world.",
    )
    estimates = [
        Estimate(
            row["difference"], known(row["low"]), known(row["high"]), row["verdict"], signed=True
        )
        for row in differences.to_dict("records")
    ]
    column = pd.Series(estimates, index=differences.index, dtype=object)
    shown = differences.assign(difference=column)
    columns = ["setting", "level", "bucket", "queries", "difference", "p_holm"]
    table = shown[columns].rename(columns={"p_holm": "p (Holm)"})
    caption = (
        f"{measure} of {one} less {other}, with 95 % intervals, and p of paired tests over queries "
        "after Holm's correction for all rows."
    )
    return Section(
        f"Where {one} and {other} cross",
        [
            "A crossing goes by the means alone. It is shown only where one wins on one side of it "
            "and the other on the other side.",
            crossings,
            Table("differences", table, caption),
        ],
    )


def crossings_table(differences: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """A row for each setting and group of queries: where two rankers cross, and who wins where.

    Args:
        differences: setting (what changes), level (its number), bucket (the group of queries),
            difference (the first ranker less the second; NaN where there are no queries) and
            verdict (of a test that the first wins or loses).
        pair: the two rankers.

    Returns:
        setting, bucket, "cross at" ("–" where they do not), "lowest level" and "highest level" (of
        those with queries), each with who wins there and by how much.
    """
    rows = []
    known_only = differences.dropna(subset="difference")
    for setting in differences["setting"].unique():
        of_setting = known_only[known_only["setting"] == setting]
        for group in in_order(of_setting["bucket"], GROUPS):
            line = of_setting[of_setting["bucket"] == group].sort_values("level")
            found = line_crossings(line["level"], line["difference"])
            ends = [_said(row, pair) for row in (line.iloc[0], line.iloc[-1])]
            at = ", ".join(f"{level:.3g}" for level in found) or "–"
            rows.append([setting, group, at, *ends])
    columns = ["setting", "bucket", "cross at", "lowest level", "highest level"]
    return pd.DataFrame(rows, columns=columns)


def sensitivity_section(sensitivity: pd.DataFrame, measure: str, pair: tuple[str, str]) -> Section:
    """How each ranker does as one setting of the world changes, and where two rankers cross.

    Args:
        sensitivity: setting (what changes), level (its number), ranker, bucket (the group of
            queries), value, and low and high, the bounds of its interval, where they are known.
        measure: what the value is.
        pair: the two rankers whose crossings are marked.
    """
    pictures = []
    for setting in sensitivity["setting"].unique():
        of_setting = sensitivity[sensitivity["setting"] == setting]
        for group in in_order(of_setting["bucket"], GROUPS):
            rows = of_setting[of_setting["bucket"] == group]
            label = f"{measure} by {setting}, {group} queries"
            figure, crossings = _draw(rows, str(setting), measure, pair)
            crossed = ""
            if crossings:
                at = ", ".join(f"{level:.3g}" for level in crossings)
                crossed = f" The lines of {' and '.join(pair)} cross at {at}."
            caption = f"{label}, with 95 % intervals.{crossed}"
            pictures.append(Picture(f"sensitivity {setting} {group}", figure, label, caption))
    caption = f"{measure} of each ranker at each level of each setting."
    return Section("Sensitivity", [*pictures, Table("sensitivity", sensitivity, caption)])


def line_crossings(levels: "pd.Series[float]", differences: "pd.Series[float]") -> list[float]:
    """Where a line of differences crosses 0, on an axis as it is drawn: logarithmic if wide."""
    if not is_wide(levels):
        return find_crossings(levels, differences)
    return [float(np.exp(at)) for at in find_crossings(np.log(levels), differences)]


def is_wide(levels: "pd.Series[float]") -> bool:
    """Whether levels, ascending or not, are drawn on a logarithmic axis."""
    return bool(levels.min() > 0 and levels.max() >= WIDE * levels.min())


def find_crossings(levels: Iterable[float], differences: Iterable[float]) -> list[float]:
    """Where a difference changes its sign, by straight lines between the levels.

    >>> find_crossings([1, 2, 4], [-1.0, 1.0, 3.0])
    [1.5]
    """
    points = list(zip(levels, differences, strict=True))
    apart = [place for place, (_, difference) in enumerate(points) if difference != 0]
    found = []
    for place, following in pairwise(apart):
        (left, before), (right, after) = points[place], points[following]
        if before * after < 0:
            equal = following > place + 1  # at the level after `place`
            at = left + (right - left) * before / (before - after)
            found.append(points[place + 1][0] if equal else at)
    return found


def _said(row: "pd.Series", pair: tuple[str, str]) -> str:
    who = {WINS: f"{pair[0]} wins", LOSES: f"{pair[1]} wins"}.get(row["verdict"], row["verdict"])
    return f"{row['level']:g}: {who} ({row['difference']:+.3f})"


def _draw(
    rows: pd.DataFrame, setting: str, measure: str, pair: tuple[str, str]
) -> tuple[Figure, list[float]]:
    figure, panel = new_panel(setting, measure)
    lines = {
        str(ranker): of_ranker.sort_values("level")
        for ranker, of_ranker in rows.groupby("ranker", sort=False)
    }
    for ranker, style in styles(lines).items():
        draw_line(panel, ranker, style, lines[ranker], "level")
    if is_wide(rows["level"]):
        make_logarithmic(panel)
    one, other = (lines[name].set_index("level")["value"] for name in pair)
    difference = (one - other).dropna()
    crossings = line_crossings(difference.index.to_series(), difference)
    for level in crossings:
        panel.axvline(level, color="#666666", linewidth=1)
    add_legend(figure, panel)
    return figure, crossings
