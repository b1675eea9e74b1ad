"""Cells of tables, as text for people and as keys to sort by."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from corpus.shown_text import printable
from evaluation.report.parts import Estimate

MINUS, RANGE = "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """What the page shows of a cell.

    Attributes:
        text: the value.
        key: what the column is sorted by: a number as Python writes it, or a text; empty where
            there is no value.
        interval: the bounds of the value's interval, or empty.
        verdict: "wins", "loses", "no difference shown" or empty.
        note: a few words more, or empty.
    """

    text: str
    key: str
    interval: str = ""
    verdict: str = ""
    note: str = ""


def cell_of(value: Any) -> Cell:
    """The cell of a number, a text, an `Estimate`, or of nothing (None, NaN).

    >>> cell_of(Estimate(-0.0213, -0.04, -0.001, "loses", signed=True))
    Cell(text='−0.021', key='-0.0213', interval='−0.040 to −0.001', verdict='loses', note='')
    """
    if isinstance(value, Estimate):
        return _of_estimate(value)
    if is_missing(value):
        return Cell("", "")
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no", str(int(value)))
    if isinstance(value, Integral):
        return Cell(_minus(f"{int(value):,}"), str(int(value)))
    if isinstance(value, Real):
        return Cell(_minus(f"{float(value):.3g}").replace("inf", "∞"), _key(float(value)))
    text = printable(str(value))
    return Cell(text, text)


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN or pandas' NA."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def is_number(value: Any) -> bool:
    """Whether a cell is sorted as a number."""
    return isinstance(value, Estimate | Real)


def number_text(value: float, signed: bool = False) -> str:
    """A measure or a difference of measures, with three decimals."""
    return _minus(f"{value:+.3f}" if signed else f"{value:.3f}")


def interval_text(estimate: Estimate) -> str:
    """The bounds of the interval as words, or nothing where one is missing.

    >>> interval_text(Estimate(0.5, 0.412, 0.61))
    '0.412–0.610'
    """
    if estimate.low is None or estimate.high is None:
        return ""
    ends = [number_text(end, estimate.signed) for end in (estimate.low, estimate.high)]
    return (" to " if estimate.signed else RANGE).join(ends)


def _of_estimate(estimate: Estimate) -> Cell:
    if math.isnan(estimate.value):
        return Cell("", "", note=printable(estimate.note))
    return Cell(
        text=number_text(estimate.value, estimate.signed),
        key=_key(estimate.value),
        interval=interval_text(estimate),
        verdict=estimate.verdict or "",
        note=printable(estimate.note),
    )


def _key(value: float) -> str:
    """As JavaScript reads numbers, too."""
    return repr(float(value)).replace("inf", "Infinity")


def _minus(text: str) -> str:
    return text.replace("-", MINUS) if text.startswith("-") and "e" not in text else text
