"""Pictures of a report: their colours and marks, and their way into a page as SVG."""

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from corpus.shown_text import printable
from evaluation.report.parts import Picture, slug

# Colours that people with each kind of colour blindness tell apart (Okabe & Ito, 2008), without
# yellow, which is faint on white. Marks and lines tell the same apart without any colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", "-.", ":")
SIZE = (4.6, 3.4)  # inches; as wide as a phone can show with letters that can be read
# Of a legend: letters in a row, those that a mark takes, and inches from row to row.
LETTERS_ACROSS, LETTERS_OF_MARK, ROW = 60, 6, 0.19
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def new_panel(across: str, up: str, size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    """An empty figure with one panel and its axes' labels."""
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    panel.set_xlabel(plain(across))
    panel.set_ylabel(plain(up))
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.3, linewidth=0.6)
    return figure, panel


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, mark and line of each name: no two of 70 names share both colour and mark.

    >>> styles(["click", "famol"])["famol"]
    {'color': '#D55E00', 'marker': 's', 'linestyle': '--'}
    """
    return {
        name: {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKS[number % len(MARKS)],
            "linestyle": LINES[number % len(LINES)],
        }
        for number, name in enumerate(names)
    }


def draw_points(
    panel: Axes,
    name: str,
    style: dict[str, Any],
    across: ArrayLike,
    up: ArrayLike,
    across_ends: ArrayLike | None = None,
    up_ends: ArrayLike | None = None,
) -> None:
    """Marks without a line, with bars over their intervals.

    Args:
        panel: to draw into.
        name: of the marks, in the legend.
        style: of the marks, from `styles`.
        across: numbers along the axis, shape (points,).
        up: numbers up the axis, shape (points,).
        across_ends: the low and high ends of intervals along the axis, shape (2, points), NaN where
            there is none; None for no bars.
        up_ends: the same up the axis.
    """
    marks = style | {"linestyle": ""}
    panel.plot(across, up, markersize=6, label=plain(name), **marks)
    panel.errorbar(
        across,
        up,
        xerr=_spread(across, across_ends),
        yerr=_spread(up, up_ends),
        fmt="none",
        elinewidth=1,
        ecolor=style["color"],
    )


def draw_line(
    panel: Axes, name: str, style: dict[str, Any], rows: pd.DataFrame, across: str
) -> None:
    """A line through marks, with bars over their intervals.

    Args:
        panel: to draw into.
        name: of the line, in the legend.
        style: of the line and its marks, from `styles`.
        rows: the points, ascending, with value and, where they are known, low and high.
        across: the column of the axis across.
    """
    draw_points(panel, name, style, rows[across], rows["value"], up_ends=ends_of(rows))
    panel.plot(rows[across], rows["value"], color=style["color"], linestyle=style["linestyle"])


def ends_of(rows: pd.DataFrame) -> NDArray[np.float64] | None:
    """The columns low and high, shape (2, rows), or None where they are not known."""
    if not {"low", "high"} <= set(rows.columns):
        return None
    return np.asarray(rows[["low", "high"]].to_numpy(float).T)


def count_across(panel: Axes) -> None:
    """Whole numbers alone along the axis across, as of positions and epochs."""
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def make_logarithmic(panel: Axes) -> None:
    """A logarithmic axis across, with plain numbers so sparse that they do not run into others."""
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def add_legend(figure: Figure, panel: Axes) -> None:
    """A legend below the panel, where it covers nothing, in a figure that grows with it."""
    handles, labels = panel.get_legend_handles_labels()
    if labels:
        columns = max(1, min(3, LETTERS_ACROSS // (max(map(len, labels)) + LETTERS_OF_MARK)))
        rows = -(-len(labels) // columns)
        figure.set_figheight(figure.get_figheight() + ROW * max(rows - 1, 0))
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
        )


def plain(text: str) -> str:
    """A text from data as Matplotlib draws it as it is, and not as a formula.

    >>> plain("$5 or $6")
    '\\\\$5 or \\\\$6'
    """
    return printable(text).replace("$", r"\$")


def svg_of(picture: Picture) -> str:
    """The picture as an SVG element of a page, with words for those who do not see it.

    Letters are text, so that a page can be searched and read aloud, and shows scripts that
    Matplotlib's font lacks. Ids begin with the picture's name, since a page has several pictures.
    """
    buffer = io.BytesIO()
    # The salt makes ids, and so the page, the same in each run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": picture.name}):
        picture.figure.savefig(buffer, format="svg", metadata={"Date": None})
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    prefix = slug(picture.name)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _with_prefix(key, value, prefix))
    title = ET.Element(f"{{{SVG}}}title", {"id": f"{prefix}-title"})
    title.text = printable(picture.text)
    root.insert(0, title)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title")
    return ET.tostring(root, encoding="unicode")


def _spread(values: ArrayLike, ends: ArrayLike | None) -> NDArray[np.float64] | None:
    if ends is None:
        return None
    return np.nan_to_num(np.abs(np.asarray(ends, float) - np.asarray(values, float)))


def _with_prefix(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == f"{{{XLINK}}}href":
        return value.replace("#", f"#{prefix}-", 1)
    return re.sub(r"url\(#", f"url(#{prefix}-", value)
