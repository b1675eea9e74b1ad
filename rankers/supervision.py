"""What training reads: lists with both labels, refused where they cannot be used."""

from dataclasses import dataclass
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from corpus.errors import InputError
from corpus.output_folder import warn_unfinished
from corpus.places import Place, arrow_files
from corpus.tables import Collection, read_collection, read_table
from evaluation.yardstick import gains_by, name_yardstick, told_apart
from rankers.data.impressions import add_pages, refuse_unshown, shown_candidates
from rankers.data.lists import SUPERVISED, VALIDATION, add_labels, ids_of_split, refuse_no_lists
from rankers.losses.click_objectives import CLICK_OBJECTIVES, ClickObjective
from rankers.mixes import Constant, Mix
from rankers.settings import AnnotationLabel, TrainingSettings


@dataclass(frozen=True)
class SupervisedLists:
    """The lists that training and validation read, and the collection they come from.

    Attributes:
        collection: as read.
        training: lists of the queries that training may read (`corpus.groups.query_groups`), under
            the protocol "production" judged ones, too, with both labels and no human judgment.
        validation: lists of validation queries, with both labels.
        propensities: of positions, where the click objective needs them.
        measured_by: the yardstick of validation, see `evaluation.yardstick.name_yardstick`.
        yardstick: the gains of the validation queries by it.
    """

    collection: Collection
    training: pa.Table
    validation: pa.Table
    measured_by: str
    yardstick: pa.Table
    propensities: Tensor | None


def read_supervised_lists(
    collection: Place,
    click_labels: Place | None,
    annotations: Place | None,
    mix: Mix | None,
    training: TrainingSettings,
) -> SupervisedLists:
    """Reads what training needs and refuses what it cannot use, before anything is started.

    Args:
        collection: folder of the collection.
        click_labels: folder with the click labels, where there are any.
        annotations: folder with the annotations, where there are any.
        mix: the click weight; None if it is still to be found and may need both signals.
        training: the settings, which `check_training_settings` has looked at.

    Raises:
        InputError: a folder or table is missing or broken, the mix needs a signal that is not
            given, or nothing tells rankings of the validation queries apart.
    """
    signals = check_signals(click_labels, annotations, mix, training)
    tables = read_collection(collection)
    clicks = None if click_labels is None else read_table(click_labels, "click_labels")
    grades = None if annotations is None else read_table(annotations, "annotations")
    warn_unfinished(*filter(None, (click_labels, annotations)))
    lists, validation, told = supervise(tables, clicks, grades, signals)
    measured_by = check_told(told, collection, click_labels, annotations, signals, training)
    propensities = read_propensities(click_labels, signals)
    yardstick = gains_by(measured_by, tables.judgments, validation)
    return SupervisedLists(tables, lists, validation, measured_by, yardstick, propensities)


@dataclass(frozen=True)
class Signals:
    """What training learns from.

    Attributes:
        clicks: whether the mix may use clicks.
        annotations: whether it may use annotations.
        annotation_label: see `rankers.settings.ObjectiveSettings`.
        of_sessions: how sessions are learned from; None where click labels are.
    """

    clicks: bool
    annotations: bool
    annotation_label: AnnotationLabel
    of_sessions: ClickObjective | None


def check_signals(
    click_labels: Place | None,
    annotations: Place | None,
    mix: Mix | None,
    training: TrainingSettings,
) -> Signals:
    """What training learns from; arguments as those of `read_supervised_lists`.

    Raises:
        InputError: the mix needs a signal that is not given.
    """
    only = mix.click_weight if isinstance(mix, Constant) else None
    objective = training.objective.click_objective
    of_sessions = None if objective == "labels" else CLICK_OBJECTIVES[objective]
    needs_labels = of_sessions is None or of_sessions.needs_propensities
    if click_labels is None and only != 0 and needs_labels:
        raise InputError(f"{mix} uses clicks; give --click_labels, or a Constant mix of 0")
    if click_labels is None and mix is not None and mix.needs_impressions:
        raise InputError(f"{mix} goes by impressions; give --click_labels, which count them")
    if annotations is None and only != 1:
        raise InputError(f"{mix} uses annotations; give --annotations, or a Constant mix of 1")
    return Signals(only != 0, only != 1, training.objective.annotation_label, of_sessions)


@dataclass(frozen=True)
class Told:
    """What lists tell of whether they can be learned from.

    Attributes:
        training: how many lists there are to train on.
        validation: how many to validate on.
        highest: the highest label of training lists, by signal; -1 where there is none.
        shown: how often pages show a candidate; -1 where lists have no pages.
        telling: from `evaluation.yardstick.told_apart`, of validation lists.
    """

    training: int
    validation: int
    highest: dict[str, float]
    shown: int
    telling: dict[str, int]

    def with_others(self, other: "Told") -> "Told":
        """What the lists of both tell."""
        return Told(
            self.training + other.training,
            self.validation + other.validation,
            {name: max(label, other.highest[name]) for name, label in self.highest.items()},
            -1 if self.shown < 0 else self.shown + other.shown,
            {name: count + other.telling[name] for name, count in self.telling.items()},
        )


def supervise(
    tables: Collection, clicks: pa.Table | None, grades: pa.Table | None, signals: Signals
) -> tuple[pa.Table, pa.Table, Told]:
    """The lists that training and validation read, with both labels and the pages of sessions.

    Args:
        tables: the collection, or what it holds of some queries.
        clicks: the click labels, where there are any, at least those of these queries.
        grades: the annotations, likewise.
        signals: from `check_signals`.

    Returns:
        Lists to train on; lists to validate on; what they tell.

    Raises:
        InputError: a pair has two labels of one kind.
    """
    training, validation = (
        add_labels(ids_of_split(tables, split), clicks, grades, signals.annotation_label)
        for split in (SUPERVISED, VALIDATION)
    )
    shown = -1
    if signals.of_sessions is not None and signals.clicks:
        training = add_pages(training, tables.sessions, signals.of_sessions.linear)
        shown = shown_candidates(training)
    highest = {}
    for name in ("click_label", "annotation_label"):
        label = pc.max(training[name].combine_chunks().flatten()).as_py()
        highest[name] = -1.0 if label is None else float(label)
    telling = told_apart(tables.judgments, validation)
    return (
        training,
        validation,
        Told(training.num_rows, validation.num_rows, highest, shown, telling),
    )


def check_told(
    told: Told,
    collection: Place,
    click_labels: Place | None,
    annotations: Place | None,
    signals: Signals,
    training: TrainingSettings,
) -> str:
    """Refuses lists from which nothing could be learned, or by which no epoch could be chosen.

    Args:
        told: of all queries.
        collection: for messages, and so are `click_labels` and `annotations`.
        signals: from `check_signals`.
        training: the settings.

    Returns:
        The yardstick of validation.

    Raises:
        InputError: saying what is missing.
    """
    for lists, split in ((told.training, SUPERVISED), (told.validation, VALIDATION)):
        if lists == 0:
            refuse_no_lists(split)
    if told.training < (workers := training.resources.workers):
        raise InputError(
            f"{collection}: {told.training} training lists cannot feed {workers} workers"
        )
    if signals.clicks and signals.of_sessions is None and told.highest["click_label"] <= 0:
        _refuse_labels(told, f"{click_labels}: no click label")
    if signals.annotations and told.highest["annotation_label"] <= 0:
        _refuse_labels(told, f"{annotations}: no annotation")
    refuse_unshown(told.shown)
    try:
        return name_yardstick(told.telling, told.validation)
    except InputError as error:
        raise InputError(f"{collection}: {error}") from error


def _refuse_labels(told: Told, what: str) -> NoReturn:
    raise InputError(
        f"{what} of a candidate of the {told.training} training queries is above 0, so there "
        "is nothing to learn from; look whether its ids are those of the collection"
    )


def read_propensities(click_labels: Place | None, signals: Signals) -> Tensor | None:
    """The propensities beside the click labels, by position; None where none are needed.

    Raises:
        InputError: they are needed and missing, or of contexts, or tell nothing.
    """
    if signals.of_sessions is None or not signals.clicks or click_labels is None:
        return None
    return _read_propensities(click_labels) if signals.of_sessions.needs_propensities else None


def _read_propensities(click_labels: Place) -> Tensor:
    """The propensities that `fit_clicks` wrote beside the labels, by position."""
    path = click_labels / "propensities.parquet"
    if not path.exists():
        raise InputError(f"{path}: there is no such table; fit_clicks writes it beside the labels")
    files, inside = arrow_files(path)
    table = pq.read_table(inside, filesystem=files)
    if "context" in table.column_names:
        raise InputError(
            f"{path}: holds propensities by context, which only click labels can tell apart; take "
            "click_objective labels, or fit clicks without a context"
        )
    by_position = table.sort_by("position")["propensity"].to_numpy()
    if unknown := table["propensity"].null_count:
        if unknown == table.num_rows - 1:
            raise InputError(
                f"{path}: the log tells the propensity of no position but the first; take a "
                "click_objective without propensities, or a log in which documents change places"
            )
        print(f"{path}: of {unknown} positions unknown; documents there have no part in the loss")
    return torch.tensor(by_position, dtype=torch.float32).clamp(max=1.0)
