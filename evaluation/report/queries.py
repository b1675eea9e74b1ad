"""The section on single queries: those that a ranker helps most, and those that it hurts most."""

from functools import partial

import numpy as np
import pandas as pd

from evaluation.report.parts import Estimate, Section, Table


def queries_section(
    values: pd.DataFrame,
    queries: pd.DataFrame,
    measure: str,
    ranker: str,
    baseline: str,
    tops: pd.DataFrame | None = None,
    most: int = 10,
) -> Section:
    """The queries on which a ranker gains and loses most against a baseline, with their texts.

    Args:
        values: ranker, query_id, measure, value, and `seed` where there are several, over which the
            mean is taken.
        queries: query_id, text, frequency, and bucket where it is known.
        measure: the measure to show.
        ranker: the ranker to look at.
        baseline: the ranker that it is compared with.
        tops: ranker, query_id, title and grade (NaN where nobody judged it) of the document that
            each ranker puts first.
        most: how many queries to show of each.
    """
    differences = query_differences(values, measure, ranker, baseline)
    changed = differences.merge(queries, "left", "query_id")
    helped = changed[changed["difference"] > 0].sort_values("difference", ascending=False)
    hurt = changed[changed["difference"] < 0].sort_values("difference")
    ties = int((changed["difference"] == 0).sum())
    counts = (
        f"Of {len(changed):,} queries, {ranker} is better than {baseline} on {len(helped):,}, "
        f"equal on {ties:,} and worse on {len(hurt):,}. Single queries are anecdotes: "
        "look at what they have in common, and at the tests for what is shown."
    )
    tables = [
        Table(
            name,
            _rows(found.head(most), ranker, baseline, tops),
            f"The queries that {ranker} {verb} most against {baseline}, by {measure}. The "
            "documents are those that each ranks first, with their human grade.",
        )
        for name, verb, found in (
            ("most helped", "helps", helped),
            ("most hurt", "hurts", hurt),
        )
        if len(found)
    ]
    return Section(f"Queries helped and hurt by {ranker}", [counts, *tables])


def query_differences(
    values: pd.DataFrame, measure: str, ranker: str, baseline: str
) -> pd.DataFrame:
    """query_id, baseline_value, value and difference, of the queries that both rankers measure."""
    shown = values[values["measure"] == measure]
    means = shown.groupby(["ranker", "query_id"])["value"].mean()
    both = pd.DataFrame({"baseline_value": means[baseline], "value": means[ranker]}).dropna()
    both["difference"] = (both["value"] - both["baseline_value"]).round(12)
    return both.reset_index(names="query_id")


def choose_ranker(measures: pd.DataFrame, measure: str, baseline: str) -> str | None:
    """The ranker with the highest mean over all queries, but for the baseline; None without any."""
    of_all = measures[(measures["measure"] == measure) & (measures["bucket"] == "all")]
    others = of_all[of_all["ranker"] != baseline].dropna(subset=["value"])
    best = others.sort_values("value", ascending=False, kind="stable")["ranker"]
    return None if best.empty else str(best.iloc[0])


def _rows(
    found: pd.DataFrame, ranker: str, baseline: str, tops: pd.DataFrame | None
) -> pd.DataFrame:
    found = found.reset_index(drop=True)
    table = pd.DataFrame({"query": found["text"], "searches": found["frequency"]})
    if "bucket" in found:
        table["group"] = found["bucket"].astype(str)
    # Numbers of single queries, which no interval belongs to.
    for name, column in ((baseline, "baseline_value"), (ranker, "value")):
        table[name] = found[column].map(Estimate)
    table["difference"] = found["difference"].map(partial(Estimate, signed=True))
    if tops is not None:
        for name in (baseline, ranker):
            first = tops[tops["ranker"] == name].drop_duplicates("query_id")
            shown = map(_document, first["title"], first["grade"].astype(float))
            table[f"first by {name}"] = found["query_id"].map(
                pd.Series(list(shown), index=first["query_id"], dtype=object)
            )
    return table


def _document(title: object, grade: float) -> str:
    return f"{title} ({'not judged' if np.isnan(grade) else f'grade {grade:g}'})"
