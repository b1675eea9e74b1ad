"""Measures against parameters: slices of all, and Optuna's plots within each kind of mix.

A kind of mix has parameters of its own, and a plot of several at once needs trials that have all
of them. So these plots are of one kind each, with what all kinds have.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.visualization import matplotlib as drawn

from evaluation.report.figures import (
    add_legend,
    make_logarithmic,
    new_panel,
    plain,
    styles,
)
from evaluation.report.parts import Picture, Section
from tuning.analysis.copies import optuna_figure, study_of
from tuning.analysis.importances import Evidence, by_importance, in_two_lines
from tuning.analysis.reading import Search, kind_of

LEAST_OF_SLICE, LEAST_OF_KIND = 3, 5  # trials
LEAST_DIFFERENCE = 1e-6  # of a measure; there is nothing to draw of less
SMALL = (3.2, 2.7)  # inches
MOST_AXES = 7  # of parallel coordinates
LETTERS = 14  # of a category on an axis


def slices_section(search: Search) -> Section | None:
    """The first objective against each parameter; None where too few trials are complete."""
    complete = search.complete
    frozen = [search.frozen[number] for number in complete["number"]]
    pictures = []
    for name in dict.fromkeys(name for trial in frozen for name in trial.params):
        having = [place for place, trial in enumerate(frozen) if name in trial.params]
        values = [frozen[place].params[name] for place in having]
        if name == "kind" or len(having) < LEAST_OF_SLICE or len(set(values)) < 2:
            continue
        trials = complete.iloc[having].assign(parameter=values)
        space = frozen[having[0]].distributions[name]
        text = f"{search.objectives[0]} of each complete trial against {name}"
        figure = _draw_slice(trials, search.objectives[0], name, space)
        pictures.append(Picture(f"slice {name}", figure, text, f"{text}."))
    if not pictures:
        return None
    text = (
        "Each complete trial by one of its parameters. Colours and marks are kinds of mix; what "
        "has a black edge is a known point. What else differs between trials is not shown."
    )
    return Section("Slices", [text, *pictures])


def combinations_section(search: Search) -> Section | None:
    """Several parameters at once, within each kind of mix; None where no kind has enough trials."""
    objective = search.objectives[0]
    complete = search.complete
    frozen = [search.frozen[number] for number in complete["number"]]
    kinds = pd.Series([kind_of(trial) for trial in frozen], index=complete.index)
    parts: list[Picture | str] = []
    for kind, numbers in complete["number"].groupby(kinds):
        if len(numbers) < LEAST_OF_KIND:
            continue
        values = complete.loc[numbers.index, [objective]].to_numpy(float)
        if np.ptp(values) < LEAST_DIFFERENCE:
            continue
        evidence = Evidence([search.frozen[number] for number in numbers], values)
        parts += _combinations(evidence, str(kind), objective)
    if not parts:
        return None
    text = (
        "Several parameters at once, of complete trials, for each kind of mix with "
        f"{LEAST_OF_KIND} or more. Contours are drawn through the trials, which are the black "
        "marks, and say nothing where there are none."
    )
    return Section("Parameters together", [text, *parts])


def _combinations(evidence: Evidence, kind: str, objective: str) -> list[Picture]:
    shared = set.intersection(*(set(trial.params) for trial in evidence.trials))
    names = [name for name in by_importance(evidence) if name in shared][:MOST_AXES]
    if len(names) < 2:
        return []
    short = _short_names(names)
    study = study_of(evidence.trials, evidence.reached.tolist(), short.get)
    axes = [short[name] for name in names]
    first, second = axes[:2]
    parallel = optuna_figure(
        lambda: drawn.plot_parallel_coordinate(study, axes, target_name=objective),
        (1.8 + 1.5 * len(axes), 4.0),
    )
    # Slanting names would lie on the numbers of the axes.
    parallel.axes[0].tick_params(axis="x", labelrotation=0, pad=12)
    contour = optuna_figure(
        lambda: drawn.plot_contour(study, [first, second], target_name=objective)
    )
    rank = optuna_figure(lambda: drawn.plot_rank(study, [first, second], target_name=objective))
    of = f"{objective} of {kind}"
    by = f"by {first} and {second}"
    return [
        Picture(
            f"parallel {kind}",
            parallel,
            f"{of}: parallel coordinates",
            f"{of}: a line is a trial, the darker the better, through its parameters from left to "
            "right, the most important first.",
        ),
        Picture(f"contour {kind}", contour, f"{of} {by}", f"{of} {by}: contours."),
        Picture(
            f"rank {kind}",
            rank,
            f"Ranks of {of} {by}",
            f"{of} {by}: the trials by their rank, the best red.",
        ),
    ]


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """The names of parameters without what they belong to, as far as they then differ."""
    last = {name: name.rsplit(".", 1)[-1] for name in names}
    count = Counter(last.values())
    return {name: end if count[end] == 1 else name for name, end in last.items()}


def _draw_slice(trials: pd.DataFrame, objective: str, name: str, space: BaseDistribution) -> Figure:
    figure, panel = new_panel(in_two_lines(name), objective, SMALL)
    kinds = trials["kind"].fillna("unknown").astype(str)
    looks = styles(sorted(kinds.unique()))
    places = trials["parameter"]
    if isinstance(space, CategoricalDistribution):
        choices = [choice for choice in space.choices if choice in set(places)]
        places = places.map({choice: place for place, choice in enumerate(choices)})
        panel.set_xticks(range(len(choices)), [plain(_cut(str(choice))) for choice in choices])
        panel.set_xlim(-0.5, len(choices) - 0.5)
    for kind, style in looks.items():
        for known, edge in ((False, style["color"]), (True, "black")):
            chosen = (kinds == kind) & (trials["known"].notna() == known)
            if chosen.any():
                panel.plot(
                    places[chosen].astype(float),
                    trials.loc[chosen, objective],
                    markersize=5 + 2 * known,
                    markeredgecolor=edge,
                    label=None if known else plain(kind),
                    **style | {"linestyle": ""},
                )
    if getattr(space, "log", False):
        _make_logarithmic(panel)
    if len(looks) > 1:
        add_legend(figure, panel)
    return figure


def _make_logarithmic(panel: Axes) -> None:
    """With powers of ten alone where there are several: a small panel has room for few numbers."""
    make_logarithmic(panel)
    low, high = panel.get_xlim()
    if high > 30 * low:
        panel.xaxis.set_major_locator(LogLocator(numticks=4))


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
