"""The finalists of a search, trained again under other seeds and measured."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from optuna.trial import FrozenTrial

from corpus.documents import open_documents
from corpus.errors import InputError
from corpus.output_folder import record_moved
from corpus.places import Place
from corpus.row_groups import read_footers, read_span
from evaluation.yardstick import measure_by
from rankers.mixes.encoding import decode_mix
from rankers.scoring.pool import Pool, score_candidates
from rankers.settings import TrainingSettings
from rankers.train import train
from rankers.train_each import Arm, train_each
from tuning.inputs import Sources, TrialInputs
from tuning.space import with_settings

FINALISTS = "finalists"


def trial_name(trial: FrozenTrial) -> str:
    """What reports call a trial."""
    return str(trial.user_attrs.get("known", f"trial {trial.number}"))


def train_finalists(
    trials: Sequence[FrozenTrial],
    seeds: int,
    sources: Sources,
    training: TrainingSettings,
    output: Place,
    tokens: Place,
    at_once: int,
    gpus: float,
) -> dict[tuple[int, int], Place]:
    """Trains trials again under other seeds; those that are trained already stay as they are.

    Args:
        trials: the finalists.
        seeds: how many other seeds each has.
        sources: what the search reads.
        training: all that is not searched.
        output: the search's folder.
        tokens: where token ids are.
        at_once: how many are trained at a time.
        gpus: what each takes of a GPU, where it uses one.

    Returns:
        The folder of each ranker, by the trial's number and the seed. A trial is missing that
        was refused under one of the seeds, as where its training became infinite or NaN.
    """
    arms: dict[tuple[int, int], Arm] = {}
    for trial in trials:
        told = trial.user_attrs
        settings = with_settings(training, told["settings"])
        for seed in range(settings.optimization.seed + 1, settings.optimization.seed + 1 + seeds):
            arms[trial.number, seed] = Arm(
                output / FINALISTS / f"{trial.number:04d}_seed_{seed}",
                sources.collection,
                decode_mix(told["mix"]),
                replace(settings, optimization=replace(settings.optimization, seed=seed)),
                sources.click_labels[told["labels"]],
                sources.annotations,
                tokens,
            )
    try:
        _train(list(arms.values()), at_once, gpus)
    except InputError:
        for trial in trials:  # which of them, and without it
            of_trial = {key: arm for key, arm in arms.items() if key[0] == trial.number}
            try:
                _train(list(of_trial.values()), at_once, gpus)
            except InputError as error:
                print(f"{trial_name(trial)} is no finalist: {error}", file=sys.stderr)
                arms = {key: arm for key, arm in arms.items() if key not in of_trial}
    return {key: arm.output for key, arm in arms.items()}


def _train(arms: Sequence[Arm], at_once: int, gpus: float) -> None:
    for arm in arms:  # the search has seen that their content is the same
        record_moved(
            arm.output,
            collection=arm.collection,
            click_labels=arm.click_labels,
            annotations=arm.annotations,
        )
    if arms and arms[0].training.resources.workers == 1:
        train_each(arms, at_once, gpus)
        return
    for arm in arms:
        train(
            arm.collection,
            arm.output,
            arm.click_labels,
            arm.annotations,
            arm.mix,
            arm.training,
            tokens=arm.tokens,
            resume=True,
        )


def measure_finalists(
    trials: Sequence[FrozenTrial],
    rankers: dict[tuple[int, int], Place],
    inputs: TrialInputs,
    use_gpu: bool,
) -> pd.DataFrame:
    """The nDCG@10 of each ranker on each validation query.

    Args:
        trials: the finalists.
        rankers: folders, by trial and seed, from `train_finalists`.
        inputs: of the search, for the validation queries and what measures them.
        use_gpu: whether they are scored on a GPU.

    Returns:
        trial (its number), name, seed, query_id and value.
    """
    names = {trial.number: trial_name(trial) for trial in trials}
    places = {f"{number} {seed}": str(path) for (number, seed), path in rankers.items()}
    lists, documents = _with_texts(inputs.validation, inputs.sources.collection)
    runs = score_candidates(lists, documents, places, Pool(use_gpu=use_gpu))
    tables = []
    for number, seed in rankers:
        values = measure_by(runs[f"{number} {seed}"], inputs.gains)
        of_ranker = values[["query_id", "value"]]
        tables.append(of_ranker.assign(trial=number, name=names[number], seed=seed))
    columns = ["trial", "name", "seed", "query_id", "value"]
    return pd.concat(tables, ignore_index=True)[columns]


def _with_texts(lists: pa.Table, collection: Place) -> tuple[pa.Table, pa.Table]:
    """Lists with the texts of their queries, and the documents that they hold."""
    texts = pa.concat_tables(
        table.filter(pc.is_in(table["query_id"], value_set=lists["query_id"]))
        for span in read_footers(collection, "queries").spans
        for table in read_span(span)
    )
    row = pc.index_in(lists["query_id"], value_set=texts["query_id"])
    documents = open_documents(collection)
    rows = np.unique(documents.rows(lists["doc_ids"].combine_chunks().flatten()))
    return lists.append_column("text", texts["text"].take(row)), documents.take(rows)
