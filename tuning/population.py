"""Population-based training: mixes that change while training runs (Jaderberg et al., 2017).

Trials train side by side, an epoch at a time. After each epoch the worse quarter takes over
checkpoint and settings of the better (exploit) and goes on by a mix of other parameters (explore).
What a member has trained by in the end is one mix, a `Piecewise` of those that were in force, by
which `train` trains the same ranker: all else that training goes on from is in the checkpoint.

Ray Tune's PopulationBasedTraining keeps what it decides in pickles of its own, multiplies
parameters, which leaves a click weight of 0 where it is, and replaces members in the order in which
they happen to report. Here a decision follows from the seed and the epoch's values, and is in the
study before it is carried out, so that a kill changes nothing.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import ray
from optuna.trial import TrialState
from ray.exceptions import RayError
from rich.console import Console

from cluster.resources import check_cuda, wait_for_room
from rankers.demand import GPU_SETTING
from rankers.mixes.encoding import decode_mix, encode_mix
from rankers.training.alone import take_over
from tuning.demand import TRIAL_SETTINGS, asked_trials, trial_resources
from tuning.exploring import choose, explore, follow
from tuning.outcomes import LOST, Search, begin_trial, end_trial, tell, tell_epoch
from tuning.space import Proposal, with_settings
from tuning.study import TAKEN_OVER
from tuning.trial import ERROR, STORAGE, TrialTask, told_last, train_here

# Of a trial: the parameters in force. Of the study: the last decision, and the epoch of
# the last one that was carried out.
POINT, DECISION, CARRIED_OUT = "point", "decision", "carried_out"
BEGUN = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def train_population(
    search: Search, size: int, grace_epochs: int, at_once: int, gpus: float, seed: int
) -> None:
    """Trains a population to its end; one that was cut short goes on.

    Args:
        search: whose trials are its members, known points among them, which take over nothing.
        size: how many members there are.
        grace_epochs: epochs before the first of them take over.
        at_once: how many train at a time.
        gpus: what each takes of a GPU, where it uses one.
        seed: of whom they take over from, and how parameters are moved.
    """
    study, epochs = search.study, search.training.optimization.epochs
    wait_for_room(*asked_trials(1, search.training, None, gpus), setting=TRIAL_SETTINGS)
    if search.training.resources.use_gpu:
        check_cuda(GPU_SETTING)
    members = _begin(search, size)
    if (decision := study.user_attrs.get(DECISION, {"epoch": 0}))["epoch"] > _carried_out(study):
        _carry_out(search, members, decision)
    for epoch in range(1, epochs + 1):
        members = _train(search, members, epoch, at_once, gpus)
        if not grace_epochs <= epoch < epochs or epoch <= _carried_out(study):
            continue
        decision = _decide(search, members, epoch, seed)
        study.set_user_attr(DECISION, decision)
        _carry_out(search, members, decision)
        taken = [f"{child} from {given['from']}" for child, given in decision["members"].items()]
        said = f"epoch {epoch} of {epochs}; taken over: {', '.join(taken) or 'nothing'}"
        Console(highlight=False).print(said, soft_wrap=True)
    for trial in members:
        end_trial(search, trial, None, whole=True)


def _carried_out(study: optuna.Study) -> int:
    return int(study.user_attrs.get(CARRIED_OUT, 0))


def _begin(search: Search, size: int) -> list[optuna.Trial]:
    """The members that are at work, all with a mix; those that are missing are asked for."""
    study = search.study
    begun = [trial for trial in study.get_trials(deepcopy=False) if trial.state in BEGUN]
    for _ in range(size - len(begun)):
        study.ask()
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    members = [optuna.Trial(study, trial._trial_id) for trial in running]
    for trial in members:
        if POINT not in trial.user_attrs:
            begin_trial(search, trial)
            tell(trial, {POINT: trial.params})
    return members


@dataclass(frozen=True)
class _Part:
    """What came of training a member for a while: its epochs, and what a trial tells last."""

    epochs: list[dict[str, float]]
    last: dict[str, Any]
    began: float
    ended: float
    worker: str


def _train(
    search: Search,
    members: Sequence[optuna.Trial],
    epoch: int,
    at_once: int,
    gpus: float,
) -> list[optuna.Trial]:
    """Trains members to an epoch; returns those that came there."""
    wanted = trial_resources(search.training, None, gpus)
    remote = ray.remote(_train_member).options(
        num_cpus=wanted["CPU"],
        num_gpus=wanted.get("GPU", 0.0),
        max_retries=search.training.resources.restarts,
    )
    waiting = deque(trial for trial in members if trial.user_attrs["epochs"] < epoch)
    running: dict[ray.ObjectRef[_Part], optuna.Trial] = {}
    failed = set()
    while waiting or running:
        while waiting and len(running) < at_once:
            trial = waiting.popleft()
            running[remote.remote(_task(search, trial), epoch)] = trial
        [done], _ = ray.wait(list(running), num_returns=1)
        trial = running.pop(done)
        if (fault := _take_in(search, trial, done)) is not None:
            end_trial(search, trial, fault, whole=False)
            failed.add(trial.number)
    return [trial for trial in members if trial.number not in failed]


def _task(search: Search, trial: optuna.Trial) -> TrialTask:
    told = trial.user_attrs
    settings = with_settings(search.training, told["settings"])
    proposal = Proposal(decode_mix(told["mix"]), settings, told["labels"])
    return search.inputs.task(proposal, search.output / told["folder"])


def _train_member(task: TrialTask, until: int) -> _Part:
    began, epochs = time.time(), list[dict[str, float]]()
    last = told_last(lambda: train_here(task, epochs.append, until))
    return _Part(epochs, last, began, time.time(), f"{socket.gethostname()}:{os.getpid()}")


def _take_in(search: Search, trial: optuna.Trial, done: "ray.ObjectRef[_Part]") -> str | None:
    """Tells the study what a member has trained; returns why it failed, if it did."""
    try:
        part = ray.get(done)
    except RayError:
        return LOST
    if STORAGE in part.last:
        raise OSError(part.last[STORAGE])
    told = {
        "began": trial.user_attrs.get("began", part.began),
        "ended": part.ended,
        "seconds": trial.user_attrs.get("seconds", 0.0) + part.ended - part.began,
        "worker": part.worker,
    }
    for metrics in part.epochs:
        tell_epoch(search, trial, metrics, told)
    return part.last.get(ERROR)


def _decide(
    search: Search, members: Sequence[optuna.Trial], epoch: int, seed: int
) -> dict[str, Any]:
    """Who takes over from whom after an epoch, and what each goes on by."""
    trials = search.study.get_trials(deepcopy=False)
    values = {t.number: trials[t.number].intermediate_values[epoch] for t in members}
    known = {trial.number for trial in members if "known" in trial.user_attrs}
    by_number = {trial.number: trial.user_attrs for trial in members}
    share = epoch / search.training.optimization.epochs
    decided = {}
    for child, parent in choose(values, known, np.random.default_rng([seed, epoch])).items():
        told = by_number[parent]
        proposal, point = explore(
            told[POINT], search, np.random.default_rng([seed, epoch, child + 1])
        )
        mix = follow(decode_mix(told["mix"]), proposal.mix, share)
        decided[str(child)] = {
            **{name: told[name] for name in ("labels", "settings", "measures")},
            "from": parent,
            POINT: point,
            "mix": encode_mix(mix),
        }
    return {"epoch": epoch, "members": decided}


def _carry_out(
    search: Search, members: Sequence[optuna.Trial], decision: Mapping[str, Any]
) -> None:
    """Hands checkpoints over; done again after a kill, since no member has trained on by then."""
    by_number = {trial.number: trial for trial in members}
    for number, given in decision["members"].items():
        child, parent = by_number[int(number)], by_number[given["from"]]
        own, theirs = (search.output / trial.user_attrs["folder"] for trial in (child, parent))
        take_over(own, theirs)
        taken = child.user_attrs.get(TAKEN_OVER, {}) | {str(decision["epoch"]): given["from"]}
        tell(child, {name: value for name, value in given.items() if name != "from"})
        tell(child, {TAKEN_OVER: taken})
    search.study.set_user_attr(CARRIED_OUT, decision["epoch"])
