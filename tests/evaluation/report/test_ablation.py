"""The sections on ablations: the table of changes, and the pictures of budgets."""

import pandas as pd
import pytest

from evaluation.report.ablation import ablation_table, shares_section
from evaluation.report.parts import Estimate, Picture
from tests.evaluation.report.frames import MAIN, ablations


def test_a_change_is_told_with_its_value_and_its_difference() -> None:
    means, differences = ablations()
    table = ablation_table(means, differences, MAIN)
    assert list(table) == [
        *("setting", "level", "share", "ranker", MAIN, "difference", "p (Holm)", "high")
    ]
    rows = table.set_index(["setting", "level", "share"])
    tail = rows.loc[("policy", "tail", 0.1)]
    assert tail[MAIN] == Estimate(0.8, pytest.approx(0.79), pytest.approx(0.81))
    assert tail["high"].value == pytest.approx(-0.1)
    assert (tail["difference"].verdict, tail["p (Holm)"]) == ("loses", 0.001)
    assert pd.isna(rows.loc[("default", "", 1.0), "difference"])
    [section] = shares_section(means, MAIN)
    [picture] = section.parts
    assert isinstance(picture, Picture)
    line = picture.figure.axes[0].lines[0]
    assert list(line.get_xdata()) == [0.1, 0.3, 1.0], "all lines end where all is annotated"
    assert shares_section(means[means["setting"] != "policy"], MAIN) == []
