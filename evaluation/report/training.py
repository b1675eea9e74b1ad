"""The section on training: validation and losses of each ranker over all its epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.figures import add_legend, count_across, new_panel, plain, styles
from evaluation.report.parts import Estimate, Picture, Section, Table


def training_section(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], measure: str, name: str
) -> Section:
    """The whole training of each ranker: validation by group of queries and losses, by epoch.

    Args:
        histories: the metrics of each epoch of each ranker, with `epoch` (from 1), `measure`, and
            where they are known measure_high and so on, click_loss, annotation_loss and seconds.
        measure: the metric by which the best epoch was chosen, larger is better.
        name: what it is called.
    """
    frames = {ranker: pd.DataFrame(list(rows)) for ranker, rows in histories.items() if rows}
    frames = {
        ranker: frame
        for ranker, frame in frames.items()
        if measure in frame and frame[measure].notna().any()
    }
    best: dict[str, Any] = {ranker: frame[measure].idxmax() for ranker, frame in frames.items()}
    curves = {measure: f"{name} on all validation queries"}
    curves |= {
        f"{measure}_{group}": f"{name} on validation queries of {group} frequency"
        for group in ("high", "medium", "low")
    }
    curves |= {"click_loss": "Loss on clicks", "annotation_loss": "Loss on annotations"}
    pictures = [
        Picture(
            f"training {metric}",
            _draw_curves(frames, best, metric, "loss" if metric.endswith("loss") else name),
            f"{label} of each ranker by epoch",
            f"{label}, by epoch. The large mark is the epoch that was kept.",
        )
        for metric, label in curves.items()
        if any(metric in frame and frame[metric].notna().any() for frame in frames.values())
    ]
    rows = [
        {
            "ranker": ranker,
            "epochs": len(frame),
            "best epoch": int(frame.loc[best[ranker], "epoch"]),
            f"best validation {name}": Estimate(frame.loc[best[ranker], measure]),
            f"last validation {name}": Estimate(frame[measure].iloc[-1]),
            "seconds": round(frame["seconds"].sum()) if "seconds" in frame else None,
        }
        for ranker, frame in frames.items()
    ]
    caption = "Epochs trained, the one that was kept, and how far the last one lies from it."
    return Section("Training", [*pictures, Table("training", pd.DataFrame(rows), caption)])


def _draw_curves(
    frames: Mapping[str, pd.DataFrame], best: Mapping[str, Any], metric: str, label: str
) -> Figure:
    figure, panel = new_panel("epoch", label)
    for ranker, style in styles(frames).items():
        frame = frames[ranker]
        if metric not in frame:
            continue
        panel.plot(frame["epoch"], frame[metric], markersize=4, label=plain(ranker), **style)
        kept = frame.loc[[best[ranker]]]
        panel.plot(kept["epoch"], kept[metric], markersize=10, **style | {"linestyle": ""})
    count_across(panel)
    add_legend(figure, panel)
    return figure
