"""The search: Optuna proposes, Ray Tune runs the trials, and the study keeps what came of them."""

import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import Study
from optuna.trial import TrialState
from ray import tune as ray_tune
from ray.tune import TuneError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

from cluster.resources import check_cuda, wait_for_room
from corpus.errors import InputError
from rankers.demand import GPU_SETTING
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from rankers.training.alone import CHECKPOINTS
from rankers.training.validation import VALIDATION_MEASURE
from tuning.demand import TRIAL_SETTINGS, asked_trials, trial_resources
from tuning.early_stopping import may_stop
from tuning.inputs import TrialInputs, read_measures
from tuning.objectives import ALL, Objectives
from tuning.space import Proposal, SearchSpace, propose
from tuning.study import finished_trials
from tuning.trial import ERROR, FINISHED, run_trial

TRIALS = "trials"
# Ray Tune's own files, which nothing is read from.
RAY_FOLDER = ".ray_tune"
LOST = "its process was lost, also when it was started again"
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study has what they would write
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else Ctrl-C would end a search as if it were finished
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # what a trial tells last is no measure
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the search prints its own lines
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in the settings are those of the job
}


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
    output: Path
    objectives: Objectives
    space: SearchSpace
    training: TrainingSettings
    labels: Sequence[str]
    inputs: TrialInputs


def run_trials(search: Search, trials: int, concurrent_trials: int, gpus_per_trial: float) -> None:
    """Runs trials until the study has so many that are finished.

    With one worker, and checkpoints in the search's folder, trials train in their own processes,
    which then serve one trial after another, so that PyTorch and transformers are imported once.

    Args:
        search: what is searched.
        trials: how many there are to be, with those that the study has.
        concurrent_trials: how many run at a time.
        gpus_per_trial: what a trial of one process takes of a GPU, where it uses one.
    """
    training, checkpoints = search.training, search.inputs.checkpoints
    wait_for_room(*asked_trials(1, training, checkpoints, gpus_per_trial), setting=TRIAL_SETTINGS)
    if training.resources.use_gpu:
        check_cuda(GPU_SETTING)
    wanted = trial_resources(training, checkpoints, gpus_per_trial)
    trial = ray_tune.with_parameters(run_trial, read=search.inputs.read)
    told = StudySearch(search)
    os.environ.update(TUNE_ENVIRONMENT)
    # It misses files that were not asked for.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    shutil.rmtree(search.output / RAY_FOLDER, ignore_errors=True)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trial, wanted),
        tune_config=ray_tune.TuneConfig(
            num_samples=trials - len(finished_trials(search.study)),
            max_concurrent_trials=concurrent_trials,
            search_alg=told,
            scheduler=StopEarly(told),
            reuse_actors=search.inputs.in_one_process,
            # By itself Ray names a trial after all its parameters.
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=ray_tune.RunConfig(
            name=TRIALS,
            storage_path=str(search.output / RAY_FOLDER),
            verbose=0,
            # A lost process alone: what a trial raises it tells, see `run_trial`.
            failure_config=ray_tune.FailureConfig(max_failures=training.resources.restarts),
        ),
    )
    try:
        tuner.fit()
    except TuneError as error:
        # A full disk, a database that is gone: what Ray Tune was told when it told the study.
        reason = error.__cause__ or error
        if isinstance(reason, OSError | StorageInternalError):
            raise InputError(
                f"{search.output}: the study cannot be written any more: {reason}; mend it, and go "
                "on with --resume"
            ) from error
        raise
    told.end_lost()
    shutil.rmtree(search.output / RAY_FOLDER, ignore_errors=True)


class StudySearch(Searcher):  # type: ignore[misc]
    """Ray Tune's search algorithm: asks a study for trials and tells it what came of them.

    Ray's `OptunaSearch` would tell a stopped trial as a whole one, with the value of its last epoch
    and without what was measured, and lose all but the journal's own part in a restart.

    Args:
        search: what is searched.
    """

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search
        self._asked: dict[str, tuple[optuna.Trial, Proposal]] = {}
        self._began: dict[str, float] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        search = self._search
        trial = search.study.ask()
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
        self._tell(trial, told)
        (search.output / folder).mkdir(parents=True, exist_ok=True)
        self._asked[trial_id] = trial, proposal
        return {"task": search.inputs.task(proposal, search.output / folder)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Takes in an epoch; the same one again after a restart is left out."""
        trial, _ = self._asked[trial_id]
        now = time.time()
        began = self._began.setdefault(trial_id, now - result.get("time_total_s", 0.0))
        epoch = result.get("epoch", 0)
        if VALIDATION_MEASURE not in result or epoch <= trial.user_attrs["epochs"]:
            return
        measures, objectives = read_measures(result), self._search.objectives
        told: dict[str, Any] = {"epochs": epoch, "began": began, "ended": now}
        told |= {"seconds": now - began, "worker": f"{result['hostname']}:{result['pid']}"}
        best = trial.user_attrs.get("measures")
        if best is None or measures[ALL] > best[ALL]:
            told["measures"] = measures
        if objectives.single:
            trial.report(objectives.values(measures)[0], epoch)
        self._tell(trial, told)

    def should_stop(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial, with the epoch that it has just told, is to be stopped."""
        if not self._search.objectives.single or VALIDATION_MEASURE not in result:
            return False
        trial, proposal = self._asked[trial_id]
        epochs = self._search.training.optimization.epochs
        return may_stop(trial, proposal.mix, result["epoch"] >= epochs)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        result = result or {}
        trial, _ = self._asked.pop(trial_id)
        now = time.time()
        began = self._began.pop(trial_id, now)
        self._tell(trial, {"began": began, "ended": now, "seconds": now - began})
        measures, values = trial.user_attrs.get("measures"), None
        fault = result.get(ERROR) or (LOST if error else None)
        state = TrialState.COMPLETE if result.get(FINISHED) else TrialState.PRUNED
        if fault is None and measures is None:
            fault = "it ended without an epoch"
        if fault is not None:
            state = TrialState.FAIL
            self._tell(trial, {"error": fault})
        elif state == TrialState.COMPLETE:
            values = self._search.objectives.values(measures)
        else:
            self._tell(trial, {"stopped_after": trial.user_attrs["epochs"]})
        self._search.study.tell(trial, values, state)
        # What it would have gone on from; not sooner, lest a kill should make it begin again.
        folder = self._search.output / trial.user_attrs["folder"]
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        self._print(trial, state, fault)

    def end_lost(self) -> None:
        """Tells of trials that Ray Tune has let go of without a word."""
        for trial_id in list(self._asked):
            self.on_trial_complete(trial_id, error=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all is in the study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: all is in the study."""

    def _tell(self, trial: optuna.Trial, told: Mapping[str, Any]) -> None:
        for name, value in told.items():
            trial.set_user_attr(name, value)

    def _print(self, trial: optuna.Trial, state: TrialState, fault: str | None) -> None:
        attributes = trial.user_attrs
        name = f"trial {trial.number}"
        if "known" in attributes:
            name += f" ({attributes['known']})"
        said = f"failed: {fault}"
        if fault is None:
            value = self._search.objectives.chosen_by(attributes["measures"])
            said = f"{value:.4f} in {attributes['epochs']} epochs"
            said += ", stopped early" if state == TrialState.PRUNED else ""
        done = len(finished_trials(self._search.study))
        Console(highlight=False).print(f"{name}: {said}; {done} done", soft_wrap=True, markup=False)


class StopEarly(FIFOScheduler):  # type: ignore[misc]
    """Starts trials as they come, and stops those that the study's pruner gives up.

    Args:
        told: what the trials' epochs are told to.
    """

    # Else Ray Tune hands over some epochs of a trial at once, too late to stop it.
    supports_buffered_results = False

    def __init__(self, told: StudySearch) -> None:
        super().__init__()
        self._told = told

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        # Ray Tune would tell the search of an epoch only after this, and not if it stops the trial.
        self._told.on_trial_result(trial.trial_id, result)
        if self._told.should_stop(trial.trial_id, result):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)


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
