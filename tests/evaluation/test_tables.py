import pandas as pd
import pytest

from evaluation.means import group_means
from evaluation.significance import compare
from evaluation.tables import markdown_comparison, print_comparison

MEASURE = "nDCG@10"


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """`sure` wins on each of 20 queries; `best` has the highest mean, on one query's account."""
    ids = [f"q{number:02}" for number in range(20)]
    of_ranker = {
        "base": [0.3] * 20,
        "sure": [0.40 + 0.001 * number for number in range(20)],
        "best": [0.4 if number % 2 else 0.2 for number in range(19)] + [1.0],
        "worst": [0.001 * number for number in range(20)],
    }
    rows = [
        (ranker, query_id, measure, value)
        for ranker, values in of_ranker.items()
        for query_id, value in zip(ids, values, strict=True)
        for measure, value in ((MEASURE, value), ("Judged@10", 0.875))
    ]
    values = pd.DataFrame(rows, columns=["ranker", "query_id", "measure", "value"])
    groups = pd.DataFrame(
        [(query_id, "all") for query_id in ids] + [("q00", "new")], columns=["query_id", "group"]
    )
    tested = values[values["measure"] == MEASURE]
    measures = group_means(values, groups).rename(columns={"group": "bucket"})
    return measures, compare(tested, groups, "base")


def test_only_what_is_shown_to_win_is_bold(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    lines = markdown_comparison(*tables, "base").splitlines()
    assert lines[:4] == [
        "nDCG@10 by query frequency:",
        "",
        "| ranker | all (20) | new (1) | judged @10 |",
        "|---|---:|---:|---:|",
    ]
    rows = {line.split(" | ")[0][2:]: line for line in lines[4:8]}
    assert rows["sure"].startswith("| sure | **0.409** .41–.41 | 0.400 | 88% |"[:-1])
    assert [name for name, row in rows.items() if "**" in row] == ["sure"]
    assert lines[9:] == [
        "Bold: wins against 'base' (paired t-tests over queries, p < 0.05 after Holm's correction "
        "for 3 tests of 3 rankers, 1 group, 1 measure). Below a mean: its 95 % bootstrap interval.",
        "nDCG@10 is not tested on new (1): a test takes at least two queries.",
    ]


def test_what_is_printed_fits_on_eighty_columns(
    tables: tuple[pd.DataFrame, pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    measures, comparison = tables
    names = ("high", "medium", "low", "all", "in the log", "new")
    many = [
        frame[frame[column] == "all"].assign(**{column: name})
        for frame, column in ((measures, "bucket"), (comparison, "group"))
        for name in names
    ]
    print_comparison(pd.concat(many[:6]), pd.concat(many[6:]), "base")
    printed = capsys.readouterr().out
    assert "nDCG@10 by query frequency" in printed
    assert "…" not in printed
    assert max(map(len, printed.split("\nBold")[0].splitlines())) <= 80
    row = next(line for line in printed.splitlines() if line.strip().startswith("sure"))
    assert row.split() == ["sure", *["0.409"] * 6, "88%"]
    assert printed.count("Bold: wins against 'base'") == 1


def test_a_measure_by_traffic_has_no_share_of_judged_documents_and_may_be_below_zero(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    measures, comparison = tables
    likelihood = measures[measures["measure"] == MEASURE].assign(measure="likelihood")
    likelihood = likelihood.assign(**{c: likelihood[c] - 1 for c in ("value", "low", "high")})
    page = markdown_comparison(
        pd.concat([measures, likelihood]), comparison.assign(measure="likelihood"), "base"
    )
    assert "| ranker | all (20) | new (1) |\n" in page
    assert "| sure | **-0.591** -.59–-.59 | -0.600 |\n" in page
