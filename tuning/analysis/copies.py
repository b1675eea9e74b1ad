"""Copies of a study in memory, of some trials and parameters: what Optuna's plots read."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as drawn

from evaluation.report.figures import SIZE
from tuning.analysis.reading import Search

MARGIN = 0.05  # of the range of a measure, between its worst value and the reference point


def study_of(
    trials: Sequence[FrozenTrial],
    values: Sequence[Sequence[float]],
    names: Callable[[str], str | None] = lambda name: name,
) -> optuna.Study:
    """A study in memory that maximizes.

    Args:
        trials: whose parameters it has, all as complete.
        values: of the objectives, for each of them.
        names: the name of a parameter in the copy, or None to leave it out.
    """
    with quiet():
        study = optuna.create_study(directions=["maximize"] * len(values[0]))
        study.add_trials(
            [
                optuna.trial.create_trial(
                    state=TrialState.COMPLETE,
                    params=_named(trial.params, names),
                    distributions=_named(trial.distributions, names),
                    values=list(value),
                )
                for trial, value in zip(trials, values, strict=True)
            ]
        )
    return study


def values_of(search: Search, numbers: Sequence[int]) -> list[list[float]]:
    """The objectives of complete trials by their numbers."""
    by_number = search.trials.set_index("number")[list(search.objectives)]
    return by_number.loc[list(numbers)].to_numpy(float).tolist()


def hypervolume_history(search: Search, numbers: Sequence[int]) -> "pd.Series[float]":
    """The hypervolume of the front after each of some complete trials, in the order given.

    The reference point is just below the worst value of each objective.

    Returns:
        One value for each of `numbers`, by which it is indexed.
    """
    if not numbers:
        return pd.Series(dtype=float)
    values = np.array(values_of(search, numbers))
    low, high = values.min(axis=0), values.max(axis=0)
    reference = low - MARGIN * np.where(high > low, high - low, 1.0)
    study = study_of([search.frozen[number] for number in numbers], values.tolist())
    figure = optuna_figure(lambda: drawn.plot_hypervolume_history(study, reference.tolist()))
    drawn_values = np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=float)
    return pd.Series(drawn_values, index=list(numbers))


def optuna_figure(draw: Callable[[], Any], size: tuple[float, float] = SIZE) -> Figure:
    """The figure of one of Optuna's plots, without its title; global settings stay as they were."""
    settings = {"font.size": 9, "figure.constrained_layout.use": True, "figure.figsize": size}
    with quiet(), mpl.rc_context(settings):
        made = np.atleast_1d(np.asarray(draw(), dtype=object)).flat[0]
        figure: Figure = made.figure
        plt.close(figure)
    figure.suptitle("")
    for axes in figure.axes:
        axes.set_title("")
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                _thin_out(axis)
    return figure


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's notes on what it does, and on what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _thin_out(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, so few that they do not run into others."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _named(of_names: dict[str, Any], names: Callable[[str], str | None]) -> dict[str, Any]:
    return {new: value for name, value in of_names.items() if (new := names(name)) is not None}
