"""The job `tune`: Ray Tune searches the mix; every trial is a Ray Train run."""

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import yaml

from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from rankers.mixes import Mix
from rankers.mixes.encoding import decode_mix, encode_mix
from rankers.settings import ResourceSettings, TrainingSettings
from rankers.training.storage import check_store, claim_store, place_within


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
    tokens: Path | None = None,
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
        tokens: folder where trainings on one collection share the token ids of its texts; by
            default `tokens` in `output`.
        resume: go on with the trials that were cut short in `output`.

    Raises:
        InputError: an input is missing or broken, `output` or `checkpoints` is in use, or no trial
            finished an epoch without being spoiled.
    """
    from cluster.connection import connect  # these bring PyTorch and Ray
    from rankers.supervision import read_supervised_lists
    from rankers.training.validation import VALIDATION_MEASURE
    from tuning.plotted_trials import print_trials, write_analysis
    from tuning.search import EXPERIMENT, search

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
    results = search(
        lists,
        output.absolute(),
        training,
        trials,
        concurrent_trials,
        grace_epochs,
        seed,
        checkpoints,
        tokens,
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
        "tokens": str(tokens or output / "tokens"),
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
    from rankers.settings_checks import check_training_settings  # brings PyTorch

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
