"""What studies of many rankers share: their settings, labels, trainings, and values over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from rich.console import Console

from clicks.fit_clicks import fit_clicks
from corpus.errors import InputError
from corpus.groups import GROUPS, reported_groups
from corpus.names import check_names, file_name
from corpus.tables import read_collection, write_parquet
from evaluation.given_runs import FIRST_STAGE
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from workflow.conditions import FUSION, Condition

if TYPE_CHECKING:
    from rankers.train_each import Arm


def check_study(
    conditions: Mapping[str, Condition], training: TrainingSettings, seeds: int, at_once: int
) -> None:
    """Refuses settings of a study that no data could make right.

    Args:
        conditions: the ways to train, by name.
        training: how each ranker is trained.
        seeds: how many seeds.
        at_once: how many rankers are trained at a time.

    Raises:
        InputError: naming the setting.
    """
    check_names(conditions, "condition", taken=[FIRST_STAGE])
    if seeds < 1 or at_once < 1:
        raise InputError(f"seeds and at_once must be at least 1, not {seeds} and {at_once}")
    from cluster.resources import check_room  # these bring Ray and PyTorch
    from rankers.demand import asked_alone
    from rankers.settings_checks import check_training_settings

    for condition in conditions.values():
        check_training_settings(training, condition.mix)
    check_room(asked_alone(at_once, training.resources.use_gpu), setting="at_once")


def describe_conditions(conditions: Mapping[str, Condition]) -> dict[str, Any]:
    """The conditions as values of JSON, by name."""
    return {
        name: {"mix": encode_mix(condition.mix), "labels": condition.labels}
        for name, condition in conditions.items()
    }


def label_clicks(world: Path, resamples: int = 200) -> None:
    """Makes the labels of clicks (`ClickSide`) that no judge has a part in.

    Args:
        world: a folder with a collection, and for the labels.
        resamples: as of `fit_clicks`; no label depends on them.
    """
    fit_clicks(world / "collection", world / "clicks", resamples=resamples, resume=True)


def label_by_judge(world: Path, judged: Path, resamples: int = 200) -> None:
    """Makes the labels of clicks that a judge has a part in.

    Args:
        world: a folder with a collection.
        judged: a folder with annotations of it, and for the labels; it may be the same.
        resamples: as of `fit_clicks`; no label depends on them.
    """
    collection, prior = world / "collection", judged / "annotations"
    label = partial(fit_clicks, collection, resamples=resamples, resume=True)
    label(judged / "shrunk", labels="PositionBasedModel", beside=prior)
    label(judged / FUSION, prior=prior)


def ranker_of(
    world: Path,
    judged: Path,
    output: Path,
    condition: Condition,
    training: TrainingSettings,
    seed: int,
) -> "Arm":
    """The ranker of a condition to train.

    Args:
        world: a folder with a collection and what `label_clicks` makes.
        judged: a folder with annotations of it and what `label_by_judge` makes; it may be the same.
        output: the folder of the ranker.
        condition: the way to train.
        training: the settings, but for the seed.
        seed: of the training.
    """
    from rankers.train_each import Arm  # brings PyTorch and Ray

    return Arm(
        output=output,
        collection=world / "collection",
        mix=condition.mix,
        training=replace(training, optimization=replace(training.optimization, seed=seed)),
        click_labels=(world if condition.labels == "clicks" else judged) / condition.labels,
        annotations=judged / "annotations",
        tokens=world / "tokens",
    )


def ranker_folder(folder: Path, name: str) -> Path:
    """Where the ranker of a condition lies."""
    return folder / "rankers" / file_name(name)


def values_of_seeds(
    collections: Sequence[Path], evaluations: Sequence[Path], apart: bool, name: str = "values"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The values of all seeds and the groups of their queries.

    Args:
        collections: the folder of the collection of each seed.
        evaluations: the folder of the evaluation of each seed, in the same order.
        apart: whether a query id means another query under another seed.
        name: of their file of values in the folder of the evaluation.

    Returns:
        ranker, query_id, measure and value, and where queries are not apart, seed; query_id and
        group.
    """
    values, groups = [], []
    for seed, (collection, evaluation) in enumerate(zip(collections, evaluations, strict=True)):
        of_seed = pd.read_parquet(evaluation / f"{name}.parquet").assign(seed=seed)
        of_groups = reported_groups(read_collection(collection))
        if apart:
            for frame in (of_seed, of_groups):
                frame["query_id"] = f"{seed}/" + frame["query_id"]
            of_seed = of_seed.drop(columns="seed")
        values.append(of_seed)
        groups.append(of_groups)
    in_order = {group: place for place, group in enumerate(GROUPS)}
    together = pd.concat(groups, ignore_index=True).drop_duplicates()
    together = together.sort_values("group", key=lambda names: names.map(in_order), kind="stable")
    return pd.concat(values, ignore_index=True), together


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame as parquet, without its index."""
    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)


def announce(title: str) -> None:
    """Prints what is done next, with a rule."""
    Console().rule(title, align="left")
