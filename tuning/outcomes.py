"""What a study is told of a trial: as it begins, after each epoch, and at its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import TrialState
from rich.console import Console

from cluster.metrics import count
from corpus.places import Place, make_folder, remove
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from rankers.training.alone import CHECKPOINTS
from tuning.inputs import TrialInputs, read_measures
from tuning.objectives import ALL, Objectives
from tuning.space import Proposal, SearchSpace, propose
from tuning.study import finished_trials

TRIALS = "trials"
LOST = "its process was lost, also when it was started again"


@dataclass(frozen=True)
class Search:
    """What a search goes by.

    Attributes:
        study: with its sampler and its pruner.
        output: the absolute path of the search's folder.
        objectives: what makes a trial better.
        space: what is searched.
        training: all that is not searched.
        labels: the names of the click labels to choose from.
        inputs: makes what trials read.
    """

    study: Study
    output: Place
    objectives: Objectives
    space: SearchSpace
    training: TrainingSettings
    labels: Sequence[str]
    inputs: TrialInputs


def begin_trial(search: Search, trial: optuna.Trial) -> Proposal:
    """Draws what a trial tries, tells the study of it, and makes the trial's folder."""
    proposal = propose(trial, search.space, search.inputs.log, search.training, search.labels)
    number = trial.user_attrs.get("continues", trial.number)
    folder = f"{TRIALS}/{number:04d}"
    told = {
        "mix": encode_mix(proposal.mix),
        "labels": proposal.labels,
        "settings": searched_settings(trial, proposal, search.training),
        "folder": folder,
        "epochs": 0,
    }
    tell(trial, told)
    make_folder(search.output / folder)
    return proposal


def tell_epoch(
    search: Search, trial: optuna.Trial, metrics: Mapping[str, Any], told: Mapping[str, Any]
) -> None:
    """Takes in an epoch; the same one again after a restart is left out.

    Args:
        search: of the trial.
        trial: that is running.
        metrics: of the epoch, as training tells them.
        told: what else to tell of the trial by then: began, ended, seconds, worker.
    """
    epoch = metrics["epoch"]
    if epoch <= trial.user_attrs["epochs"]:
        return
    measures = read_measures(metrics)
    best = trial.user_attrs.get("measures")
    better = best is None or measures[ALL] > best[ALL]
    if search.objectives.single:
        trial.report(search.objectives.values(measures)[0], epoch)
    tell(trial, {**told, **({"measures": measures} if better else {}), "epochs": epoch})


def end_trial(search: Search, trial: optuna.Trial, fault: str | None, whole: bool) -> None:
    """Tells the study how a trial has ended, and prints it.

    Args:
        search: of the trial.
        trial: that was running.
        fault: why it failed; None where it did not.
        whole: whether it had all its epochs, and was not stopped.
    """
    measures, values = trial.user_attrs.get("measures"), None
    state = TrialState.COMPLETE if whole else TrialState.PRUNED
    if fault is None and measures is None:
        fault = "it ended without an epoch"
    if fault is not None:
        state = TrialState.FAIL
        tell(trial, {"error": fault})
    elif whole:
        values = search.objectives.values(measures)
    else:
        tell(trial, {"stopped_after": trial.user_attrs["epochs"]})
    search.study.tell(trial, values, state)
    count("tandem_trials", 1, "tune", search.output.name, state.name.lower())
    # What it would have gone on from; not sooner, lest a kill should make it begin again.
    folder = search.output / trial.user_attrs["folder"]
    remove(folder / CHECKPOINTS)
    _print(search, trial, state, fault)


def remove_checkpoints(study: Study, output: Place) -> None:
    """Removes what finished trials would go on from, which a kill at their end has left."""
    for trial in finished_trials(study):
        if folder := trial.user_attrs.get("folder"):
            remove(output / folder / CHECKPOINTS)


def tell(trial: optuna.Trial, told: Mapping[str, Any]) -> None:
    """Sets attributes of a trial."""
    for name, value in told.items():
        trial.set_user_attr(name, value)


def _print(search: Search, trial: optuna.Trial, state: TrialState, fault: str | None) -> None:
    attributes = trial.user_attrs
    name = f"trial {trial.number}"
    if "known" in attributes:
        name += f" ({attributes['known']})"
    said = f"failed: {fault}"
    if fault is None:
        value = search.objectives.chosen_by(attributes["measures"])
        said = f"{value:.4f} in {attributes['epochs']} epochs"
        said += ", stopped early" if state == TrialState.PRUNED else ""
    done = len(finished_trials(search.study))
    Console(highlight=False).print(f"{name}: {said}; {done} done", soft_wrap=True, markup=False)


def searched_settings(
    trial: optuna.Trial, proposal: Proposal, training: TrainingSettings
) -> dict[str, Any]:
    """The settings of training that a trial has by the search, by their full names.

    Args:
        trial: that was proposed for.
        proposal: what it trains.
        training: all that is not searched.
    """
    before, now = training.by_name, proposal.training.by_name
    return {name: now[name] for name in now if name in trial.params or now[name] != before[name]}
