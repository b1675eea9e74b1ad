"""The best few and the best known point, trained again with other seeds: is better shown?"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from corpus.errors import InputError
from evaluation.means import group_means
from evaluation.report.figures import ROW, SIZE, new_panel, plain, styles
from evaluation.report.parts import Estimate, Picture, Section, Table
from evaluation.significance import WINS, compare
from tuning.analysis.reading import MEASURE, Search

LABEL_LENGTH = 22  # of a name beside the picture


def verdict_on_best(search: Search) -> str:
    """Whether trainings with other seeds show that one is better than the best known point."""
    if search.finalists.empty:
        return "No trial was trained again with other seeds, so nothing is shown to be better."
    try:
        table = finalists_table(search.finalists)
    except InputError as error:
        return f"The trainings with other seeds cannot be compared: {error}"
    baseline = known_finalist(search.finalists)
    if baseline is None:
        return (
            "No known point was trained again with other seeds, so there is none to compare with."
        )
    wins = [
        row["finalist"] for row in table.to_dict("records") if _verdict(row["difference"]) == WINS
    ]
    if not wins:
        return (
            f"With other seeds, no trial is shown to be better than {baseline}: keep to it, or "
            "search on."
        )
    first = table[table["finalist"] == wins[0]]["difference"].iloc[0]
    return (
        f"With other seeds, {wins[0]} is better than {baseline}, by {first.value:.3f} "
        f"(95 % interval {first.low:.3f} to {first.high:.3f})."
    )


def finalists_section(search: Search) -> Section | None:
    """The trainings with other seeds; None where there are none."""
    if search.finalists.empty:
        return None
    try:
        table = finalists_table(search.finalists)
    except InputError as error:
        text = f"The trainings with other seeds cannot be compared: {error}"
        return Section("With other seeds", [text])
    baseline = known_finalist(search.finalists)
    told = (
        f"{MEASURE} on validation queries, mean over queries and seeds, with 95 % intervals over "
        "queries. A verdict is that of a paired t-test over queries, corrected for their number "
        "(Holm). Seeds: the standard deviation over them, and in how many of them the finalist is "
        "above. All trials were chosen by these queries, so the test queries have the last word."
    )
    if baseline is not None:
        told += f" The difference is that to {baseline}, the best known point."
    text = f"{MEASURE} of each finalist, by seed and in the mean"
    picture = Picture(
        "finalists",
        _draw(table, _means_of_seeds(search.finalists)),
        text,
        f"{text}. Small marks are seeds; the large one is their mean, with its 95 % interval.",
    )
    return Section("With other seeds", [picture, Table("finalists", table, told)])


def known_finalist(finalists: pd.DataFrame) -> str | None:
    """The known point with the highest mean, or None."""
    known = finalists[~finalists["name"].astype(str).str.match(r"trial \d+$")]
    means = known.groupby("name", sort=False)["value"].mean()
    return None if means.empty else str(means.idxmax())


def finalists_table(finalists: pd.DataFrame) -> pd.DataFrame:
    """A row a finalist, best first: its mean, the difference from the best known point, its seeds.

    Args:
        finalists: as `Search.finalists`, not empty.

    Returns:
        finalist, trial, mean, difference (an `Estimate`, or None), seeds, sd over seeds, and
        "seeds ahead" of the best known point.

    Raises:
        InputError: a finalist lacks a query or has one twice, or values are no numbers.
    """
    values = finalists.rename(columns={"name": "ranker"}).assign(measure=MEASURE)
    values["value"] = pd.to_numeric(values["value"], errors="coerce")
    groups = pd.DataFrame({"query_id": values["query_id"].unique(), "group": "all"})
    means = group_means(values, groups)
    baseline = known_finalist(finalists)
    tests = pd.DataFrame({"ranker": []})
    if baseline is not None and len(means) > 1:
        tests = compare(values, groups, baseline)
    by_seed = _means_of_seeds(finalists)
    numbers = dict(zip(finalists["name"], finalists["trial"], strict=True))
    differences = {row["ranker"]: _difference(row) for row in tests.to_dict("records")}
    rows = []
    for row in means.sort_values("value", ascending=False).to_dict("records"):
        name = row["ranker"]
        own = by_seed.loc[name].dropna()
        ahead = None
        if baseline is not None and name != baseline:
            both = by_seed.loc[[name, baseline]].dropna(axis=1)
            ahead = f"{int((both.loc[name] > both.loc[baseline]).sum())} of {both.shape[1]}"
        rows.append(
            {
                "finalist": name,
                "trial": int(numbers[name]),
                "mean": Estimate(row["value"], *_ends(row)),
                "difference": differences.get(name),
                "seeds": len(own),
                "sd over seeds": float(own.std()) if len(own) > 1 else None,
                "seeds ahead": ahead,
            }
        )
    return pd.DataFrame(rows)


def _means_of_seeds(finalists: pd.DataFrame) -> pd.DataFrame:
    """The mean over queries: a row a finalist, a column a seed."""
    return finalists.pivot_table("value", "name", "seed", aggfunc="mean")


def _difference(test: Mapping[Hashable, Any]) -> Estimate:
    return Estimate(test["difference"], *_ends(test), verdict=test["verdict"], signed=True)


def _ends(row: Mapping[Hashable, Any]) -> tuple[float | None, float | None]:
    low, high = row["low"], row["high"]
    return (None if pd.isna(low) else float(low)), (None if pd.isna(high) else float(high))


def _verdict(difference: Estimate | None) -> str | None:
    return None if difference is None else difference.verdict


def _draw(table: pd.DataFrame, by_seed: pd.DataFrame) -> Figure:
    height = 1.2 + 2 * ROW * len(table)
    figure, panel = new_panel(f"{MEASURE} on validation queries", "", (SIZE[0], height))
    names = list(table["finalist"])
    for place, (name, style) in enumerate(styles(names).items()):
        marks = style | {"linestyle": ""}
        seeds = by_seed.loc[name].dropna()
        mean: Estimate = table["mean"].iloc[place]
        panel.plot(seeds, np.full(len(seeds), place + 0.22), markersize=4, alpha=0.7, **marks)
        if mean.low is not None and mean.high is not None:
            panel.plot([mean.low, mean.high], [place, place], color=style["color"], linewidth=1.5)
        panel.plot([mean.value], [place], markersize=8, **marks)
    panel.set_yticks(range(len(names)), [plain(_short(name)) for name in names])
    panel.set_ylim(len(names) - 0.5, -0.5)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 1]}…"
