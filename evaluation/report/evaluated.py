"""The sections that every evaluation has, of whatever rankers or runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from corpus.groups import query_groups
from corpus.places import Place
from corpus.tables import Collection
from evaluation.measures import MAIN_MEASURE
from evaluation.report.headline import (
    all_measures_section,
    headline_section,
    win_loss_section,
)
from evaluation.report.page import write_report
from evaluation.report.parts import Section
from evaluation.report.queries import choose_ranker, queries_section
from evaluation.report.settings import settings_section
from evaluation.report.trade_offs import frontier_section, two_truths_section
from evaluation.significance import compare_all

TRAFFIC = "traffic"  # with which the names of measures against held-out traffic begin
INTRODUCTION = (
    "Rankers are measured on queries whose human judgments no training or selection has seen, by "
    "how often users search the query. The words are wins, loses and no difference shown.",
)


def write_evaluation_report(
    output: Place,
    values: pd.DataFrame,
    measures: pd.DataFrame,
    comparison: pd.DataFrame,
    groups: pd.DataFrame,
    queries: pd.DataFrame,
    firsts: Mapping[str, pd.DataFrame],
    titles: Callable[["pd.Series[str]"], pd.DataFrame],
    settings: Mapping[str, Any],
) -> Place:
    """Writes `report.html` and its tables for an evaluation of any rankers or runs.

    Args:
        output: the folder to write into, local or in a store.
        values: as `evaluation_sections` takes them.
        measures: as `evaluation_sections` takes them.
        comparison: as `evaluation_sections` takes it.
        groups: as `evaluation_sections` takes them.
        queries: as `evaluation_sections` takes them.
        firsts: query_id, name (the id of the document that is ranked first) and value (its human
            grade, NaN without one) of each query, by ranker.
        titles: doc_id and title of documents of some ids.
        settings: of the evaluation, with `baseline`.

    Returns:
        The path of the page.
    """
    baseline = settings["baseline"]
    main = main_measure(measures, comparison)
    looked_at = [name for name in (baseline, choose_ranker(measures, main, baseline)) if name]
    first = pd.concat([firsts[name].assign(ranker=name) for name in looked_at])
    first = first.rename(columns={"name": "doc_id", "value": "grade"})
    tops = first.merge(titles(first["doc_id"]), "left", "doc_id")
    sections = [
        *evaluation_sections(values, measures, comparison, groups, queries, baseline, tops),
        all_measures_section(measures, [main, *traffic_measures(measures)]),
        settings_section({"evaluate": settings}),
    ]
    title = f"Who wins on which queries: {output.name}"
    return write_report(sections, output / "report.html", title, INTRODUCTION)


def evaluation_sections(
    values: pd.DataFrame,
    measures: pd.DataFrame,
    comparison: pd.DataFrame,
    groups: pd.DataFrame,
    queries: pd.DataFrame,
    baseline: str,
    tops: pd.DataFrame | None = None,
) -> list[Section]:
    """The headline, wins and losses, trade-offs and single queries, as far as there is data.

    Args:
        values: ranker, query_id, measure, value (and seed), of each query.
        measures: ranker, measure, bucket (the group), value, low, high and queries.
        comparison: the paired tests of other rankers against the baseline
            (`significance.compare`); its first measure is that of the headline. Empty where there
            is the baseline alone.
        groups: query_id and group; a query may be in several.
        queries: query_id, text, frequency, and bucket where it is known.
        baseline: the ranker that others are compared with.
        tops: see `queries_section`.
    """
    main = main_measure(measures, comparison)
    traffic = traffic_measures(measures)
    tested = values[values["measure"] == main]
    sections = [headline_section(measures, main, comparison, baseline)]
    if tested["ranker"].nunique() > 2:
        sections.append(win_loss_section(compare_all(tested, groups), main))
    there = measures[(measures["measure"] == main) & measures["value"].notna()]
    if {"high", "low"} <= set(there["bucket"]):
        sections.append(frontier_section(measures, main))
    if traffic and main not in traffic:
        sections.append(two_truths_section(measures, main, traffic[0], traffic[1:], comparison))
    ranker = choose_ranker(measures, main, baseline)
    if ranker is not None:
        sections.append(queries_section(tested, queries, main, ranker, baseline, tops))
    return sections


def main_measure(measures: pd.DataFrame, comparison: pd.DataFrame) -> str:
    """The measure that was compared, or else the main one, or what there is instead of it."""
    names = [str(name) for name in comparison["measure"].unique()]
    if names:
        return names[0]
    there = [str(name) for name in measures["measure"].unique()]
    return MAIN_MEASURE if MAIN_MEASURE in there else there[0]


def traffic_measures(measures: pd.DataFrame) -> Sequence[str]:
    """The names of the measures against held-out traffic."""
    return [str(name) for name in measures["measure"].unique() if str(name).startswith(TRAFFIC)]


def texts_of_queries(collection: Collection) -> pd.DataFrame:
    """query_id, text, frequency and bucket of a collection's queries."""
    bucket = query_groups(collection).select(["query_id", "bucket"]).to_pandas()
    queries = collection.queries.select(["query_id", "text", "frequency"]).to_pandas()
    return queries.merge(bucket, "left", "query_id")


def texts_of_documents(collection: Collection, doc_ids: "pd.Series[str]") -> pd.DataFrame:
    """doc_id, title and body of those of a collection's documents."""
    documents, wanted = collection.documents, pa.array(doc_ids.unique(), pa.string())
    of_wanted = documents.filter(pc.is_in(documents["doc_id"], value_set=wanted))
    return of_wanted.select(["doc_id", "title", "body"]).to_pandas()


def first_documents(firsts: Mapping[str, pd.DataFrame], collection: Collection) -> pd.DataFrame:
    """The documents that rankers put first, as `queries_section` takes them.

    Args:
        firsts: query_id and doc_id of the first document of each query, by ranker.
        collection: with documents and judgments.
    """
    first = pd.concat([frame.assign(ranker=name) for name, frame in firsts.items()])
    documents = texts_of_documents(collection, first["doc_id"])
    judgments = collection.judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    titled = first.merge(documents[["doc_id", "title"]], "left", "doc_id")
    return titled.merge(judgments, "left", ["query_id", "doc_id"])
