"""The job `sensitivity`: where clicks and annotations cross as the simulated world changes."""

from pathlib import Path

import pandas as pd

from corpus.errors import InputError
from corpus.output_folder import finish_output
from corpus.sources import SimulatedWorld
from evaluation.measures import MAIN_MEASURE
from rankers.settings import TrainingSettings
from workflow.cases import (
    DEFAULT,
    Case,
    Measured,
    begin_study,
    check_world,
    measure_cases,
    write_study,
)
from workflow.conditions import ANNOTATION, CLICK, FUSION, Condition, some_conditions
from workflow.levels import Levels, cases_of, levels_of, own_rankers
from workflow.study import check_study

PAIR = (CLICK, ANNOTATION)
ROWS = ["setting", "level", "ranker", "bucket", "value", "low", "high", "queries"]
DIFFERENCES = ["setting", "level", "bucket", "queries", "difference", "low", "high"]
DIFFERENCES += ["p", "p_holm", "verdict"]


def sensitivity(
    output: Path,
    world: SimulatedWorld = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    levels: Levels = Levels(),  # noqa: B008 - likewise
    conditions: dict[str, Condition] | None = None,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 - likewise
    seeds: int = 1,
    at_once: int = 2,
    resume: bool = False,
) -> None:
    """Tells where clicks and annotations cross as one setting of the simulated world changes.

    Each level of a setting is a case: a world, its log, click labels, fused labels and grades, a
    ranker for each condition, and an evaluation on test queries. The default world's level is one
    case that all settings share, and what a setting does not touch is not trained again: a ranker
    of annotations alone is the same whatever the noise of clicks. Grades are a simulated judge's,
    whose share of errors is a number, not a model's (`annotate`), since accuracy is an axis here.

    Writes, for each setting and level, `sensitivity.parquet` (the nDCG@10 of each ranker by
    bucket), `differences.parquet` (click less annotation, with paired tests, Holm's correction over
    all), `crossings.parquet` and `crossings.md` (where they cross), and `report.html`.

    Args:
        output: folder for everything: seed-0/CASE/ and so on, and the tables.
        world: the default world, around which settings are changed.
        levels: what each setting is changed to.
        conditions: the ways to train, by name, click and annotation among them; by default these
            and fusion.
        training: how each ranker is trained.
        seeds: how many worlds of each case; a test is over the queries of all of them.
        at_once: how many rankers are trained at a time, each by one processor.
        resume: go on with an output that was begun with the same world, conditions and training;
            seeds and levels may be others.

    Raises:
        InputError: a setting cannot be right, or `output` is in use.
    """
    conditions = conditions or some_conditions(*PAIR, FUSION)
    _check_pair(conditions, world, levels)
    lines = levels_of(levels, world)
    cases = cases_of(lines, Case(world, training=training))
    check_study(conditions, training, seeds, at_once)
    record = begin_study(output, "sensitivity", world, conditions, training, resume)
    own = own_rankers(lines, conditions)
    measured = measure_cases(output, cases, own, conditions, seeds, at_once)
    measured = {name: _complete(of_case, measured[DEFAULT]) for name, of_case in measured.items()}
    settings = record | {"levels": vars(levels), "seeds": seeds}
    _write_results(output, lines, measured, settings)
    finish_output(output)


def _complete(measured: Measured, default: Measured) -> Measured:
    """The scores of a case with those of the rankers that it has from the default world's."""
    order = {ranker: place for place, ranker in enumerate(default.scores["ranker"].unique())}
    others = default.scores[~default.scores["ranker"].isin(measured.scores["ranker"])]
    values = pd.concat([measured.scores, others], ignore_index=True)
    by_ranker = values.sort_values("ranker", key=lambda names: names.map(order), kind="stable")
    return Measured(by_ranker, measured.groups)


def _check_pair(conditions: dict[str, Condition], world: SimulatedWorld, levels: Levels) -> None:
    if lacking := [name for name in PAIR if name not in conditions]:
        raise InputError(
            f"conditions lack {lacking[0]!r}; the study is of where {PAIR[0]} and {PAIR[1]} cross"
        )
    check_world(world)
    if not any(vars(levels).values()):
        raise InputError("levels are all empty; name a setting's levels to change it to")


def _write_results(
    output: Path,
    lines: dict[str, dict[float, str]],
    measured: dict[str, Measured],
    settings: dict[str, object],
) -> None:
    """Writes the tables and the page, and prints where the pair crosses.

    Args:
        output: the folder of the study.
        lines: from `levels_of`.
        measured: what came out of each case.
        settings: those of the study, for the page.
    """
    # These bring SciPy and Matplotlib.
    from evaluation.means import group_means
    from evaluation.report.sensitivity import (
        crossings_section,
        crossings_table,
        sensitivity_section,
    )

    means = {name: group_means(*of_case) for name, of_case in measured.items()}
    shown = _by_level(lines, means).rename(columns={"group": "bucket"})[ROWS]
    tests = _by_level(lines, _compare_pair(measured)).rename(columns={"group": "bucket"})
    differences = tests[DIFFERENCES]
    crossings = crossings_table(differences, PAIR)
    write_study(
        output,
        {"sensitivity": shown, "differences": differences, "crossings": crossings},
        ("crossings", crossings),
        [
            crossings_section(differences, MAIN_MEASURE, PAIR),
            sensitivity_section(shown.dropna(subset="value"), MAIN_MEASURE, PAIR),
        ],
        {"sensitivity": settings},
        f"Where {PAIR[0]} and {PAIR[1]} cross",
        "One setting of the simulated world is changed at a time; all others are the default "
        "world's. Grades are a simulated judge's, whose share of errors is one of the settings.",
    )


def _compare_pair(measured: dict[str, Measured]) -> dict[str, pd.DataFrame]:
    """Tests of the pair in each case, as `compare` makes them, in one family of all cases.

    A query of one case is another than that of the next, as it may be in another bucket.
    """
    from evaluation.significance import compare

    values, groups = [], []
    for name, (of_case, of_groups) in measured.items():
        of_pair = of_case[of_case["ranker"].isin(PAIR)]
        values.append(of_pair.assign(measure=name, query_id=f"{name}/" + of_pair["query_id"]))
        groups.append(of_groups.assign(query_id=f"{name}/" + of_groups["query_id"]))
    tests = compare(pd.concat(values), pd.concat(groups), baseline=PAIR[1])
    return {name: tests[tests["measure"] == name] for name in measured}


def _by_level(
    lines: dict[str, dict[float, str]], of_cases: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """The rows of the cases of each setting, with setting, as words, and level."""
    return pd.concat(
        [
            of_cases[name].assign(setting=setting.replace("_", " "), level=level)
            for setting, named in lines.items()
            for level, name in named.items()
        ],
        ignore_index=True,
    )
