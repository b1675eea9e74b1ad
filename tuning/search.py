"""The search: Ray Tune proposes mixes, and every trial is a Ray Train run."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune as ray_tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from rankers.fit import fit_ranker, tokenize_input, training_log
from rankers.mixes import TrainingLog
from rankers.mixes.encoding import decode_mix, encode_mix
from rankers.settings import TrainingSettings
from rankers.supervision import SupervisedLists
from rankers.training.checkpoints import NOT_VALIDATED
from rankers.training.learner import TrainingInput
from rankers.training.stops import TrainingStoppedError
from rankers.training.storage import place_within
from rankers.training.validation import VALIDATION_MEASURE
from tuning.space import SearchSpace, Trial, propose

EXPERIMENT = "trials"
# A trial only waits for its training workers, which have CPUs of their own.
TRIAL_DRIVER = {"CPU": 0.1}


def search(
    lists: SupervisedLists,
    output: Path,
    training: TrainingSettings,
    trials: int,
    concurrent_trials: int,
    grace_epochs: int,
    seed: int,
    checkpoints: str | None,
    tokens: Path | None,
) -> ray_tune.ResultGrid:
    """Runs the trials, or those that are left of a search that was cut short.

    Args:
        lists: from `rankers.supervision.read_supervised_lists`.
        output: the absolute path of the search's folder.
        training: how each trial is trained.
        trials: the number of mixes to try.
        concurrent_trials: the number of trials that run at the same time.
        grace_epochs: epochs before ASHA may stop a trial.
        seed: seed of the search.
        checkpoints: folder or URI below which each trial keeps its checkpoints.
        tokens: where trainings share token ids.
    """
    read = tokenize_input(lists, output, training, tokens)
    trial = ray_tune.with_parameters(
        _run_trial, read=read, training=training, checkpoints=checkpoints
    )
    trainable = ray_tune.with_resources(trial, TRIAL_DRIVER)
    experiment = output / EXPERIMENT
    if ray_tune.Tuner.can_restore(str(experiment)):
        tuner = ray_tune.Tuner.restore(
            str(experiment), trainable, resume_unfinished=True, resume_errored=True
        )
        return tuner.fit()
    sampler = OptunaSearch(
        partial(_suggest, log=training_log(lists), training=training),
        metric=VALIDATION_MEASURE,
        mode="max",
        seed=seed,
    )
    tuner = ray_tune.Tuner(
        trainable,
        tune_config=ray_tune.TuneConfig(
            metric=VALIDATION_MEASURE,
            mode="max",
            num_samples=trials,
            max_concurrent_trials=concurrent_trials,
            search_alg=sampler,
            # By itself Ray names a trial after all its parameters, the encoded mix among them.
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
            scheduler=ASHAScheduler(
                time_attr="epoch",
                max_t=training.optimization.epochs,
                grace_period=min(grace_epochs, training.optimization.epochs),
            ),
        ),
        run_config=ray_tune.RunConfig(name=EXPERIMENT, storage_path=str(output), verbose=1),
    )
    return tuner.fit()


def _suggest(trial: Trial, log: TrainingLog, training: TrainingSettings) -> dict[str, Any]:
    proposal = propose(trial, SearchSpace(), log, training, ["clicks"])
    return {"mix": encode_mix(proposal.mix)}


def _trial_name(trial: RayTrial) -> str:
    return f"{trial.config['kind']}_{trial.trial_id}"


def _run_trial(
    parameters: dict[str, Any],
    read: TrainingInput,
    training: TrainingSettings,
    checkpoints: str | None,
) -> None:
    """One trial; the seed is the same in all, so that they differ by the mix alone."""
    context = ray_tune.get_context()
    folder = Path(context.get_trial_dir())
    place = None if checkpoints is None else place_within(checkpoints, context.get_trial_id())
    # Within an epoch there is nothing that the search could compare.
    settings = replace(training, checkpoints=replace(training.checkpoints, every_steps=0))
    try:
        mix = decode_mix(parameters["mix"])
        fit_ranker(read, folder, mix, settings, place, callbacks=[TuneReportCallback()])
    except TrainingStoppedError as stopped:
        # That is what this mix does; a resumed search need not meet it again.
        print(f"{context.get_trial_name()}: {stopped}", file=sys.stderr)
        ray_tune.report({VALIDATION_MEASURE: NOT_VALIDATED, "epoch": training.optimization.epochs})
