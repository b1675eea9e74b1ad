"""The job `tune`: a search of the mix that lasts, and that says whether it found better."""

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from corpus.errors import InputError
from corpus.output_folder import RECORD, begin_output, finish_output, withdrawn_if_refused
from corpus.places import Place
from corpus.tables import read_parquet
from rankers.settings import ResourceSettings, TrainingSettings
from rankers.training.storage import check_store, claim_store
from tuning.objectives import (
    ALL,
    TRAFFIC,
    check_objectives,
    read_objectives,
    searches_by_bucket,
)
from tuning.population_space import check_population, population_space
from tuning.space import SearchSpace, check_space

CLICKS = "clicks"


def tune(
    collection: Place,
    click_labels: Place | dict[str, Place],
    annotations: Place,
    output: Place,
    training: TrainingSettings = TrainingSettings(resources=ResourceSettings(workers=1)),  # noqa: B008 - read only
    space: SearchSpace = SearchSpace(),  # noqa: B008 - likewise
    objectives: list[str] | dict[str, float] = [ALL],  # noqa: B006 - likewise
    trials: int = 24,
    concurrent_trials: int = 2,
    early_stopping: bool = True,
    grace_epochs: int = 2,
    finalists: int = 3,
    finalist_seeds: int = 3,
    known_from: list[Place] = [],  # noqa: B006 - likewise
    population: bool = False,
    gpus_per_trial: float = 1.0,
    seed: int = 0,
    storage: str | None = None,
    checkpoints: str | None = None,
    tokens: Place | None = None,
    resume: bool = False,
) -> None:
    """Searches the mix, the click labels and settings of training, and says what was found.

    The known points come first: each signal alone, both, the schedule, FAMOL and fusion. Then
    Optuna's tree-structured Parzen estimator proposes, and Ray Tune runs the trials. The best few
    are trained again under other seeds, beside the best known point: `best.yaml`, which
    `train.py --config` takes as it is, is one of them if a paired test over queries shows that it
    is better, and else the known point.

    In `output` lie the study (study.journal, which optuna-dashboard opens), trials and epochs as
    parquet and CSV, finalists.parquet, and for each trial a folder with its ranker and train.yaml.

    Args:
        collection: folder of the collection, with candidates and splits.
        click_labels: folder with click_labels.parquet; or several to choose from, by name: clicks,
            shrunk, fusion.
        annotations: folder with annotations.parquet.
        output: folder for the search.
        training: all of a trial that is not searched. With one worker a trial trains in its own
            process, and that process then serves the next.
        space: what is searched.
        objectives: what to make high: nDCG@10_all, nDCG@10_high, nDCG@10_medium, nDCG@10_low or
            nDCG@10_traffic (buckets by their share of searches), as validation measures them.
            Several make a Pareto front; measures with weights ({nDCG@10_high: 0.2, ...}) one score.
        trials: how many there are to be in all, known points among them. Optuna's sampler draws at
            random until ten have ended, again with the known points among them.
        concurrent_trials: how many run at a time.
        early_stopping: stop trials that fall behind others at the same epoch (ASHA): those whose
            mix stays the same while training runs. Others, known points, and trials for several
            objectives always run to their end.
        grace_epochs: epochs before a trial may be stopped.
        finalists: how many of the best are trained again; 0 takes the best trial by its word.
        finalist_seeds: how many other seeds each is trained under.
        known_from: folders of earlier searches, whose best are tried first as well.
        population: train all trials side by side, as a population whose worse members take over
            from better ones and change their mixes after each epoch, from `grace_epochs` on. Its
            best is a schedule of mixes.
        gpus_per_trial: what a trial of one process takes of a GPU; below 1, several share one.
        seed: seed of the search.
        storage: URL of a database for the study, such as sqlite:///PATH or postgresql://...; by
            default a journal in `output`.
        checkpoints: folder or URI for the checkpoints of this search and no other, each trial in a
            folder of its own below it, by runs of Ray Train; by default in the trials' folders.
        tokens: folder where trainings on one collection share the token ids of its texts; by
            default `tokens` in `output`.
        resume: go on in `output`: with trials that were cut short, and with more `trials`.

    Raises:
        InputError: an input is missing or broken, `output`, `storage` or `checkpoints` is in use,
            or all trials failed.
    """
    from cluster.connection import connect  # these bring PyTorch, Optuna and Ray
    from cluster.reach import check_reach
    from tuning.early_stopping import make_pruner
    from tuning.finalists import judge_search
    from tuning.inputs import Sources, TrialInputs, check_measured
    from tuning.journal import JOURNAL, only_search
    from tuning.known_points import earlier_best, known_points
    from tuning.outcomes import Search, remove_checkpoints
    from tuning.population import train_population
    from tuning.records import conclude, concluded, print_trials, write_configs, write_tables
    from tuning.search import run_trials
    from tuning.storage import storage_errors
    from tuning.study import (
        check_storage,
        enqueue_known,
        finished_trials,
        open_study,
        take_up_cut_short,
    )

    check_tuning_settings(
        training,
        trials,
        concurrent_trials,
        grace_epochs,
        seed,
        objectives,
        finalists,
        finalist_seeds,
        gpus_per_trial,
        space,
        population,
        checkpoints,
    )
    if population:
        space = population_space(space)
    folders = click_labels if isinstance(click_labels, dict) else {CLICKS: click_labels}
    if not folders:
        raise InputError("click_labels: name at least one folder")
    check_space(space, list(folders), training)
    sources = Sources(collection, folders, annotations)
    tables = {name: sources.open(name, training) for name in folders}
    searches = searches_by_bucket(collection, connect) if TRAFFIC in objectives else {}
    wanted = read_objectives(objectives, searches)
    if lists := next(iter(tables.values())).lists:
        check_measured(lists.validation, lists.yardstick, wanted)
    points = known_points(space, list(folders), training)
    for folder in known_from:
        points[f"best of {folder}"] = earlier_best(folder, space, list(folders), training)
    settings = {
        **sources.hashes(),
        "training": training.deciding,
        "space": dataclasses.asdict(space),
        "objectives": objectives,
        "seed": seed,
        "storage": storage,
        "checkpoints": checkpoints,
        # Its members begin together.
        "population": trials if population else None,
    }
    if checkpoints is not None:
        check_store(checkpoints, "tune", settings, resume)
    if storage is not None:
        check_storage(storage, settings, resume)
    check_reach([output] if tokens is None else [output, tokens], [training.model.backbone])
    begun = (output / RECORD).exists()
    begin_output(output, "tune", settings, resume)
    output, tokens = output.absolute(), (tokens or output / "tokens").absolute()
    inputs = TrialInputs(sources, tables, training, output, tokens, checkpoints)
    with only_search(output), storage_errors(output):
        if not (begun and (storage is not None or (output / JOURNAL).exists())):
            connect()
            # What many rows hold is seen once lists are made; a refused job claims nothing.
            with withdrawn_if_refused(output, begun):
                check_measured(inputs.validation, inputs.gains, wanted)
        if checkpoints is not None:
            claim_store(checkpoints, "tune", settings)
        study = open_study(output, storage, settings, wanted.names, seed)
        study.pruner = make_pruner(early_stopping, grace_epochs)
        ended = [finalists, finalist_seeds]
        if said := concluded(study, trials, ended):
            print_trials(read_parquet(output / "trials.parquet").to_pandas(), wanted)
            print(said)
            return
        if not population:
            take_up_cut_short(study)
        enqueue_known(study, points)
        connect()
        # What the analysis draws a mix by that leaves its midpoint to the log.
        study.set_user_attr("median_query", inputs.log.searches(0.5))
        if len(finished_trials(study)) < trials:
            inputs.prepare(space)
            search = Search(study, output, wanted, space, training, list(folders), inputs)
            if population:
                train_population(
                    search, trials, grace_epochs, concurrent_trials, gpus_per_trial, seed
                )
            else:
                run_trials(search, trials, concurrent_trials, gpus_per_trial)
        table = write_tables(study, output, None)
        refuse_all_failed(table, output)
        verdict = judge_search(
            study,
            wanted,
            inputs,
            training,
            output,
            tokens,
            finalists=finalists,
            seeds=finalist_seeds,
            at_once=concurrent_trials,
            gpus=gpus_per_trial,
        )
        table = write_tables(study, output, verdict.best.number)
        write_configs(study, output, verdict.best, sources, training, tokens, checkpoints)
        remove_checkpoints(study, output)
        conclude(study, ended, verdict.said)
        finish_output(output)
        print_trials(table, wanted)
        print(verdict.said)


def check_tuning_settings(
    training: TrainingSettings,
    trials: int,
    concurrent_trials: int,
    grace_epochs: int,
    seed: int,
    objectives: Sequence[str] | Mapping[str, float],
    finalists: int,
    finalist_seeds: int,
    gpus_per_trial: float,
    space: SearchSpace,
    population: bool,
    checkpoints: str | None,
) -> None:
    """Refuses settings of `tune` that no data could make right, or that no cluster here can hold.

    Raises:
        InputError: naming the setting.
    """
    from cluster.resources import check_room  # brings Ray
    from rankers.settings_checks import check_training_settings  # brings PyTorch
    from tuning.demand import TRIAL_SETTINGS, asked_trials

    if min(trials, concurrent_trials) < 1:
        raise InputError("trials and concurrent_trials must be at least 1")
    if grace_epochs < 1 or seed < 0:
        raise InputError(
            f"grace_epochs ({grace_epochs}) must be at least 1, seed ({seed}) at least 0"
        )
    if finalists < 0 or finalist_seeds < 1:
        raise InputError(
            f"finalists ({finalists}) must be at least 0, finalist_seeds ({finalist_seeds}) "
            "at least 1"
        )
    if not 0 < gpus_per_trial <= 1:
        raise InputError(f"gpus_per_trial must be above 0 and at most 1, not {gpus_per_trial}")
    check_objectives(objectives)
    check_training_settings(training, None)
    check_space(space, space.labels or [CLICKS], training)
    if population:
        check_population(trials, grace_epochs, objectives, space, training, checkpoints)
    asked = asked_trials(concurrent_trials, training, checkpoints, gpus_per_trial)
    check_room(*asked, setting=TRIAL_SETTINGS)


def refuse_all_failed(table: pd.DataFrame, output: Place) -> None:
    """Ends a search in which no trial came to its end.

    Args:
        table: the trials, from `tuning.records.trials_table`.
        output: the search's folder.

    Raises:
        InputError: with the reason, once.
    """
    if (table["state"] == "COMPLETE").any():
        return
    failed = table[table["state"] == "FAIL"]
    reasons = failed["error"].value_counts()
    said = str(reasons.index[0]) if len(reasons) else "all were stopped early"
    more = f"; {len(reasons) - 1} other reasons are in trials.csv" if len(reasons) > 1 else ""
    raise InputError(
        f"{output}: none of {len(table)} trials came to its end: {said}{more}. --resume with more "
        "--trials tries others"
    )
