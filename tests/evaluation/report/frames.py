"""Small made-up frames with the columns that the report's sections read."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.ablation import ablation_section, shares_section
from evaluation.report.diagnosis import diagnosis_section
from evaluation.report.headline import all_measures_section, headline_section, win_loss_section
from evaluation.report.parts import Picture, Section
from evaluation.report.queries import queries_section
from evaluation.report.sensitivity import crossings_section, sensitivity_section
from evaluation.report.settings import settings_section
from evaluation.report.signals import (
    agreement_section,
    audit_section,
    propensities_section,
    rank_differences,
)
from evaluation.report.trade_offs import (
    frontier_section,
    two_truths_section,
)
from evaluation.report.training import training_section

MAIN, TRAFFIC = "nDCG@10", "traffic nDCG@10"
RANKERS = ["first stage", "annotation", "click", "famol", "fusion"]
GROUPS = {"high": 24, "medium": 30, "low": 26, "all": 80, "in the log": 54, "new": 26}
PAIR = ("click", "annotation")
HOSTILE = "<script>alert('x')</script> & \x1b[31m \u202e $x_1$ 搜索"


def measures() -> pd.DataFrame:
    """Means of five rankers by three measures and all groups; none of AP is known for new ones."""
    rows = [
        {
            "ranker": ranker,
            "measure": measure,
            "bucket": group,
            "value": 0.6 + 0.05 * number + (0.1 - 0.04 * number) * (group == "high"),
            "low": 0.55 + 0.05 * number,
            "high": 0.75 + 0.05 * number,
            "queries": queries,
        }
        for number, ranker in enumerate(RANKERS)
        for measure in (MAIN, TRAFFIC, "AP")
        for group, queries in GROUPS.items()
        if not (measure == "AP" and group == "new")
    ]
    return pd.DataFrame(rows)


def comparison(baseline: str = "annotation") -> pd.DataFrame:
    """Paired tests of all other rankers against the baseline: better ones win, click ties."""
    place = {ranker: number for number, ranker in enumerate(RANKERS)}
    rows = []
    for ranker in RANKERS:
        for measure in (MAIN, "AP"):
            for group, queries in GROUPS.items():
                if ranker == baseline:
                    continue
                difference = 0.05 * (place[ranker] - place[baseline])
                shown = abs(difference) > 0.05
                verdict = (
                    ("wins" if difference > 0 else "loses") if shown else "no difference shown"
                )
                rows.append(
                    {
                        "ranker": ranker,
                        "measure": measure,
                        "group": group,
                        "queries": queries,
                        "baseline_value": 0.65,
                        "value": 0.65 + difference,
                        "difference": difference,
                        "low": difference - 0.02,
                        "high": difference + 0.02,
                        "effect_size": 4 * difference,
                        "p": 0.0004 if shown else 0.21,
                        "p_holm": 0.006 if shown else 1.0,
                        "wins": queries // 2,
                        "ties": queries // 8,
                        "losses": queries - queries // 2 - queries // 8,
                        "detectable": 0.031,
                        "verdict": verdict,
                    }
                )
    return pd.DataFrame(rows)


def duels() -> pd.DataFrame:
    """Every ranker against every other."""
    return pd.concat([comparison(name).assign(baseline=name) for name in RANKERS])


def values() -> pd.DataFrame:
    """Values of 20 queries, on half of which fusion is better than annotation."""
    rows = [
        {"ranker": ranker, "query_id": f"q{query}", "measure": MAIN, "value": value}
        for query in range(20)
        for ranker, value in (("annotation", 0.5), ("fusion", 0.5 + 0.02 * (query - 9)))
    ]
    return pd.DataFrame(rows)


def diagnosis() -> pd.DataFrame:
    """What the scores of two rankers follow: clicks quality, annotations relevance."""
    rows = [
        {"ranker": ranker, "measure": measure, "bucket": bucket, "value": value, "queries": 20}
        | {"low": value - 0.1, "high": value + 0.1}
        for ranker, of_relevance in (("click", 0.4), ("annotation", 0.8))
        for measure, value in (
            ("correlation with relevance", of_relevance),
            ("pairs by relevance", 0.5 + of_relevance / 2),
            ("correlation with quality", 0.9 - of_relevance),
            ("pairs by quality", 0.95 - of_relevance / 2),
            ("AUC of relevant", of_relevance),
            ("nDCG@10 among relevant", 0.9 - of_relevance / 4),
        )
        for bucket in ("high", "all")
    ]
    return pd.DataFrame(rows)


def queries() -> pd.DataFrame:
    """The texts of 20 queries; the first one is hostile."""
    return pd.DataFrame(
        {
            "query_id": [f"q{query}" for query in range(20)],
            "text": [HOSTILE, *(f"how to bake sourdough bread {query}" for query in range(1, 20))],
            "frequency": np.arange(20) ** 3,
            "bucket": ["low"] * 10 + ["medium"] * 6 + ["high"] * 4,
        }
    )


def documents() -> pd.DataFrame:
    """The texts of four documents; the first has no title, the second is hostile."""
    return pd.DataFrame(
        {
            "doc_id": ["d0", "d1", "d2", "d3"],
            "title": ["", HOSTILE, "Bread", "Toast"],
            "body": ["A starter.", "A long text. " * 40, "Baked", "Baked twice"],
        }
    )


def signals() -> dict[str, pd.DataFrame]:
    """Grades and click labels of four pairs of q0 and q1; humans and clicks differ most on d1."""
    pairs = pd.DataFrame({"query_id": ["q0", "q0", "q1", "q1"], "doc_id": ["d0", "d1", "d2", "d3"]})
    return {
        "human": pairs.assign(value=[0, 3, 1, 2]),
        "judge": pairs.assign(value=[0.1, 2.7, 0.9, 2.1]),
        "clicks": pairs.assign(value=[0.2, 0.0, 0.5, 0.4], impressions=[30, 50, 20, 2]),
    }


def histories() -> dict[str, list[dict[str, float]]]:
    """Of two rankers, whose best epochs are not their last; the first has epochs without values."""
    return {
        "click": [
            {"epoch": epoch, "validation_ndcg": value, "click_loss": 1 / epoch, "seconds": 2.0}
            for epoch, value in enumerate([0.5, 0.7, 0.6, 0.55], 1)
        ],
        "annotation": [
            {"epoch": 1, "validation_ndcg": 0.8, "validation_ndcg_high": 0.7, "seconds": 3.0},
            {"epoch": 2, "validation_ndcg": 0.75, "validation_ndcg_high": 0.71, "seconds": 3.0},
        ],
    }


def sensitivity() -> pd.DataFrame:
    """Clicks overtake annotations between 10 and 100 searches a query."""
    rows = [
        {"setting": "searches a query", "level": level, "ranker": ranker, "bucket": "all"}
        | {"value": value, "low": value - 0.02, "high": value + 0.02}
        for level, click in ((1, 0.6), (10, 0.7), (100, 0.9))
        for ranker, value in (("click", click), ("annotation", 0.8))
    ]
    return pd.DataFrame(rows)


def differences() -> pd.DataFrame:
    """Of `sensitivity`: clicks lose at 1 search a query and win at 100; at 1, none is "high"."""
    rows = [
        {"setting": "searches a query", "level": level, "bucket": bucket, "queries": queries}
        | {"difference": difference, "low": difference - 0.02, "high": difference + 0.02}
        | {"p_holm": 0.01 if level != 10 else 0.2, "verdict": verdict}
        for level, difference, verdict in (
            (1, -0.2, "loses"),
            (10, -0.1, "no difference shown"),
            (100, 0.1, "wins"),
        )
        for bucket, queries in (("all", 60), ("high", 20))
    ]
    frame = pd.DataFrame(rows)
    without = (frame["level"] == 1) & (frame["bucket"] == "high")
    frame.loc[without, ["difference", "low", "high", "p_holm"]] = np.nan
    frame.loc[without, ["queries", "verdict"]] = 0, "no difference shown"
    return frame


def ablations() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means of one ranker with nothing and with three things changed, and three differences."""
    changes = [
        ("default", "", 1.0, 0.9),
        ("strategy", "selection", 1.0, 0.88),
        ("policy", "tail", 0.1, 0.8),
        ("policy", "tail", 0.3, 0.85),
    ]
    rows = [
        {"setting": setting, "level": level, "share": share, "ranker": "annotation"}
        | {"bucket": bucket, "value": value, "low": value - 0.01, "high": value + 0.01}
        | {"queries": 60, "difference": value - 0.9, "p_holm": 0.2 if value == 0.88 else 0.001}
        | {"verdict": "no difference shown" if value == 0.88 else "loses"}
        | {"effect_size": 0.4, "p": 0.0001, "wins": 12, "ties": 8, "losses": 40, "detectable": 0.02}
        for setting, level, share, value in changes
        for bucket in ("high", "all")
    ]
    means = pd.DataFrame(rows)
    bounds = {end: means[end] - 0.9 for end in ("low", "high")}
    return means, means.assign(**bounds)[means["setting"] != "default"]


def propensities() -> pd.DataFrame:
    """Of two contexts, one with a position that the log tells nothing of."""
    return pd.DataFrame(
        {
            "position": [1, 2, 1, 2],
            "propensity": [1.0, 0.5, 1.0, np.nan],
            "low": [1.0, 0.4, 1.0, np.nan],
            "high": [1.0, 0.6, 1.0, np.nan],
            "context": ["phone", "phone", "$desk$", "$desk$"],
        }
    )


def all_sections() -> list[Section]:
    """Every section that a report can have."""
    confusion = pd.DataFrame([[900, 120], [30, 410]], index=[0, 1], columns=[0, 1])
    agreement = pd.DataFrame(
        {
            "measure": ["kappa", "kappa", "tau"],
            "group": ["all", "high", "all"],
            "value": [0.62, 0.7, np.nan],
            "low": [0.5, np.nan, np.nan],
            "high": [0.7, np.nan, np.nan],
        }
    )
    tops = pd.DataFrame(
        {"ranker": ["fusion", "annotation"], "query_id": ["q19", "q19"]}
        | {"title": [HOSTILE, "Toast"], "grade": [3, np.nan]}
    )
    wide = Figure(figsize=(12, 2))
    wide.subplots(1, 5)
    return [
        Section("Wide pictures", [Picture("wide", wide, "Five panels", "Wide.")]),
        headline_section(measures(), MAIN, comparison(), "annotation"),
        win_loss_section(duels(), MAIN),
        frontier_section(measures(), MAIN),
        two_truths_section(measures(), MAIN, TRAFFIC),
        queries_section(values(), queries(), MAIN, "fusion", "annotation", tops),
        diagnosis_section(diagnosis()),
        training_section(histories(), "validation_ndcg", MAIN),
        agreement_section(confusion, agreement),
        audit_section(rank_differences(signals(), 10, 20), queries(), documents(), 10),
        propensities_section(propensities()),
        crossings_section(differences(), MAIN, PAIR),
        sensitivity_section(sensitivity(), MAIN, PAIR),
        ablation_section(*ablations(), MAIN),
        *shares_section(ablations()[0], MAIN),
        all_measures_section(measures(), [MAIN, TRAFFIC]),
        settings_section({"train": {"mix": {"click_weight": 1.0}, "stages": [{"share": 0.5}]}}),
    ]


def captions(section: Section) -> str:
    return " ".join(part if isinstance(part, str) else part.caption for part in section.parts)
