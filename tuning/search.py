"""The search: Optuna proposes, Ray Tune runs the trials, and the study keeps what came of them."""

import logging
import os
import time
from typing import Any

import optuna
from ray import tune as ray_tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.resources import check_cuda, wait_for_room
from corpus.places import arrow_files, remove
from rankers.demand import GPU_SETTING
from rankers.training.validation import VALIDATION_MEASURE
from tuning.demand import TRIAL_SETTINGS, asked_trials, trial_resources
from tuning.early_stopping import may_stop
from tuning.outcomes import LOST, TRIALS, Search, begin_trial, end_trial, tell, tell_epoch
from tuning.space import Proposal
from tuning.study import finished_trials
from tuning.trial import ERROR, FINISHED, STORAGE, run_trial

# Ray Tune's own files, which nothing is read from.
RAY_FOLDER = ".ray_tune"
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study has what they would write
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else Ctrl-C would end a search as if it were finished
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # what a trial tells last is no measure
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the search prints its own lines
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # paths in the settings are those of the job
}


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
    told = StudySearch(search)
    os.environ.update(TUNE_ENVIRONMENT)
    # It misses files that were not asked for.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    remove(search.output / RAY_FOLDER)
    files, path = arrow_files(search.output / RAY_FOLDER)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(run_trial, wanted),
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
            storage_path=path,
            storage_filesystem=files,
            verbose=0,
            # A lost process alone: what a trial raises it tells, see `run_trial`.
            failure_config=ray_tune.FailureConfig(max_failures=training.resources.restarts),
        ),
    )
    tuner.fit()
    told.end_lost()
    remove(search.output / RAY_FOLDER)


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
        trial = self._search.study.ask()
        proposal = begin_trial(self._search, trial)
        self._asked[trial_id] = trial, proposal
        folder = self._search.output / trial.user_attrs["folder"]
        return {"task": self._search.inputs.task(proposal, folder)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Takes in an epoch.

        Raises:
            OSError: the trial could not write; it is cut short, as by a kill.
        """
        if STORAGE in result:
            raise OSError(result[STORAGE])
        trial, _ = self._asked[trial_id]
        now = time.time()
        began = self._began.setdefault(trial_id, now - result.get("time_total_s", 0.0))
        if VALIDATION_MEASURE in result:
            told: dict[str, Any] = {"began": began, "ended": now, "seconds": now - began}
            told["worker"] = f"{result['hostname']}:{result['pid']}"
            tell_epoch(self._search, trial, result, told)

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
        tell(trial, {"began": began, "ended": now, "seconds": now - began})
        fault = result.get(ERROR) or (LOST if error else None)
        end_trial(self._search, trial, fault, bool(result.get(FINISHED)))

    def end_lost(self) -> None:
        """Tells of trials that Ray Tune has let go of without a word."""
        for trial_id in list(self._asked):
            self.on_trial_complete(trial_id, error=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all is in the study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: all is in the study."""


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
