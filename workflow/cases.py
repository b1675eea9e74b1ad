"""Studies that change one thing at a time: what each case has of its own, and what it shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.output_folder import begin_output
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from evaluation.measures import MAIN_MEASURE
from rankers.evaluate import evaluate
from rankers.settings import TrainingSettings
from workflow.conditions import Condition
from workflow.simulated_annotations import SimulatedJudge, annotate_simulated
from workflow.study import (
    announce,
    describe_conditions,
    label_by_judge,
    label_clicks,
    ranker_folder,
    ranker_of,
    values_of_seeds,
    write_frame,
)

if TYPE_CHECKING:
    from evaluation.report.parts import Section

DEFAULT = "default"
SHOWN = (*BUCKETS, "all")  # groups of queries


@dataclass(frozen=True)
class Case:
    """What rankers are trained on, and how.

    Attributes:
        world: the world, with its log.
        judge: who annotates it, and how much of it.
        training: how rankers are trained.
    """

    world: SimulatedWorld
    judge: SimulatedJudge = field(default_factory=SimulatedJudge)
    training: TrainingSettings = field(default_factory=TrainingSettings)


class Measured(NamedTuple):
    """What came out of a case, over all seeds.

    Attributes:
        scores: ranker (a condition that the case has trained), query_id, measure (`MAIN_MEASURE`)
            and value.
        groups: query_id and group, one of `SHOWN`.
    """

    scores: pd.DataFrame
    groups: pd.DataFrame


@dataclass(frozen=True)
class Place:
    """Where a case of a seed lies.

    Attributes:
        name: of the case.
        seed: of its world, judge and training.
        folder: for what is its own.
        world: the folder of the first case with the same world: with collection and click labels.
        judged: the folder of the first case with the same world and judge: with annotations
            and the labels of clicks that they have a part in.
    """

    name: str
    seed: int
    folder: Path
    world: Path
    judged: Path


def check_world(world: SimulatedWorld) -> None:
    """Refuses a world that cannot be, or on which no ranker can be measured.

    Raises:
        InputError: naming the setting.
    """
    world.check()
    if world.judged == 0:
        raise InputError("world.judged must be above 0: rankers are measured on judged queries")


def begin_study(
    output: Path,
    job: str,
    world: SimulatedWorld,
    conditions: Mapping[str, Condition],
    training: TrainingSettings,
    resume: bool,
) -> dict[str, object]:
    """Claims the folder of a study; returns the settings that decide its cases.

    Args:
        output: the folder.
        job: the name of the study's job.
        world: of the default case.
        conditions: the ways to train, by name.
        training: of the default case.
        resume: go on with what is there.

    Raises:
        InputError: `output` is in use, or not every node reaches it.
    """
    from cluster.reach import check_reach  # brings Ray

    record: dict[str, object] = {
        "world": vars(world),
        "conditions": describe_conditions(conditions),
        "training": training.deciding,
    }
    check_reach([output])
    begin_output(output, job, record, resume)
    return record


def measure_cases(
    output: Path,
    cases: Mapping[str, Case],
    own: Mapping[str, list[str]],
    conditions: Mapping[str, Condition],
    seeds: int,
    at_once: int,
) -> dict[str, Measured]:
    """Makes the data of all cases, trains their rankers and evaluates them on test queries.

    What is there is not made again, in this run or an earlier one; what two cases have in common is
    made once. Under one seed all cases with one world have the same queries.

    Args:
        output: folder for seed-0/CASE/ and so on.
        cases: the cases by name.
        own: the conditions whose rankers each case trains itself.
        conditions: the ways to train, by name.
        seeds: how many worlds of each case; a query of one is another than that of the next.
        at_once: how many rankers are trained at a time.

    Returns:
        What came out of each case that trains a ranker.
    """
    from rankers.train_each import train_each  # brings PyTorch and Ray

    places = [place for seed in range(seeds) for place in places_of(output, cases, seed)]
    for number, place in enumerate(places, 1):
        if place.folder == place.judged:
            announce(f"data of {place.folder} ({number} of {len(places)})")
            _make_data(place, cases[place.name])
    rankers = [
        ranker_of(
            place.world,
            place.judged,
            ranker_folder(place.folder, name),
            conditions[name],
            cases[place.name].training,
            place.seed,
        )
        for place in places
        for name in own[place.name]
    ]
    announce(f"{len(rankers)} rankers")
    train_each(rankers, at_once)
    measured = [place for place in places if own[place.name]]
    for number, place in enumerate(measured, 1):
        announce(f"evaluation of {place.folder} ({number} of {len(measured)})")
        evaluate(
            place.world / "collection",
            place.folder / "evaluation",
            rankers={name: ranker_folder(place.folder, name) for name in own[place.name]},
            click_labels=place.world / "clicks",
            resume=True,
        )
    return {
        name: _measured([place for place in measured if place.name == name], own[name])
        for name in cases
        if own[name]
    }


def places_of(output: Path, cases: Mapping[str, Case], seed: int) -> list[Place]:
    """Where the cases of a seed lie, in their order."""
    folder = output / f"seed-{seed}"
    places = []
    for name, case in cases.items():
        same_world = [other for other in cases if cases[other].world == case.world]
        same_judge = [other for other in same_world if cases[other].judge == case.judge]
        of_case = (folder / name, folder / same_world[0], folder / same_judge[0])
        places.append(Place(name, seed, *of_case))
    return places


def _make_data(place: Place, case: Case) -> None:
    collection = place.world / "collection"
    if place.folder == place.world:
        prepare(collection, case.world, seed=place.seed, resume=True)
        label_clicks(place.world, resamples=0)
    annotate_simulated(collection, place.judged / "annotations", case.judge, place.seed)
    label_by_judge(place.world, place.judged, resamples=0)


def _measured(places: list[Place], conditions: list[str]) -> Measured:
    values, groups = values_of_seeds(
        [place.world / "collection" for place in places],
        [place.folder / "evaluation" for place in places],
        apart=True,
    )
    kept = (values["measure"] == MAIN_MEASURE) & values["ranker"].isin(conditions)
    return Measured(values[kept], groups[groups["group"].isin(SHOWN)])


def write_study(
    output: Path,
    frames: Mapping[str, pd.DataFrame],
    shown: tuple[str, pd.DataFrame],
    sections: Sequence["Section"],
    settings: Mapping[str, Mapping[str, Any]],
    title: str,
    introduction: str,
) -> None:
    """Writes the tables and the page of a study, and prints a table.

    Args:
        output: the folder of the study.
        frames: what is written as parquet, by the name of the file.
        shown: the name of a file and the table that is written into it, and printed.
        sections: of the page, before that of the settings.
        settings: the settings of the study, by the name of its job.
        title: of the page, before the name of the folder.
        introduction: of the page.
    """
    # These bring Matplotlib.
    from evaluation.report.exports import markdown_table
    from evaluation.report.page import write_report
    from evaluation.report.settings import settings_section

    for name, frame in frames.items():
        write_frame(frame, output / f"{name}.parquet")
    name, table = shown
    page = markdown_table(table)
    (output / f"{name}.md").write_text(page, encoding="utf-8")
    sections = [*sections, settings_section(settings)]
    write_report(sections, output / "report.html", f"{title}: {output.name}", (introduction,))
    print(page, end="")
