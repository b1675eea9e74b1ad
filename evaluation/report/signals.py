"""Sections on the two signals: the judge's agreement, pairs that they differ on, propensities."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.figures import COLOURS, add_legend, count_across, new_panel, plain, styles
from evaluation.report.headline import known
from evaluation.report.parts import Estimate, Picture, Section, Table

PAIR = ["query_id", "doc_id"]
SIGNALS = {
    "human": "human grade",
    "judge": "judge's grade",
    "clicks": "click label",
    "impressions": "impressions",
}
TEXT_LENGTH = 160  # characters of a document's text in a table


def agreement_section(confusion: pd.DataFrame, agreement: pd.DataFrame | None = None) -> Section:
    """How the judge's grades agree with those of humans.

    Args:
        confusion: counts of pairs; its index is the humans' grade, its columns the judge's.
        agreement: measure, group (of queries), value (None where it is not defined), and low and
            high, the bounds of its interval, where they are known.
    """
    pairs = int(confusion.to_numpy().sum())
    parts: list[str | Table | Picture] = [
        Picture(
            "confusion",
            _draw_confusion(confusion),
            "Counts of pairs by human grade and by the judge's grade",
            f"The judge's grades against the human ones, in the {pairs:,} pairs that have both.",
        )
    ]
    if agreement is not None:
        caption = (
            "Agreement of the judge with humans by group of queries; intervals, where there are "
            "any, are of 95 %."
        )
        rows = [
            {"measure": measure}
            | {
                str(row["group"]): Estimate(
                    np.nan if row["value"] is None else row["value"],
                    known(row.get("low")),
                    known(row.get("high")),
                )
                for row in of_measure.to_dict("records")
            }
            for measure, of_measure in agreement.groupby("measure", sort=False)
        ]
        parts.append(Table("judge agreement", pd.DataFrame(rows), caption))
    return Section("How good the judge is", parts)


def audit_section(
    pairs: pd.DataFrame, queries: pd.DataFrame, documents: pd.DataFrame, least_impressions: int
) -> Section:
    """The pairs on which humans, clicks and the judge differ most, with their texts.

    Args:
        pairs: those to show, from `rank_differences`.
        queries: query_id, text, of their queries at least.
        documents: doc_id, title, body, of their documents at least.
        least_impressions: of pairs whose clicks were looked at.
    """
    pairs = pairs.merge(queries[["query_id", "text"]], "left", "query_id")
    pairs = pairs.merge(documents[["doc_id", "title", "body"]], "left", "doc_id")
    columns = {
        "query": pairs["text"],
        "document": pairs["title"],
        "text": pairs["body"].map(shorten),
    }
    columns |= {shown: pairs[name] for name, shown in SIGNALS.items() if name in pairs}
    columns |= {"widest": pairs["widest"], "difference of ranks": pairs["difference"]}
    caption = (
        f"The {len(pairs):,} pairs on which the signals differ most. Each signal has a scale of "
        "its own, so a pair is taken by its rank within the signal, from 0 (lowest) to 1 "
        f"(highest). Clicks are click labels of pairs shown at least {least_impressions} times. "
        "Read them: they tell whose error it is."
    )
    return Section("Pairs to look at", [Table("audit", pd.DataFrame(columns), caption)])


def rank_differences(
    signals: Mapping[str, pd.DataFrame], least_impressions: int, most: int
) -> pd.DataFrame:
    """The pairs with two signals or three on which these differ most.

    Grades and click labels have scales of their own, so each signal is taken by its rank among the
    pairs of that signal, from 0 (lowest) to 1 (highest), equal ones sharing their mean rank. Two
    signals differ by the distance of their ranks, and a pair by the largest distance.

    Args:
        signals: for each of "human", "judge" and "clicks" that there is: query_id, doc_id, value,
            and for clicks impressions.
        least_impressions: clicks of pairs that were shown less often are left out, as noise.
        most: how many pairs to return.

    Returns:
        query_id, doc_id, the signals by name (NaN where a pair has none), impressions where clicks
        are given, difference (of ranks, 0 to 1) and widest ("clicks above human"); those that
        differ most first.
    """
    frames = []
    for name, frame in signals.items():
        if name == "clicks":
            frame = frame[frame["impressions"] >= least_impressions]
        kept = frame[frame["value"].notna()]
        columns = [*PAIR, "value", *(["impressions"] if name == "clicks" else [])]
        ranked = kept[columns].rename(columns={"value": name})
        highest = max(len(ranked) - 1, 1)
        ranked[f"rank of {name}"] = (ranked[name].rank(method="average") - 1) / highest
        frames.append(ranked.set_index(PAIR))
    pairs = pd.concat(frames, axis=1)
    names = list(signals)
    ranks = pairs[[f"rank of {name}" for name in names]].set_axis(names, axis=1)
    several = ranks.notna().sum(axis=1) >= 2
    pairs, ranks = pairs[several], ranks[several]
    pairs = pairs.drop(columns=[f"rank of {name}" for name in names])
    pairs["difference"] = ranks.max(axis=1) - ranks.min(axis=1)
    pairs["widest"] = [
        f"{above} above {below}"
        for above, below in zip(ranks.idxmax(axis=1), ranks.idxmin(axis=1), strict=True)
    ]
    ordered = pairs.sort_values("difference", ascending=False, kind="stable")
    return ordered.head(most).reset_index(names=PAIR)


def propensities_section(propensities: pd.DataFrame) -> Section:
    """How likely users look at a position, as the log tells.

    Args:
        propensities: position, propensity (relative to the first, NaN where unknown), low, high,
            and where there are several of a position `context`; further columns are shown along.
    """
    lines = propensities.assign(line=propensities.get("context", "all searches"))
    figure, panel = new_panel("position", "propensity of examination")
    for name, style in styles(lines["line"].astype(str).unique()).items():
        line = lines[lines["line"].astype(str) == name]
        unknown = int(line["propensity"].isna().sum())
        label = f"{name} ({unknown} unknown)" if unknown else name
        panel.plot(line["position"], line["propensity"], markersize=5, label=plain(label), **style)
        panel.fill_between(
            line["position"], line["low"], line["high"], color=style["color"], alpha=0.2
        )
    panel.set_ylim(bottom=0)
    count_across(panel)
    add_legend(figure, panel)
    told = "How likely users look at a position, relative to the first, with 95 % intervals."
    counted = "Propensities by position, and how much of the log they are learned from."
    return Section(
        "Propensities",
        [
            Picture("propensities", figure, "Propensity of examination by position", told),
            Table("propensities", propensities, counted),
        ],
    )


def shorten(text: str | None) -> str:
    """The beginning of a document's text."""
    text = " ".join(text.split()) if isinstance(text, str) else ""
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"


def _draw_confusion(confusion: pd.DataFrame) -> Figure:
    figure, panel = new_panel("grade of the judge", "human grade")
    counts = confusion.to_numpy()
    panel.grid(visible=False)
    panel.imshow(np.log1p(counts), cmap="Blues", vmin=0, aspect="auto")
    dark = np.log1p(counts) > 0.65 * np.log1p(counts.max(initial=0))
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if dark[row, column] else COLOURS[-1]
        panel.text(column, row, f"{int(count):,}", ha="center", va="center", color=colour)
    panel.set_xticks(range(counts.shape[1]), [str(name) for name in confusion.columns])
    panel.set_yticks(range(counts.shape[0]), [str(name) for name in confusion.index])
    return figure
