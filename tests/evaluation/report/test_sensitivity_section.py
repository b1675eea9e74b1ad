"""Where the lines of two rankers cross, over the levels of a setting."""

import pandas as pd

from evaluation.report.exports import markdown_table
from evaluation.report.sensitivity import crossings_table, find_crossings, sensitivity_section
from tests.evaluation.report.frames import MAIN, PAIR, captions, differences, sensitivity


def test_where_lines_cross() -> None:
    assert find_crossings([1, 2, 3, 4], [1, -1, -2, 2]) == [1.5, 3.5]
    assert find_crossings([1, 2], [1, 2]) == []
    assert find_crossings([1, 2, 3, 4, 5], [0, -1, 0, 3, 0]) == [3], "equal at a level"
    assert find_crossings([1, 2, 3], [1, 0, 1]) == []
    # -0.1 at 10 and 0.1 at 100: half way on a logarithmic axis.
    others = sensitivity().assign(ranker="fusion", value=0.9)
    section = sensitivity_section(pd.concat([sensitivity(), others]), MAIN, PAIR)
    assert "The lines of click and annotation cross at 31.6" in captions(section)


def test_a_crossing_is_told_with_who_wins_on_either_side() -> None:
    crossings = crossings_table(differences(), PAIR)
    rows = crossings.set_index("bucket").to_dict("index")
    assert rows["all"] == {
        "setting": "searches a query",
        "cross at": "31.6",
        "lowest level": "1: annotation wins (-0.200)",
        "highest level": "100: click wins (+0.100)",
    }
    # Of the levels that have queries; from 10 to 100 the axis is not wide.
    assert rows["high"]["lowest level"] == "10: no difference shown (-0.100)"
    assert rows["high"]["cross at"] == "55"
    never = crossings_table(differences().assign(difference=0.1), PAIR)
    assert set(never["cross at"]) == {"–"}
    assert markdown_table(crossings).splitlines()[1:3] == [
        "| --- | --- | --- | --- | --- |",
        "| searches a query | high | 55 | 10: no difference shown (-0.100) | "
        "100: click wins (+0.100) |",
    ]
