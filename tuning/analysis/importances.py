"""Which parameters mattered, by conditional PED-ANOVA, with its noise and what chance gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from evaluation.report.figures import COLOURS, ROW, SIZE, add_legend, new_panel, plain
from evaluation.report.parts import Estimate, Picture, Section, Table, slug
from tuning.analysis.copies import quiet
from tuning.analysis.reading import Search, kind_of

# Optuna asks for five trials in the target at least; with ten that is the better half.
LEAST_TRIALS, LEAST_IN_TARGET, TARGET = 10, 5, 0.1
MOST_SHOWN = 15  # parameters of a picture
EXPLAINED = (
    "An importance says how far the values of a parameter among the best trials differ from those "
    "among all (PED-ANOVA, Watanabe et al., IJCAI 2023; for parameters that only some kinds of mix "
    "have, its conditional form, as Optuna has it). Importances of one picture sum to 1. Intervals "
    "are of 95 %, over trials drawn again. Chance is what 95 % of studies stay below whose "
    "measures are shuffled among the trials: what is not above it may be noise, and of twenty "
    "parameters that do not matter about one is above it. Trials that were stopped early count as "
    "below all others. Samplers go where it was good before, so importances are of this search."
)


@dataclass(frozen=True)
class Evidence:
    """What importances are computed from.

    Attributes:
        trials: complete ones and those that were stopped early.
        reached: their objectives, shape (trials, objectives); what was stopped early is below all
            that is complete, so that it is never among the best.
    """

    trials: Sequence[FrozenTrial]
    reached: NDArray[np.float64]


def importances_section(search: Search, resamples: int) -> Section:
    """Importances over all kinds of mix, and within each that has enough trials.

    Args:
        search: the search.
        resamples: draws of trials for the intervals, and shuffles for what chance gives.
    """
    evidence = evidence_of(search)
    if len(evidence.trials) < LEAST_TRIALS:
        return Section("What mattered", [_refusal(len(evidence.trials), "the search")])
    parts: list[str | Picture | Table] = [EXPLAINED]
    parts += _parts(importances(evidence, resamples), "all kinds of mix")
    kinds = [kind_of(trial) for trial in evidence.trials]
    few = []
    for kind in sorted({kind for kind in kinds if kind is not None}):
        chosen = [place for place, name in enumerate(kinds) if name == kind]
        if len(chosen) == len(kinds):
            continue  # a search of one kind has been shown whole
        if len(chosen) < LEAST_TRIALS:
            few.append(f"{kind} ({len(chosen)})")
            continue
        of_kind = Evidence([evidence.trials[place] for place in chosen], evidence.reached[chosen])
        parts += _parts(importances(of_kind, resamples), f"{kind} alone")
    if few:
        parts.append(
            f"Within a kind of mix, importances take {LEAST_TRIALS} trials of it that are complete "
            f"or were stopped early; there are fewer of {', '.join(few)}."
        )
    return Section("What mattered", parts)


def evidence_of(search: Search) -> Evidence:
    """The trials of a search that importances and plots of parameters go by."""
    numbers = search.complete["number"].to_list()
    values = search.complete[list(search.objectives)].to_numpy(float)
    if not numbers:
        return Evidence([], values)
    stopped = search.trials[search.trials["state"] == "stopped early"]["number"].to_list()
    spread = np.ptp(values, axis=0)
    below = values.min(axis=0) - np.where(spread > 0, spread, 1.0)
    return Evidence(
        [search.frozen[number] for number in [*numbers, *stopped]],
        np.vstack([values, *([below] for _ in stopped)]),
    )


def importances(evidence: Evidence, resamples: int) -> pd.DataFrame:
    """The importance of each parameter that took more than one value.

    Args:
        evidence: at least `LEAST_TRIALS` trials.
        resamples: draws of trials, and shuffles.

    Returns:
        parameter, importance (they sum to 1, or are 0 all), low and high (95 % percentile bootstrap
        interval over trials), chance (the 95th percentile under shuffled values) and trials (that
        have the parameter); the most important first.
    """
    rng = np.random.default_rng(0)
    count = len(evidence.trials)
    everyone = np.arange(count)
    again = list(rng.integers(0, count, (resamples, count)))
    shuffled = [rng.permutation(count) for _ in range(resamples)]
    names = _varied(evidence.trials)
    shares = _shares(
        evidence,
        names,
        [
            (everyone, everyone),
            *((chosen, chosen) for chosen in again),
            *((everyone, valued) for valued in shuffled),
        ],
    )
    found, drawn, by_chance = shares[0], shares[1 : resamples + 1], shares[resamples + 1 :]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    table = pd.DataFrame(
        {
            "parameter": names,
            "importance": found,
            "low": np.minimum(low, found),
            "high": np.maximum(high, found),
            "chance": np.percentile(by_chance, 95, axis=0),
            "trials": [sum(name in trial.params for trial in evidence.trials) for name in names],
        }
    )
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def by_importance(evidence: Evidence) -> list[str]:
    """The parameters that took more than one value, the most important first."""
    names = _varied(evidence.trials)
    everyone = np.arange(len(evidence.trials))
    [shares] = _shares(evidence, names, [(everyone, everyone)])
    of_name = dict(zip(names, shares, strict=True))
    return sorted(names, key=lambda name: -of_name[name])


def _shares(
    evidence: Evidence,
    names: Sequence[str],
    draws: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> NDArray[np.float64]:
    """The importances of each draw, which says what trials it has and of which their values are.

    Returns:
        Shape (draws, names); each row sums to 1, or is 0.
    """
    count = len(evidence.trials)
    target = min(max(TARGET, LEAST_IN_TARGET / count), 0.5)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=target)
    rows = []
    with quiet():
        study = optuna.create_study(directions=["maximize"] * evidence.reached.shape[1])
        for chosen, valued in draws:
            trials = [
                _as_complete(evidence.trials[place], number, evidence.reached[value])
                for number, (place, value) in enumerate(zip(chosen, valued, strict=True))
            ]
            # To copy each draw into a study would take most of the time.
            study.get_trials = partial(_given, trials)
            found = get_param_importances(study, evaluator=evaluator, normalize=False)
            rows.append([found.get(name, 0.0) for name in names])
    table = np.array(rows).reshape(len(draws), len(names))
    total = table.sum(axis=1, keepdims=True)
    return np.divide(table, total, out=np.zeros_like(table), where=total > 0)


def _given(trials: list[FrozenTrial], *_: Any, **__: Any) -> list[FrozenTrial]:
    return trials


def _as_complete(trial: FrozenTrial, number: int, values: NDArray[np.float64]) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.COMPLETE,
        value=None,
        values=values.tolist(),
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_start,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _varied(trials: Sequence[FrozenTrial]) -> list[str]:
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [
        name
        for name in names
        if len({trial.params[name] for trial in trials if name in trial.params}) > 1
    ]


def _refusal(trials: int, of: str) -> str:
    return (
        f"Importances take at least {LEAST_TRIALS} trials that are complete or were stopped early; "
        f"{of} has {trials}. With fewer, they would be noise."
    )


def _parts(table: pd.DataFrame, among: str) -> list[str | Picture | Table]:
    if table.empty:
        return [f"Among {among}, all trials have the same parameters."]
    text = f"Importance of each parameter among {among}"
    caption = f"{text}, with its 95 % interval; the grey bar reaches to what chance gives."
    rows = table.copy()
    rows["importance"] = pd.Series(
        [Estimate(row["importance"], row["low"], row["high"]) for row in table.to_dict("records")],
        dtype=object,
    )
    rows["above chance"] = table["importance"] > table["chance"]
    rows = rows[["parameter", "importance", "chance", "above chance", "trials"]]
    return [
        Picture(f"importances {slug(among)}", _draw(table.head(MOST_SHOWN)), text, caption),
        Table(f"importances {slug(among)}", rows, f"{text}, and the trials that have it."),
    ]


def _draw(table: pd.DataFrame) -> Figure:
    height = 1.2 + 1.4 * ROW * len(table)
    figure, panel = new_panel("importance", "", (SIZE[0], height))
    places = np.arange(len(table))
    chance = table["chance"]
    panel.barh(places, chance, height=0.7, color="#dddddd", label="chance, 95 %")
    panel.plot(table["importance"], places, "o", color=COLOURS[0], markersize=6, label="importance")
    panel.hlines(places, table["low"], table["high"], color=COLOURS[0], linewidth=1.5)
    panel.set_yticks(places, [plain(in_two_lines(name)) for name in table["parameter"]], fontsize=8)
    panel.set_ylim(len(table) - 0.4, -0.6)
    panel.set_xlim(left=0)
    add_legend(figure, panel)
    return figure


def in_two_lines(name: str) -> str:
    """The name of a parameter, broken after what it belongs to."""
    return name.replace(".", ".\n", 1)
