"""The job `ablate`: what each part of the method is worth, by changing one thing at a time."""

from pathlib import Path

import pandas as pd

from corpus.errors import InputError
from corpus.output_folder import finish_output
from corpus.sources import SimulatedWorld
from evaluation.measures import MAIN_MEASURE
from rankers.settings import TrainingSettings
from workflow.ablations import Ablations, Change, changes_of
from workflow.cases import (
    DEFAULT,
    Case,
    Measured,
    begin_study,
    check_world,
    measure_cases,
    write_study,
)
from workflow.conditions import ANNOTATION, FAMOL, FUSION, Condition, some_conditions
from workflow.study import check_study

COLUMNS = ["setting", "level", "share", "ranker", "bucket"]
MEANS = [*COLUMNS, "value", "low", "high", "queries"]
DIFFERENCES = [*COLUMNS, "queries", "baseline_value", "value", "difference", "low", "high"]
DIFFERENCES += ["effect_size", "p", "p_holm", "wins", "ties", "losses", "detectable", "verdict"]


def ablate(
    output: Path,
    world: SimulatedWorld = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    ablations: Ablations = Ablations(),  # noqa: B008 - likewise
    conditions: dict[str, Condition] | None = None,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 - likewise
    seeds: int = 1,
    at_once: int = 2,
    resume: bool = False,
) -> None:
    """Tells what each part of the method is worth, by changing one thing at a time.

    Each change of the judge, of its budget or of training is a case, on the world and test queries
    of the default case. So the ranker of each condition is compared query by query with the one
    that the default case has of that condition. What a change does not touch is not trained again.
    Grades are a simulated judge's, as of `sensitivity`, which changes the world, the judge's errors
    and the share of queries that it sees.

    Writes `ablation.parquet` (the nDCG@10 of each ranker by bucket), `differences.parquet` (of each
    from the default case's, with paired tests, Holm's correction over all), `ablation.md` and
    `report.html`.

    Args:
        output: folder for everything: seed-0/CASE/ and so on, and the tables.
        world: the world of all cases.
        ablations: what is changed.
        conditions: the ways to train, by name; by default annotation, famol and fusion.
        training: how rankers are trained in the default case.
        seeds: how many worlds; a test is over the queries of all of them.
        at_once: how many rankers are trained at a time, each by one processor.
        resume: go on with an output that was begun with the same world, conditions and training;
            seeds and ablations may be others.

    Raises:
        InputError: a setting cannot be right, or `output` is in use.
    """
    conditions = conditions or some_conditions(ANNOTATION, FAMOL, FUSION)
    check_world(world)
    default = Case(world, training=training)
    check_study(conditions, training, seeds, at_once)
    changes, own = _touching(changes_of(ablations, default), conditions)
    for name, change in changes.items():
        touched = {condition: conditions[condition] for condition in own[name]}
        check_study(touched, change.case.training, seeds, at_once)
    record = begin_study(output, "ablate", world, conditions, training, resume)
    cases = {DEFAULT: default} | {name: change.case for name, change in changes.items()}
    measured = measure_cases(output, cases, own, conditions, seeds, at_once)
    settings = record | {"ablations": vars(ablations), "seeds": seeds}
    _write_results(output, changes, measured, settings)
    finish_output(output)


def _touching(
    changes: dict[str, Change], conditions: dict[str, Condition]
) -> tuple[dict[str, Change], dict[str, list[str]]]:
    """The changes that touch a condition, and the conditions that each case trains itself.

    Raises:
        InputError: there is none.
    """
    own = {DEFAULT: list(conditions)}
    for name, change in changes.items():
        if touched := [key for key, condition in conditions.items() if change.touches(condition)]:
            own[name] = touched
    if len(own) == 1:
        raise InputError("ablations change nothing of any condition; name what is changed")
    return {name: change for name, change in changes.items() if name in own}, own


def _write_results(
    output: Path,
    changes: dict[str, Change],
    measured: dict[str, Measured],
    settings: dict[str, object],
) -> None:
    """Writes the tables and the page, and prints the table.

    Args:
        output: the folder of the study.
        changes: from `changes_of`.
        measured: what came out of each case.
        settings: those of the study, for the page.
    """
    # These bring SciPy and Matplotlib.
    from evaluation.means import group_means
    from evaluation.report.ablation import ablation_section, ablation_table, shares_section
    from evaluation.significance import compare

    # A query has one value for each case and condition: here a case is the ranker, and a condition
    # the measure.
    scores = pd.concat(
        of_case.scores.assign(measure=of_case.scores["ranker"], ranker=name)
        for name, of_case in measured.items()
    )
    groups = measured[DEFAULT].groups
    means, differences = (
        _by_change(frame, changes)
        for frame in (group_means(scores, groups), compare(scores, groups, DEFAULT))
    )
    means, differences = means[MEANS], differences[DIFFERENCES]
    shown = ablation_table(means, differences, MAIN_MEASURE)
    write_study(
        output,
        {"ablation": means, "differences": differences},
        ("ablation", shown),
        [
            ablation_section(means, differences, MAIN_MEASURE),
            *shares_section(means, MAIN_MEASURE),
        ],
        {"ablate": settings},
        "What each part is worth",
        "One thing of the method is changed at a time; the world, its log and its test queries are "
        "the same. Grades are a simulated judge's.",
    )


def _by_change(frame: pd.DataFrame, changes: dict[str, Change]) -> pd.DataFrame:
    """The rows of cases with setting, level and share, in the order of the cases."""
    of_cases = {DEFAULT: (DEFAULT, "", 1.0)} | {
        name: (change.setting, change.level, change.share) for name, change in changes.items()
    }
    named = pd.DataFrame.from_dict(of_cases, "index", columns=["setting", "level", "share"])
    order = {name: place for place, name in enumerate(of_cases)}
    rows = frame.sort_values("ranker", key=lambda names: names.map(order), kind="stable")
    rows = rows.join(named, on="ranker").drop(columns="ranker")
    return rows.rename(columns={"measure": "ranker", "group": "bucket"})
