"""What training reads: lists with both labels, refused where they cannot be used."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from corpus.errors import InputError
from corpus.output_folder import warn_unfinished
from corpus.places import Place, arrow_files
from corpus.tables import Collection, read_collection, read_table
from evaluation.yardstick import choose_yardstick
from rankers.data.impressions import add_pages
from rankers.data.lists import SUPERVISED, add_labels, candidate_ids
from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.mixes import Constant, Mix
from rankers.settings import TrainingSettings


@dataclass(frozen=True)
class SupervisedLists:
    """The lists that training and validation read, and the collection they come from.

    Attributes:
        collection: as read.
        training: lists of the queries that training may read (`corpus.groups.query_groups`), under
            the protocol "production" judged ones, too, with both labels and no human judgment.
        validation: lists of validation queries, with both labels.
        propensities: of positions, where the click objective needs them.
        yardstick: what validation measures by, see `evaluation.yardstick.choose_yardstick`.
    """

    collection: Collection
    training: pa.Table
    validation: pa.Table
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
    tables = read_collection(collection)
    clicks = None if click_labels is None else read_table(click_labels, "click_labels")
    grades = None if annotations is None else read_table(annotations, "annotations")
    warn_unfinished(*filter(None, (click_labels, annotations)))
    label = training.objective.annotation_label
    train_lists, validation_lists = (
        add_labels(candidate_ids(tables, split), clicks, grades, label)
        for split in (SUPERVISED, "validation")
    )
    if train_lists.num_rows < (workers := training.resources.workers):
        raise InputError(
            f"{collection}: {train_lists.num_rows} training lists cannot feed {workers} workers"
        )
    if only != 0 and of_sessions is None:
        _refuse_without_label(train_lists, "click_label", f"{click_labels}: no click label")
    if only != 1:
        _refuse_without_label(train_lists, "annotation_label", f"{annotations}: no annotation")
    propensities = None
    if of_sessions is not None and only != 0:
        train_lists = add_pages(train_lists, tables.sessions, of_sessions.linear)
        if of_sessions.needs_propensities and click_labels is not None:
            propensities = _read_propensities(click_labels)
    try:
        yardstick = choose_yardstick(tables.judgments, validation_lists, clicks_alone=only == 1)
    except InputError as error:
        raise InputError(f"{collection}: {error}") from error
    return SupervisedLists(tables, train_lists, validation_lists, yardstick, propensities)


def _refuse_without_label(lists: pa.Table, name: str, what: str) -> None:
    """Refuses lists of which a signal that the mix uses teaches nothing at all."""
    highest = pc.max(lists[name].combine_chunks().flatten()).as_py()
    if highest is None or highest <= 0:
        raise InputError(
            f"{what} of a candidate of the {lists.num_rows} training queries is above 0, so there "
            "is nothing to learn from; look whether its ids are those of the collection"
        )


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
