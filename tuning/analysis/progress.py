"""How the search went on: the best so far, and each trial's learning curve."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.report.figures import COLOURS, add_legend, count_across, new_panel, plain, styles
from evaluation.report.parts import Picture, Section
from tuning.analysis.copies import hypervolume_history
from tuning.analysis.reading import HEAD, MEASURES, TAIL, Search

WAYS = {
    "trials": ("trials", "trials that ended"),
    "hours": ("time", "hours since the search began"),
    "cost": ("cost", "hours of training, summed over trials"),
}
# How a trial ended, in colour and mark.
LOOKS: dict[str, dict[str, Any]] = {
    "complete": {"color": COLOURS[4], "marker": "o"},
    "stopped early": {"color": COLOURS[3], "marker": "v"},
    "failed": {"color": COLOURS[1], "marker": "X"},
    "running": {"color": COLOURS[2], "marker": ">"},
    "waiting": {"color": COLOURS[5], "marker": "s"},
}


def best_so_far_section(search: Search) -> Section | None:
    """The best so far by trials, time and cost; None before a trial is complete.

    Where several measures are searched for, it is the hypervolume of the front so far.
    """
    ended = so_far(search)
    if ended["best"].notna().sum() == 0:
        return None
    several = len(search.objectives) > 1
    of = "Hypervolume of the front" if several else f"Best {search.objectives[0]}"
    told = {
        "trials": "Trials are in the order in which they ended.",
        "hours": "Time is of the clock.",
        "cost": "Cost is what trials trained for, those that were stopped or failed among them.",
    }
    pictures = [
        Picture(
            f"best by {way}",
            _draw_best(ended, search, way),
            f"{of} so far, over {name}",
            f"{of} so far, over {name}. {told[way]} The large marks are known points.",
        )
        for way, (name, _) in WAYS.items()
        if ended[way].notna().any()
    ]
    text = (
        "The hypervolume is the area between the front and a point just below the worst that was "
        "found of each measure: it grows as the front moves up or gets longer."
    )
    return Section("Best so far", [*([text] if several else []), *pictures])


def so_far(search: Search) -> pd.DataFrame:
    """The trials that have ended, in the order in which they did.

    Returns:
        The columns of `Search.trials`, and: trials (ended so far, 1 and on), hours (since the
        first trial began), cost (hours of training so far), best (the best so far of the
        objective, or the hypervolume of several; NaN before one is complete).
    """
    over = search.trials["state"].isin(["complete", "stopped early", "failed"])
    ended = search.trials[over].sort_values(["ended", "number"], kind="stable")
    complete = ended["number"].isin(search.complete["number"])
    if len(search.objectives) == 1:
        best = ended[search.objectives[0]].where(complete).cummax().ffill()
    else:
        best = hypervolume_history(search, ended["number"][complete].to_list())
        best = best.reindex(ended["number"]).ffill().set_axis(ended.index)
    return ended.assign(
        trials=np.arange(1, len(ended) + 1),
        hours=(ended["ended"] - search.trials["began"].min()) / 3600,
        cost=ended["seconds"].fillna(0).cumsum() / 3600,
        best=best,
    )


def curves_section(search: Search) -> Section | None:
    """The validation of each trial by epoch; None where no epoch is known."""
    pictures = []
    names = dict.fromkeys((search.objectives[0], MEASURES[0], HEAD, TAIL))
    for name in names:
        if name not in search.epochs or search.epochs[name].notna().sum() == 0:
            continue
        caption = (
            f"{name} on validation queries by epoch. A mark is where a trial ended; the black line "
            "is the best trial."
        )
        text = f"{name} of each trial by epoch, and where it ended"
        pictures.append(Picture(f"curves {name}", _draw_curves(search, name), text, caption))
    return Section("Learning curves", pictures) if pictures else None


def _draw_best(ended: pd.DataFrame, search: Search, way: str) -> Figure:
    objective = search.objectives[0]
    several = len(search.objectives) > 1
    figure, panel = new_panel(WAYS[way][1], "hypervolume" if several else objective)
    value = ended["best"] if several else ended[objective]
    for state in ("complete", "stopped early"):
        plain_trials = ended[(ended["state"] == state) & ended["known"].isna()]
        if not several and len(plain_trials):
            marks = LOOKS[state] | {"linestyle": ""}
            panel.plot(
                plain_trials[way], value[plain_trials.index], markersize=4, label=state, **marks
            )
    panel.step(ended[way], ended["best"], where="post", color="black", label="best so far")
    known = ended[ended["known"].notna() & ended["best"].notna()]
    for name, style in styles(known["known"].unique()).items():
        of_name = known[known["known"] == name]
        marks = style | {"linestyle": ""}
        panel.plot(
            of_name[way],
            value[of_name.index],
            markersize=9,
            label=plain(name),
            markeredgecolor="black",
            **marks,
        )
    if way == "trials":
        count_across(panel)
    if not several:
        _leave_out_the_worst(panel, ended.loc[ended["best"].notna(), objective])
    add_legend(figure, panel)
    return figure


def _leave_out_the_worst(panel: Axes, values: "pd.Series[float]") -> None:
    """Begins the axis not far below the lower quarter, so that the best can be told apart."""
    low, quarter, high = (float(values.quantile(share)) for share in (0, 0.25, 1))
    panel.set_ylim(bottom=max(low - 0.05 * (high - low), quarter - 2 * (high - quarter)))


def _draw_curves(search: Search, name: str) -> Figure:
    figure, panel = new_panel("epoch", name)
    states = search.trials.set_index("number")["state"]
    labelled = set()
    for number, curve in search.epochs.dropna(subset=[name]).groupby("number"):
        state = str(states.get(number, "complete"))
        look = LOOKS[state]
        label = None if state in labelled else state
        labelled.add(state)
        panel.plot(curve["epoch"], curve[name], color=look["color"], linewidth=0.8, alpha=0.6)
        last = curve.iloc[[-1]]
        panel.plot(last["epoch"], last[name], linestyle="", markersize=5, label=label, **look)
    best = search.best
    if best is not None:
        curve = search.epochs[search.epochs["number"] == best["number"]].dropna(subset=[name])
        panel.plot(curve["epoch"], curve[name], color="black", label=plain(str(best["name"])))
    count_across(panel)
    add_legend(figure, panel)
    return figure
