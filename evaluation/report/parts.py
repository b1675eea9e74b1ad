"""What a report is made of: sections of text, tables and pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

Verdict = Literal["wins", "loses", "no difference shown"]
VERDICTS: tuple[Verdict, ...] = ("wins", "loses", "no difference shown")


@dataclass(frozen=True)
class Estimate:
    """A cell of a table: a value with what is known of its uncertainty.

    Attributes:
        value: the value, a finite float, or NaN where there is none.
        low: lower bound of its interval, or None.
        high: upper bound of its interval, or None.
        verdict: what a test says of it, if there was one. Only what wins is bold.
        note: a few words below it, such as counts of wins, ties and losses.
        signed: whether it is a difference, which is shown with its sign.
    """

    value: float
    low: float | None = None
    high: float | None = None
    verdict: Verdict | None = None
    note: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a section, which is also written as CSV and LaTeX.

    Attributes:
        name: what its files are called; no two tables of a report share it.
        frame: its rows, whose first column heads them. Cells are numbers, texts, None, or
            `Estimate`; the index is not shown.
        caption: what it shows, in a sentence or two.
        notes: a few words below the headings of columns, by the columns' names.
    """

    name: str
    frame: pd.DataFrame
    caption: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture of a section.

    Attributes:
        name: unlike that of any other picture of the report.
        figure: the picture.
        text: what it shows, in words for those who do not see it.
        caption: what it says to all.
    """

    name: str
    figure: Figure
    text: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of a report: a heading, and paragraphs, tables and pictures in their order."""

    title: str
    parts: Sequence[str | Table | Picture]


def slug(name: str) -> str:
    """The name in small letters, digits and hyphens, as ids and names of files have it.

    >>> slug("Most helped: nDCG@10, high")
    'most-helped-ndcg-10-high'
    """
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-")
