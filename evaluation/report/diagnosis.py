"""The section on what the scores of rankers follow: relevance, quality, or both."""

import pandas as pd

from evaluation.diagnosis import ASPECTS, RELEVANT
from evaluation.report.figures import add_legend, draw_points, ends_of, new_panel, styles
from evaluation.report.headline import known
from evaluation.report.parts import Estimate, Picture, Section, Table

WITHOUT_QUALITY = ("AUC of relevant", "nDCG@10 among relevant")
EXPLAINED = (
    "Correlation with relevance is the rank correlation of score and relevance among documents of "
    "equal quality, and correlation with quality that among documents of equal relevance; pairs "
    "are the share of pairs of documents that differ in one of the two alone and are in the right "
    "order, 0.5 by chance. "
)
SKILLS = (
    f"AUC is the chance that a relevant document (of grade {RELEVANT} and more) is above an "
    "irrelevant one; nDCG among relevant is how well the relevant ones are ordered."
)


def diagnosis_section(means: pd.DataFrame) -> Section:
    """What each ranker's scores follow, over all queries.

    Args:
        means: ranker, measure (of `evaluation.diagnosis.diagnose`), bucket (the group of queries),
            value, low, high and queries.
    """
    of_all = means[(means["bucket"] == "all") & means["value"].notna()]
    there = [str(name) for name in of_all["measure"].unique()]
    axes = [f"correlation with {of}" for of, _ in ASPECTS]
    with_quality = set(axes) <= set(there)
    rows = [
        {"ranker": ranker}
        | {
            row["measure"]: Estimate(row["value"], known(row["low"]), known(row["high"]))
            for row in of_ranker.to_dict("records")
        }
        for ranker, of_ranker in of_all.groupby("ranker", sort=False)
    ]
    queries = of_all.groupby("measure")["queries"].max()
    notes = {name: f"{queries[name]:,} queries" for name in there}
    told = (EXPLAINED if with_quality else "") + SKILLS + " Intervals are of 95 %, over queries."
    frame = pd.DataFrame(rows)[["ranker", *there]]
    parts: list[str | Table | Picture] = [Table("what scores follow", frame, told, notes)]
    if not with_quality:
        axes = list(WITHOUT_QUALITY)
    if set(axes) <= set(there):
        parts.insert(0, _draw(of_all, axes[0], axes[1]))
    return Section("What the scores follow", parts)


def _draw(means: pd.DataFrame, across: str, up: str) -> Picture:
    figure, panel = new_panel(across, up)
    for name, style in styles(means["ranker"].unique()).items():
        of_ranker = means[means["ranker"] == name]
        x, y = (of_ranker[of_ranker["measure"] == measure] for measure in (across, up))
        draw_points(panel, name, style, x["value"], y["value"], ends_of(x), ends_of(y))
    add_legend(figure, panel)
    text = f"{across} and {up} of each ranker, with 95 % intervals"
    caption = f"What each ranker's scores follow: {text}, over all queries."
    return Picture("what scores follow", figure, text, caption)
