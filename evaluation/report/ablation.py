"""What each part of a method is worth: rankers with one thing changed against those without."""

import pandas as pd
from matplotlib.figure import Figure

from corpus.groups import GROUPS
from evaluation.report.figures import add_legend, draw_line, new_panel, styles
from evaluation.report.headline import in_order, known
from evaluation.report.parts import Estimate, Picture, Section, Table

DEFAULT, POLICY = "default", "policy"  # settings of rows


def ablation_section(means: pd.DataFrame, differences: pd.DataFrame, measure: str) -> Section:
    """The table of `ablation_table`, and all tests.

    Args:
        means: as `ablation_table` takes them.
        differences: as `ablation_table` takes them.
        measure: what the values are of.
    """
    tests = differences.assign(difference=_differences(differences), queries=differences["queries"])
    columns = ["setting", "level", "share", "ranker", "bucket", "queries", "difference"]
    shown = tests[[*columns, "effect_size", "p", "p_holm", "wins", "ties", "losses", "detectable"]]
    return Section(
        "What each part is worth",
        [
            Table(
                "ablation",
                ablation_table(means, differences, measure),
                f"{measure} of each ranker with one thing changed, and its difference from the "
                "ranker of the same name with nothing changed, with 95 % intervals and p of paired "
                "tests over queries after Holm's correction for all differences shown. Share: how "
                "much of the pairs is annotated.",
            ),
            Table(
                "ablation tests",
                shown.rename(columns={"p_holm": "p (Holm)", "effect_size": "effect size"}),
                f"The tests of differences in {measure}, by frequency of the query.",
            ),
        ],
    )


def ablation_table(means: pd.DataFrame, differences: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A row for each change and ranker, after those without a change.

    Args:
        means: setting (what is changed; `DEFAULT` for nothing), level, share (of the pairs, how
            many are annotated), ranker, bucket (the group of queries), value, low and high.
        differences: setting, level, share, ranker, bucket, difference (from the ranker without a
            change), low, high, p_holm and verdict.
        measure: what the values are of.

    Returns:
        setting, level, share, ranker, the measure (of all queries), difference (over all queries),
        "p (Holm)" of it, and the difference on each other group of queries; values and differences
        as `Estimate`.
    """
    keys = ["setting", "level", "share", "ranker"]
    of_all = means[means["bucket"] == "all"]
    value = [
        Estimate(row["value"], known(row["low"]), known(row["high"]))
        for row in of_all.to_dict("records")
    ]
    rows = of_all[keys].assign(**{measure: pd.Series(value, index=of_all.index, dtype=object)})
    tests = differences.assign(difference=_differences(differences)).set_index([*keys, "bucket"])
    wide = tests.pivot_table("difference", keys, "bucket", aggfunc="first", observed=True)
    wide = wide[in_order(differences["bucket"], GROUPS)].rename(columns={"all": "difference"})
    p_holm = tests["p_holm"].xs("all", level="bucket").rename("p (Holm)")
    table = rows.join(wide, on=keys).join(p_holm, on=keys)
    others = [name for name in wide if name != "difference"]
    return table[[*keys, measure, "difference", "p (Holm)", *others]].reset_index(drop=True)


def shares_section(means: pd.DataFrame, measure: str) -> list[Section]:
    """A picture for each ranker of what annotations are worth, by the policy that chose them.

    Args:
        means: as `ablation_table` takes them; the setting of what policies choose is `POLICY`.
        measure: what the values are of.

    Returns:
        The section, or none where no policy was tried.
    """
    of_all = means[means["bucket"] == "all"]
    bought = of_all[of_all["setting"] == POLICY]
    whole = of_all[of_all["setting"] == DEFAULT]
    pictures = []
    for ranker in bought["ranker"].unique():
        end = whole[whole["ranker"] == ranker]
        rows = bought[bought["ranker"] == ranker]
        lines = {
            str(policy): pd.concat([of_policy, end]).sort_values("share")
            for policy, of_policy in rows.groupby("level", sort=False)
        }
        label = f"{measure} of {ranker} by share of pairs annotated, all queries"
        caption = f"{label}, with 95 % intervals; a line for each choice of the pairs."
        pictures.append(Picture(f"shares {ranker}", _draw(lines, measure), label, caption))
    return [Section("What a budget buys", pictures)] if pictures else []


def _differences(differences: pd.DataFrame) -> "pd.Series":
    estimates = [
        Estimate(
            row["difference"], known(row["low"]), known(row["high"]), row["verdict"], signed=True
        )
        for row in differences.to_dict("records")
    ]
    return pd.Series(estimates, index=differences.index, dtype=object)


def _draw(lines: dict[str, pd.DataFrame], measure: str) -> Figure:
    figure, panel = new_panel("share of pairs annotated", measure)
    for policy, style in styles(lines).items():
        draw_line(panel, policy, style, lines[policy], "share")
    add_legend(figure, panel)
    return figure
