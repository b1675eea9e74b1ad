"""Draws docs/mixes.svg: the click weight of each mix over training and query frequency.

python -m rankers.mixes.pictures
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from rankers.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencyPower,
    FrequencySigmoid,
    Mix,
    Piecewise,
    Product,
    Ramp,
    Stage,
    Staged,
    Traffic,
)

PROGRESS = np.linspace(0, 1, 201)
FREQUENCY = np.geomspace(1, 10_000, 161)
# In the pictures the buckets part at 10 and 300 searches, and half of the candidates are shown.
TRAFFIC = Traffic(
    frequency=torch.tensor(FREQUENCY.round(), dtype=torch.int64),
    bucket=torch.tensor(np.digitize(-FREQUENCY, [-300, -10])),
    impressions=torch.tensor(FREQUENCY / 2, dtype=torch.float32),
)
PICTURES: dict[str, Mix] = {
    "Constant(0.5)": Constant(0.5),
    "Staged: annotations,\nthen clicks": Staged(),
    "Staged: annotations, then\nclicks on frequent queries": Staged(
        [Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])]
    ),
    "Ramp(linear)": Ramp("linear"),
    "Ramp(cosine)": Ramp("cosine"),
    "ByBucket()": ByBucket(),
    "FrequencySigmoid(50)": FrequencySigmoid(50),
    "FrequencyPower(500)": FrequencyPower(500),
    "Evidence(20)": Evidence(20),
    "Product of Ramp() and\nFrequencySigmoid(50)": Product([Ramp(), FrequencySigmoid(50)]),
    "Product of Constant(0.5)\nand ByBucket()": Product([Constant(0.5), ByBucket()]),
    "Piecewise: annotations, then\nFrequencySigmoid(50)": Piecewise(
        [Constant(0.0), FrequencySigmoid(50)], [0.25]
    ),
}


def draw() -> Figure:
    """One picture for each mix; white is where a query is not trained on."""
    return draw_mixes(PICTURES, rows=2)


def draw_mixes(mixes: Mapping[str, Mix], rows: int = 1) -> Figure:
    """The click weight of mixes over progress and frequency, as docs/mixes.svg has it.

    Args:
        mixes: by the titles of their panels; none leaves a number to the log.
        rows: of panels, by which their number can be divided.
    """
    columns = len(mixes) // rows
    figure = Figure(figsize=(2.3 * columns + 1.5, 2.6 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis, (name, mix) in zip(axes.flat, mixes.items(), strict=True):
        weights = torch.stack([mix(progress, TRAFFIC) for progress in PROGRESS], dim=1)
        covered = torch.stack([mix.covers(progress, TRAFFIC) for progress in PROGRESS], dim=1)
        shown = axis.pcolormesh(
            PROGRESS,
            FREQUENCY,
            np.where(covered.numpy(), weights.numpy(), np.nan),
            vmin=0,
            vmax=1,
            cmap="viridis",
            rasterized=True,
        )
        axis.set_yscale("log")
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_title(name, fontsize="medium")
    figure.supxlabel("progress of training")
    figure.supylabel("searches of the query")
    figure.colorbar(shown, ax=axes, label="click weight", shrink=0.7)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).parents[2] / "docs" / "mixes.svg", dpi=60)
