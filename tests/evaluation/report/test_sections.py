"""What the sections say, worked out by hand on frames small enough to check by eye."""

import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from corpus.groups import reported_groups
from corpus.tables import Collection
from evaluation.means import group_means
from evaluation.measures import measure_run
from evaluation.report.diagnosis import diagnosis_section
from evaluation.report.evaluated import (
    evaluation_sections,
    texts_of_documents,
    texts_of_queries,
    write_evaluation_report,
)
from evaluation.report.figures import svg_of
from evaluation.report.headline import (
    all_measures_section,
    headline_section,
    in_order,
    win_loss_section,
)
from evaluation.report.parts import Estimate, Picture, Section, Table
from evaluation.report.queries import choose_ranker, queries_section
from evaluation.report.settings import settings_section
from evaluation.report.signals import propensities_section, rank_differences, shorten
from evaluation.report.trade_offs import frontier_section
from evaluation.report.training import training_section
from evaluation.significance import compare
from tests.evaluation.report.frames import (
    GROUPS,
    MAIN,
    TRAFFIC,
    captions,
    comparison,
    diagnosis,
    duels,
    histories,
    measures,
    propensities,
    queries,
    signals,
    values,
)


def tables(section: Section) -> dict[str, pd.DataFrame]:
    return {part.name: part.frame for part in section.parts if isinstance(part, Table)}


def test_the_headline_has_intervals_counts_and_the_shown_verdicts() -> None:
    section = headline_section(measures(), MAIN, comparison(), "annotation")
    [table] = [
        part for part in section.parts if isinstance(part, Table) and part.name == "headline"
    ]
    assert next(iter(table.frame)) == "ranker"
    assert set(table.frame) == {"ranker", *GROUPS}
    assert table.notes["high"] == "24 queries"
    rows = table.frame.set_index("ranker")
    assert rows.loc["fusion", "all"] == Estimate(0.8, 0.75, 0.95, "wins")
    assert rows.loc["click", "all"].verdict is None  # nothing is shown of it
    assert rows.loc["annotation", "all"].verdict is None
    of_all = tables(section)["comparison"].query("group == 'all'").set_index("ranker")
    assert of_all.loc["click", "difference"].verdict == "no difference shown"
    assert of_all.loc["fusion", "difference"].value == pytest.approx(0.15)


def test_means_without_intervals_or_tests_are_shown_as_they_are() -> None:
    bare = measures().drop(columns=["low", "high"])
    bare.loc[0, "value"] = np.nan  # a group without queries
    section = headline_section(bare, MAIN, comparison()[:0], "annotation")
    rows = tables(section)["headline"].set_index("ranker")
    assert rows.loc["fusion", "all"] == Estimate(0.8)
    assert "comparison" not in tables(section)


def test_what_scores_follow_is_shown_as_far_as_it_is_known() -> None:
    section = diagnosis_section(diagnosis())
    rows = tables(section)["what scores follow"].set_index("ranker")
    assert len(rows) == 2
    assert rows.loc["click", "correlation with quality"] == Estimate(0.5, 0.4, 0.6)
    [picture] = [part for part in section.parts if isinstance(part, Picture)]
    assert "correlation with relevance and correlation with quality" in picture.text
    of_grades = diagnosis().query("measure.str.startswith('AUC')")
    without = diagnosis_section(of_grades)
    assert list(tables(without)["what scores follow"]) == ["ranker", "AUC of relevant"]
    assert "quality" not in captions(without)


def test_each_ranker_meets_each_other_in_each_group() -> None:
    found = tables(win_loss_section(duels(), MAIN))
    assert set(found) == {f"win loss {group}" for group in GROUPS}
    rows = found["win loss high"].set_index("ranker")
    assert rows.loc["fusion", "against annotation"].verdict == "wins"
    assert rows.loc["annotation", "against fusion"].verdict == "loses"
    assert rows.loc["annotation", "against annotation"] is None
    assert rows.loc["fusion", "against click"].note == "12 won, 3 tied, 9 lost"


def test_all_measures_are_shown_in_the_order_of_their_cuts() -> None:
    frame = pd.concat(
        measures()[lambda rows: rows["measure"] == MAIN].assign(measure=f"nDCG@{cut}")
        for cut in (10, 3, 1, 5)
    )
    found = tables(all_measures_section(frame, [MAIN]))
    assert list(found) == ["measure nDCG@1", "measure nDCG@3", "measure nDCG@5"]


def test_the_frontier_joins_those_that_no_other_beats_on_both() -> None:
    points = {"a": (0.9, 0.5), "b": (0.8, 0.8), "c": (0.7, 0.7), "d": (0.5, 0.9), "e": (0.9, 0.4)}
    frame = pd.DataFrame(
        [
            {"ranker": ranker, "measure": MAIN, "bucket": bucket, "value": value}
            for ranker, both in points.items()
            for bucket, value in zip(("high", "low"), both, strict=True)
        ]
    )
    assert "on both: a, b, d." in captions(frontier_section(frame, MAIN))


def test_the_most_helped_and_most_hurt_queries_come_with_their_texts() -> None:
    tops = pd.DataFrame(
        [("fusion", "q19", "One", 3), ("annotation", "q19", "Two", None)],
        columns=["ranker", "query_id", "title", "grade"],
    )
    section = queries_section(values(), queries(), MAIN, "fusion", "annotation", tops, most=3)
    found = tables(section)
    assert found["most helped"]["query"].str.split().str[-1].tolist() == ["19", "18", "17"]
    assert found["most helped"]["difference"][0].value == pytest.approx(0.2)
    first = found["most helped"]["first by fusion"].fillna("")
    assert first.tolist() == ["One (grade 3)", "", ""]
    assert found["most helped"]["first by annotation"][0] == "Two (not judged)"
    assert found["most hurt"]["searches"].tolist() == [0, 1, 8]
    assert "better than annotation on 10, equal on 1 and worse on 9" in captions(section)


def test_seeds_of_a_ranker_are_averaged_before_queries_are_compared() -> None:
    two = pd.concat([values().assign(seed=0), values().assign(seed=1)])
    two.loc[(two["seed"] == 1) & (two["ranker"] == "fusion"), "value"] = 0.5
    found = tables(queries_section(two, queries(), MAIN, "fusion", "annotation"))
    assert found["most helped"]["difference"][0].value == pytest.approx(0.1)


def test_the_ranker_to_look_at_is_the_best_but_for_the_baseline() -> None:
    assert choose_ranker(measures(), MAIN, "annotation") == "fusion"
    assert choose_ranker(measures(), MAIN, "fusion") == "famol"
    assert choose_ranker(measures().query("ranker == 'click'"), MAIN, "click") is None


def test_pairs_differ_by_their_ranks_within_each_signal() -> None:
    pairs = rank_differences(signals(), least_impressions=10, most=2)
    # d1: humans and judge rank it highest, and clicks lowest of the three that are shown enough.
    assert pairs["doc_id"].tolist() == ["d1", "d2"]
    assert pairs["difference"].tolist() == pytest.approx([1.0, 2 / 3])
    assert pairs["widest"].tolist() == ["human above clicks", "clicks above human"]


def test_a_signal_alone_makes_no_pairs_to_look_at() -> None:
    assert rank_differences({"judge": signals()["judge"]}, 1, 20).empty
    apart = {"judge": signals()["judge"], "human": signals()["human"].assign(doc_id="other")[:1]}
    assert rank_differences(apart, 1, 20).empty


def test_training_is_shown_to_its_end_with_the_epoch_that_was_kept() -> None:
    section = training_section(histories(), "validation_ndcg", MAIN)
    rows = tables(section)["training"].set_index("ranker")
    assert rows["epochs"].tolist() == [4, 2]
    assert rows["best epoch"].tolist() == [2, 1]
    assert rows.loc["click", f"last validation {MAIN}"] == Estimate(0.55)
    curve = next(part for part in section.parts if isinstance(part, Picture))
    [panel] = curve.figure.axes
    assert [list(line.get_xdata()) for line in panel.lines] == [[1, 2, 3, 4], [2], [1, 2], [1]]


def test_a_training_without_any_validation_is_left_out() -> None:
    spoiled = {"spoiled": [{"epoch": 1, "click_loss": 2.0}], "none": []}
    rows = tables(training_section(histories() | spoiled, "validation_ndcg", MAIN))["training"]
    assert rows["ranker"].tolist() == ["click", "annotation"]


def test_texts_from_data_in_pictures_are_drawn_as_they_are() -> None:
    picture = next(
        part for part in propensities_section(propensities()).parts if isinstance(part, Picture)
    )
    drawn = [
        "".join(text.itertext()) for text in ET.fromstring(svg_of(picture)).iter() if text.text
    ]
    assert "$desk$ (1 unknown)" in drawn


def test_settings_are_listed_by_their_paths_and_keys_are_hidden() -> None:
    given = {"annotate": {"engine": {"api_key": "s3cret", "model": None}, "stages": [{"share": 1}]}}
    rows = tables(settings_section(given))["settings"].to_numpy().tolist()
    assert rows == [
        ["annotate", "engine.api_key", "***"],
        ["annotate", "engine.model", "none"],
        ["annotate", "stages.0.share", "1"],
    ]
    assert "Python" in tables(settings_section({}))["versions"]["package"].tolist()


def test_texts_are_shortened_to_a_line_or_two() -> None:
    assert shorten("a\n b") == "a b"
    assert shorten(None) == ""
    assert len(shorten("word " * 100)) == 160


def test_groups_come_in_their_order_and_unknown_ones_after_them() -> None:
    assert in_order(pd.Series(["b", "low", "high"]), ("high", "low")) == ["high", "low", "b"]


def test_an_evaluation_has_the_sections_whose_data_there_are() -> None:
    groups = pd.DataFrame({"query_id": [f"q{query}" for query in range(20)], "group": "all"})
    of_all = measures()[lambda rows: (rows["bucket"] == "all") & (rows["measure"] != TRAFFIC)]

    def titles(rankers: list[str]) -> list[str]:
        of_rankers = values()[lambda rows: rows["ranker"].isin(rankers)]
        compared = compare(of_rankers, groups, "annotation") if rankers[1:] else comparison()[:0]
        there = of_all[of_all["ranker"].isin(rankers)]
        sections = evaluation_sections(of_rankers, there, compared, groups, queries(), "annotation")
        return [section.title for section in sections]

    assert titles(["annotation"]) == ["Who wins on which queries"]
    assert titles(["annotation", "fusion"]) == [
        "Who wins on which queries",
        "Queries helped and hurt by fusion",
    ]


def test_an_evaluation_is_written_with_the_texts_of_its_collection(
    tmp_path: Path, tiny_collection: Collection
) -> None:
    runs = {
        name: pd.DataFrame(
            {"query_id": ["q1", "q1", "q2"], "doc_id": ["d1", "d2", "d3"], "score": scores}
        )
        for name, scores in (("a", [1.0, 2.0, 1.0]), ("b", [2.0, 1.0, 1.0]), ("c", [2.0, 1, 1]))
    }
    measured = pd.concat(
        [
            measure_run(run, tiny_collection.judgments).assign(ranker=name)
            for name, run in runs.items()
        ]
    )
    groups = reported_groups(tiny_collection)
    compared = compare(measured[measured["measure"] == MAIN], groups, "a")
    means = group_means(measured, groups).rename(columns={"group": "bucket"})
    firsts = {
        "a": pd.DataFrame({"query_id": ["q1", "q2"], "name": ["d2", "d3"], "value": [1.0, None]}),
        "b": pd.DataFrame({"query_id": ["q1", "q2"], "name": ["d1", "d3"], "value": [3.0, None]}),
    }
    page = write_evaluation_report(
        *(tmp_path, measured, means, compared, groups, texts_of_queries(tiny_collection), firsts),
        partial(texts_of_documents, tiny_collection),
        {"baseline": "a"},
    )
    assert "red fox" in page.read_text()
    helped = pd.read_csv(tmp_path / "tables" / "most-helped.csv")
    assert helped["query"].tolist() == ["red fox"]
    assert helped["first by a"].tolist() == ["Red wine (grade 1)"]
    assert helped["first by b"].tolist() == ["The red fox (grade 3)"]
