"""Draws docs/mixes.svg: the click weight of each mix over training and query frequency.

python -m rankers.mixes.pictures
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from rankers.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencyPower,
    FrequencySigmoid,
    Mix,
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
}


def draw() -> Figure:
    """One picture for each mix; white is where a query is not trained on."""
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    axes = figure.subplots(2, 5, sharex=True, sharey=True)
    for axis, (name, mix) in zip(axes.flat, PICTURES.items(), strict=True):
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
        axis.set_title(name, fontsize="medium")
    figure.supxlabel("progress of training")
    figure.supylabel("searches of the query")
    figure.colorbar(shown, ax=axes, label="click weight", shrink=0.7)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).parents[2] / "docs" / "mixes.svg", dpi=60)
