"""The sections that every evaluation has, of whatever rankers or runs."""

from collections.abc import Sequence

import pandas as pd

from evaluation.report.headline import headline_section, win_loss_section
from evaluation.report.parts import Section
from evaluation.report.queries import choose_ranker, queries_section
from evaluation.report.trade_offs import frontier_section, two_truths_section
from evaluation.significance import compare, compare_all

TRAFFIC = "traffic"  # with which the names of measures against held-out traffic begin
INTRODUCTION = (
    "Rankers are measured on queries whose human judgments no training or selection has seen, by "
    "how often users search the query. The words are wins, loses and no difference shown.",
)


def evaluation_sections(
    values: pd.DataFrame,
    measures: pd.DataFrame,
    groups: pd.DataFrame,
    queries: pd.DataFrame,
    measure: str,
    baseline: str,
    tops: pd.DataFrame | None = None,
) -> tuple[list[Section], pd.DataFrame | None]:
    """The headline, wins and losses, trade-offs and single queries of an evaluation.

    Args:
        values: ranker, query_id, measure, value (and seed), of each query.
        measures: ranker, measure, bucket (the group), value, low, high and queries.
        groups: query_id and group; a query may be in several.
        queries: query_id, text, frequency.
        measure: the measure of the headline; the first of all where nobody measured it, as without
            any human judgments.
        baseline: the ranker that others are compared with.
        tops: see `queries_section`.

    Returns:
        The sections whose data there are, and the comparison with the baseline, if any.
    """
    main = main_measure(measures, measure)
    traffic = traffic_measures(measures)
    tested = values[values["measure"].isin([main, *traffic[:1]]) & values["value"].notna()]
    rankers = set(tested["ranker"])
    several = len(rankers) > 1 and baseline in rankers
    of_tested = groups[groups["query_id"].isin(tested["query_id"])]
    comparison = compare(tested, of_tested, baseline) if several else None
    sections = [headline_section(measures, main, comparison, baseline)]
    if comparison is not None:
        duels = compare_all(tested[tested["measure"] == main], of_tested)
        sections.append(win_loss_section(duels, main))
    there = measures[(measures["measure"] == main) & measures["value"].notna()]
    if {"high", "low"} <= set(there["bucket"]):
        sections.append(frontier_section(measures, main))
    if traffic and main not in traffic:
        sections.append(two_truths_section(measures, main, traffic[0], traffic[1:], comparison))
    ranker = choose_ranker(measures, main, baseline)
    if ranker is not None and several:
        sections.append(queries_section(tested, queries, main, ranker, baseline, tops))
    return sections, comparison


def main_measure(measures: pd.DataFrame, wanted: str) -> str:
    """The wanted measure, or the first that there is."""
    names = [str(name) for name in measures["measure"].unique()]
    return wanted if wanted in names else names[0]


def traffic_measures(measures: pd.DataFrame) -> Sequence[str]:
    """The names of the measures against held-out traffic."""
    return [str(name) for name in measures["measure"].unique() if str(name).startswith(TRAFFIC)]
