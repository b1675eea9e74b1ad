"""The front of the search: head against tail, or whichever measures were searched for."""

from itertools import pairwise

import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.figures import COLOURS, add_legend, draw_points, new_panel, plain, styles
from evaluation.report.parts import Estimate, Picture, Section, Table
from evaluation.report.trade_offs import SQUARE, join_frontier
from tuning.analysis.reading import HEAD, TAIL, Search


def front_section(search: Search) -> Section | None:
    """The trials that no other beats on both of two measures; None where none has both."""
    searched = list(pairwise(search.objectives))
    pairs = [*searched, *([(HEAD, TAIL)] if (HEAD, TAIL) not in searched else [])]
    parts: list[Picture | Table] = []
    for across, up in pairs:
        points = search.complete.dropna(subset=[across, up])
        if points.empty:
            continue
        figure, front = _draw(points, across, up)
        text = f"{up} of each trial against {across}"
        caption = (
            f"{text}, on validation queries; colours and marks are kinds of mix, large ones with a "
            "black edge known points. The line joins the trials that no other beats on both."
        )
        parts.append(Picture(f"front {across} {up}", figure, text, caption))
        shown = front[["number", "known", "kind"]].rename(
            columns={"number": "trial", "known": "known point"}
        )
        for name in (across, up):
            values = [Estimate(value) for value in front[name]]
            shown[name] = pd.Series(values, shown.index, dtype=object)
        told = (
            f"The front of {across} and {up}, from the best by the first to the best by the second."
        )
        parts.append(Table(f"front {across} {up}", shown, told))
    return Section("Head against tail", parts) if parts else None


def _draw(points: pd.DataFrame, across: str, up: str) -> tuple[Figure, pd.DataFrame]:
    figure, panel = new_panel(across, up, size=SQUARE)
    kinds = points["kind"].fillna("unknown").astype(str)
    looks = styles(sorted(kinds.unique()))
    searched, known = points[points["known"].isna()], points[points["known"].notna()]
    for kind, style in looks.items():
        of_kind = searched[kinds.loc[searched.index] == kind]
        if len(of_kind):
            draw_points(panel, kind, style, of_kind[across], of_kind[up])
    for number, (name, style) in enumerate(styles(known["known"].unique()).items()):
        of_name = known[known["known"] == name]
        panel.plot(
            of_name[across],
            of_name[up],
            linestyle="",
            marker=style["marker"],
            color=COLOURS[(number + 3) % len(COLOURS)],
            markersize=11,
            markeredgecolor="black",
            label=plain(name),
        )
    front = join_frontier(panel, points.rename(columns={across: "across", up: "up"}))
    add_legend(figure, panel)
    return figure, points.loc[front.index]
