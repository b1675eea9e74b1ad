import io
import re

import numpy as np
import pandas as pd
import pytest

from evaluation.report.cells import cell_of
from evaluation.report.exports import csv_of, latex_of
from evaluation.report.parts import Estimate, Table
from tests.evaluation.report.frames import HOSTILE


@pytest.mark.parametrize(
    ("value", "text", "key"),
    [
        (1234, "1,234", "1234"),
        (np.int64(-3), "−3", "-3"),
        (0.00012345, "0.000123", "0.00012345"),
        (-2.5, "−2.5", "-2.5"),
        (float("inf"), "∞", "Infinity"),
        (float("nan"), "", ""),
        (None, "", ""),
        (pd.NA, "", ""),
        (np.True_, "yes", "1"),
        ("a\x07b", r"a\x07b", r"a\x07b"),
        (Estimate(0.5), "0.500", "0.5"),
        (Estimate(0.25, signed=True), "+0.250", "0.25"),
    ],
)
def test_cells_are_shown_and_sorted_by(value: object, text: str, key: str) -> None:
    cell = cell_of(value)
    assert (cell.text, cell.key) == (text, key)


def test_csv_keeps_all_digits_and_texts_as_they_are() -> None:
    estimate = Estimate(1 / 3, 0.25, 0.5, "wins", "3 won")
    frame = pd.DataFrame({"query": [HOSTILE, 'a, "b"\nc'], "value": [estimate, Estimate(0.5)]})
    read = pd.read_csv(io.StringIO(csv_of(Table("t", frame, "C"))), keep_default_na=False)
    assert list(read) == [
        "query",
        "value",
        "value low",
        "value high",
        "value verdict",
        "value note",
    ]
    assert read["query"].tolist() == frame["query"].tolist()
    assert read["value"].tolist() == [1 / 3, 0.5]
    assert read["value low"].tolist() == ["0.25", ""]
    assert read["value verdict"].tolist() == ["wins", ""]


def test_latex_escapes_every_text_once() -> None:
    frame = pd.DataFrame({"a_b & c": [r"50 % of $5 \x {y} #1 ~ ^ [z]", "two\nlines", ""]})
    lines = latex_of(Table("t", frame, "100 %")).splitlines()
    assert r"\caption{100 \%}" in lines
    body = lines[lines.index(r"\toprule") + 1 : lines.index(r"\bottomrule")]
    assert body == [
        r"a\_b \& c \\",
        r"\midrule",
        r"50 \% of \$5 \textbackslash{}x \{y\} \#1 \textasciitilde{} \textasciicircum{} {[}z{]} \\",
        r"two lines \\",
        r" \\",
    ]


def test_latex_has_intervals_and_bold_only_for_wins() -> None:
    cells = [Estimate(0.9, 0.8, 1.0, "wins"), Estimate(-0.1, -0.2, -0.01, "loses", signed=True)]
    text = latex_of(Table("t", pd.DataFrame({"r": ["a", "b"], "v": cells}), "C", {"v": "9 q"}))
    assert r"r & v (9 q) \\" in text
    assert r"a & \textbf{0.900}\textsuperscript{+} [0.800--1.000] \\" in text
    assert re.search(r"b & \$-\$0\.100\\textsuperscript\{--\} \[\$-\$0\.200 to ", text)
