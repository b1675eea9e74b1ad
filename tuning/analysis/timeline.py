"""When each trial ran, and on which worker."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.figures import ROW, add_legend, new_panel, plain
from evaluation.report.parts import Picture, Section
from tuning.analysis.progress import LOOKS
from tuning.analysis.reading import Search

WIDE = 9.0  # inches
HATCHES = {"stopped early": "///", "failed": "xxx", "running": "..."}
LEAST_WIDTH = 0.035  # of the axis, for a bar to bear its trial's number
LETTERS = 30  # of a worker's name


def timeline_section(search: Search) -> Section | None:
    """The trials on their workers over time; None where no trial has begun."""
    begun = search.trials.dropna(subset=["began"])
    if begun.empty:
        return None
    latest = begun[["began", "ended"]].max().max()
    # How long a running trial has run is not known; it goes on at the end.
    begun = begun.assign(ended=begun["ended"].fillna(latest))
    text = "When each trial ran, by worker"
    caption = (
        f"{text}; colours and hatches say how it ended, and the numbers which trial it is. Gaps "
        "are time in which a worker had no trial."
    )
    return Section("Timeline", [Picture("timeline", _draw(begun), text, caption)])


def _draw(begun: pd.DataFrame) -> Figure:
    lanes = _lanes(begun)
    names = list(dict.fromkeys(lanes))
    figure, panel = new_panel("minutes since the search began", "", (WIDE, 1.3 + ROW * len(names)))
    start = (begun["began"] - begun["began"].min()) / 60
    width = ((begun["ended"] - begun["began"]) / 60).clip(lower=0)
    whole = max(float((start + width).max()), 1e-9)
    labelled = set()
    for place, row in enumerate(begun.to_dict("records")):
        state = str(row["state"])
        panel.barh(
            names.index(lanes[place]),
            max(width.iloc[place], whole / 500),
            left=start.iloc[place],
            height=0.8,
            color=LOOKS[state]["color"],
            edgecolor="white",
            hatch=HATCHES.get(state),
            label=None if state in labelled else state,
        )
        labelled.add(state)
        if width.iloc[place] > LEAST_WIDTH * whole:
            panel.text(
                start.iloc[place] + width.iloc[place] / 2,
                names.index(lanes[place]),
                str(row["number"]),
                ha="center",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.5},
            )
    panel.set_xlim(0, whole * 1.01)
    panel.set_yticks(range(len(names)), [plain(name) for name, _ in names], fontsize=8)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(visible=False, axis="y")
    add_legend(figure, panel)
    return figure


def _lanes(begun: pd.DataFrame) -> list[tuple[str, int]]:
    """The worker of each trial, and a number, as one worker may have had several at a time."""
    free: dict[tuple[str, int], float] = {}
    lanes: dict[Any, tuple[str, int]] = {}
    for index, row in begun.sort_values("began", kind="stable").iterrows():
        worker = row["worker"] or "unknown worker"
        worker = worker if len(worker) <= LETTERS else f"…{worker[1 - LETTERS :]}"
        lane = 0
        while free.get((worker, lane), float("-inf")) > row["began"] + 1e-6:
            lane += 1
        free[worker, lane] = row["ended"]
        lanes[index] = (worker, lane)
    return [lanes[index] for index in begun.index]
