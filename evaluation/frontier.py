"""The trade-off between frequent and rare queries over many rankers."""

import pandas as pd

from corpus.errors import InputError
from evaluation.significance import group_means


def head_tail_frontier(
    values: pd.DataFrame,
    groups: pd.DataFrame,
    measure: str,
    head: str = "high",
    tail: str = "low",
) -> pd.DataFrame:
    """Which rankers no other beats on frequent and on rare queries at once (Pareto's frontier).

    It compares means and tests nothing: a ranker beyond the frontier by a hair may be as good.

    Args:
        values: ranker, query_id, measure and value (and seed), as for `significance.compare`.
        groups: query_id and group.
        measure: which of the measures.
        head: the group of frequent queries.
        tail: the group of rare queries.

    Returns:
        ranker, head, tail (means, 0 to 1 for most measures), head_low, head_high, tail_low,
        tail_high (their 95 % intervals), on_frontier (bool: no other is at least as good on both
        and better on one); from the best on the head to the worst.

    Raises:
        InputError: there are no values of the measure, or a group has no query with one.
    """
    of_measure = values[values["measure"] == measure]
    if of_measure.empty:
        raise InputError(f"there are no values of {measure}")
    means = group_means(of_measure, groups)
    ends: dict[str, pd.Series[float]] = {}
    for name, group in (("head", head), ("tail", tail)):
        end = means[(means["group"] == group) & (means["queries"] > 0)].set_index("ranker")
        if end.empty:
            raise InputError(f"the group {group!r} has no query with values of {measure}")
        ends |= {name: end["value"], f"{name}_low": end["low"], f"{name}_high": end["high"]}
    points = pd.DataFrame(ends).sort_values(["head", "tail"], ascending=False, kind="stable")
    beaten = [
        (
            (points["head"] >= point.head)
            & (points["tail"] >= point.tail)
            & ((points["head"] > point.head) | (points["tail"] > point.tail))
        ).any()
        for point in points.itertuples()
    ]
    points["on_frontier"] = [not one for one in beaten]
    return points.rename_axis("ranker").reset_index()
