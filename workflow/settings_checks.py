"""Checks of all settings of a pipeline that need no data, made before its first job."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from annotation.settings_checks import check_annotation_settings
from clicks.fit_clicks import check_click_settings
from cluster.resources import check_room
from corpus.errors import InputError
from corpus.names import check_names
from corpus.protocol import check_parting
from evaluation.given_runs import FIRST_STAGE, check_compared
from rankers.demand import WORKER_SETTINGS, asked_alone, asked_workers
from rankers.evaluate import check_evaluation_settings
from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.mixes import Mix
from rankers.settings import TrainingSettings
from rankers.settings_checks import check_training_settings
from rankers.training.storage import check_store, checkpoint_storage, place_within
from tuning.tune import check_tuning_settings

# The check of each job's settings, which takes its arguments from them by name.
CHECKS: dict[str, Callable[..., None]] = {
    "prepare": check_parting,
    "fit_clicks": check_click_settings,
    "annotate": check_annotation_settings,
    "tune": check_tuning_settings,
    "evaluate": check_evaluation_settings,
}


def check_arms(arms: Mapping[str, Mix], added: Collection[str]) -> None:
    """Refuses names of arms that no folder can have, or that the pipeline needs itself.

    Args:
        arms: the mix of each arm, by name.
        added: the names of the arms that the pipeline adds.

    Raises:
        InputError: naming the arm.
    """
    if taken := [name for name in added if name in arms]:
        raise InputError(f"the arm {taken[0]!r} is made by the pipeline; give yours another name")
    check_names([*arms, *added, FIRST_STAGE], "arm")


def check_arms_at_once(arms_at_once: int, train_settings: Mapping[str, Any]) -> None:
    """Refuses arms side by side where one process on a processor cannot train them.

    Args:
        arms_at_once: how many arms are trained at a time.
        train_settings: the given settings of train.

    Raises:
        InputError: naming the setting.
    """
    if arms_at_once < 1:
        raise InputError(f"arms_at_once must be at least 1, not {arms_at_once}")
    training = train_settings.get("training", TrainingSettings())
    asked = {
        "train.training.resources.use_gpu": training.resources.use_gpu,
        "train.checkpoints": train_settings.get("checkpoints"),
    }
    for name, value in asked.items():
        if arms_at_once > 1 and value:
            raise InputError(
                f"{name} asks for what arms side by side do not have: each is trained by one "
                "process without a GPU, its checkpoints in its folder; leave arms_at_once at 1"
            )
    if arms_at_once > 1:
        check_room(asked_alone(arms_at_once, use_gpu=False), setting="arms_at_once")


def check_stages(
    jobs: Mapping[str, Callable[..., None]],
    stages: Mapping[str, Mapping[str, Any]],
    arms: Mapping[str, Mix],
    stores: Mapping[str, Collection[str]],
    prepared: bool,
    resume: bool,
) -> None:
    """Refuses settings of any job that are wrong for any data.

    Args:
        jobs: the function of each job, by name.
        stages: the given settings of each job, by the job's name.
        arms: the mix of each ranker to train, by name.
        stores: names of the folders below `checkpoints` that each job uses, by the job's name;
            those of train are the rankers that are compared.
        prepared: whether the collection has been begun, so that its source may be gone.
        resume: whether these folders may hold checkpoints.

    Raises:
        InputError: naming the job and its setting, file or model.
    """
    settings = {name: _with_defaults(job, stages.get(name, {})) for name, job in jobs.items()}
    if not prepared:
        _check("prepare", settings["prepare"]["source"].check, ())
    for name, check in CHECKS.items():
        wanted = inspect.signature(check).parameters
        _check(name, check, (settings[name][parameter] for parameter in wanted))
    evaluation = settings["evaluate"]
    compared = (stores["train"], evaluation["runs"] or {}, evaluation["baseline"] or FIRST_STAGE)
    _check("evaluate", check_compared, compared)
    training = settings["train"]["training"]
    for mix in arms.values():
        _check("train", check_training_settings, (training, mix))
    _check("train", partial(check_room, setting=WORKER_SETTINGS), (asked_workers(training),))
    for name, folders in stores.items():
        objective = settings[name]["training"].objective.click_objective
        _check(name, _check_context, (objective, settings["fit_clicks"]["context"]))
        if (store := settings[name]["checkpoints"]) is not None:
            _check(name, checkpoint_storage, (store,))
            for folder in () if resume else folders:
                _check(name, check_store, (place_within(store, folder), name, {}, False))


def _check_context(objective: str, context: str | None) -> None:
    """Refuses an objective of sessions that cannot take the propensities of contexts."""
    by_position = objective != "labels" and CLICK_OBJECTIVES[objective].needs_propensities
    if by_position and context is not None:
        raise InputError(
            f"click_objective {objective} takes propensities by position alone, and fit_clicks "
            f"estimates them by {context}; take click_objective labels, or leave out the context"
        )


def _with_defaults(job: Callable[..., None], given: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(job).bind_partial(**given)
    bound.apply_defaults()
    return bound.arguments


def _check(job: str, check: Callable[..., Any], arguments: Iterable[Any]) -> None:
    try:
        check(*arguments)
    except InputError as error:
        raise InputError(f"{job}: {error}") from error
