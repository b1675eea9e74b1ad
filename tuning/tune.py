"""The job `tune`: Ray Tune searches the mix; every trial is a Ray Train run."""

import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from ray import tune as ray_tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from cluster import connect
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from rankers.mixes import Mix
from rankers.mixes.encoding import decode_mix, encode_mix
from rankers.settings import ResourceSettings, TrainingSettings
from rankers.settings_checks import check_training_settings
from rankers.supervision import (
    SupervisedLists,
    read_supervised_lists,
)
from rankers.train import fit_ranker, tokenize_input
from rankers.training.checkpoints import NOT_VALIDATED
from rankers.training.learner import TrainingInput
from rankers.training.stops import TrainingStoppedError
from rankers.training.storage import check_store, claim_store, place_within
from rankers.training.validation import VALIDATION_MEASURE
from tuning.analysis import print_trials, write_analysis
from tuning.search_space import suggest_mix

EXPERIMENT = "trials"
# A trial only waits for its training workers, which have CPUs of their own.
TRIAL_DRIVER = {"CPU": 0.1}


def tune(
    collection: Path,
    click_labels: Path,
    annotations: Path,
    output: Path,
    training: TrainingSettings = TrainingSettings(resources=ResourceSettings(workers=1)),  # noqa: B008 - read only
    trials: int = 8,
    concurrent_trials: int = 2,
    grace_epochs: int = 2,
    seed: int = 0,
    checkpoints: str | None = None,
    resume: bool = False,
) -> None:
    """Searches the mix: its kind and that kind's parameters, by nDCG@10 on validation queries.

    Optuna's tree-structured Parzen estimator proposes mixes and ASHA stops trials that fall
    behind. Writes `trials.parquet`, `trials.svg`, the plot of what mattered, and `best.yaml`, which
    `train.py --config` takes as it is.

    Args:
        collection: folder of the collection, with candidates and splits.
        click_labels: folder with click_labels.parquet.
        annotations: folder with annotations.parquet.
        output: folder for the trials and their analysis.
        training: backbone, loss, optimizer and workers of each trial.
        trials: number of mixes to try.
        concurrent_trials: trials that run at the same time.
        grace_epochs: epochs before ASHA may stop a trial.
        seed: seed of the search.
        checkpoints: folder or URI for the checkpoints of this search and no other, each trial in a
            folder of its own below it; by default where Ray Tune has the trial's files.
        resume: go on with the trials that were cut short in `output`.

    Raises:
        InputError: an input is missing or broken, `output` or `checkpoints` is in use, or no trial
            finished an epoch without being spoiled.
    """
    check_tuning_settings(training, trials, concurrent_trials, grace_epochs, seed)
    settings = {
        "collection": str(collection),
        "click_labels": str(click_labels),
        "annotations": str(annotations),
        "training": training.deciding,
        "trials": trials,
        "grace_epochs": grace_epochs,
        "seed": seed,
        "checkpoints": checkpoints,
    }
    if checkpoints is not None:
        check_store(checkpoints, "tune", settings, resume)
    lists = read_supervised_lists(collection, click_labels, annotations, None, training)
    if not begin_output(output, "tune", settings, resume):
        print_trials(pd.read_parquet(output / "trials.parquet"))
        return
    if checkpoints is not None:
        claim_store(checkpoints, "tune", settings)
    connect()
    results = _search(
        lists,
        output.absolute(),
        training,
        trials,
        concurrent_trials,
        grace_epochs,
        seed,
        checkpoints,
    )
    table = write_analysis(results, output)
    if not table[VALIDATION_MEASURE].notna().any():
        raise InputError(
            f"{output}: no trial finished an epoch without being spoiled; see the errors in "
            f"{EXPERIMENT}/"
        )
    config = {
        "collection": str(collection),
        "click_labels": str(click_labels),
        "annotations": str(annotations),
        "output": str(output / "ranker"),
        "mix": encode_mix(best_mix(output)),
        "training": asdict(training),
    }
    if checkpoints is not None:
        config["checkpoints"] = place_within(checkpoints, "ranker")
    (output / "best.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    finish_output(output)
    print_trials(table)


def check_tuning_settings(
    training: TrainingSettings, trials: int, concurrent_trials: int, grace_epochs: int, seed: int
) -> None:
    """Refuses settings of `tune` that no data could make right.

    Raises:
        InputError: naming the setting.
    """
    if trials < 1 or concurrent_trials < 1:
        raise InputError("trials and concurrent_trials must be at least 1")
    if grace_epochs < 1 or seed < 0:
        raise InputError(
            f"grace_epochs ({grace_epochs}) must be at least 1, seed ({seed}) at least 0"
        )
    check_training_settings(training, None)


def best_mix(output: Path) -> Mix:
    """The mix of the best trial of a finished search."""
    table = pd.read_parquet(output / "trials.parquet")
    return decode_mix(json.loads(table["mix"].iloc[0]))


def _search(
    lists: SupervisedLists,
    output: Path,
    training: TrainingSettings,
    trials: int,
    concurrent_trials: int,
    grace_epochs: int,
    seed: int,
    checkpoints: str | None,
) -> ray_tune.ResultGrid:
    read = tokenize_input(lists, output, training)
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
    frequency = lists.training["frequency"].to_numpy()
    search = OptunaSearch(
        partial(suggest_mix, frequency=frequency),
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
            search_alg=search,
            scheduler=ASHAScheduler(
                time_attr="epoch",
                max_t=training.optimization.epochs,
                grace_period=min(grace_epochs, training.optimization.epochs),
            ),
        ),
        run_config=ray_tune.RunConfig(name=EXPERIMENT, storage_path=str(output), verbose=1),
    )
    return tuner.fit()


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
