"""A search as it was left, or is: Optuna's study, and the tables beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from corpus.errors import InputError
from corpus.places import Place
from corpus.shown_text import without_secrets
from corpus.tables import read_parquet
from rankers.training.validation import VALIDATION_MEASURE
from tuning.journal import JOURNAL, open_journal
from tuning.objectives import MEASURES
from tuning.records import CONCLUDED
from tuning.study import STUDY

FINALISTS, EPOCHS, TRIALS = "finalists.parquet", "epochs.parquet", "trials.parquet"
MEASURE = "nDCG@10"
HEAD, TAIL = f"{MEASURE}_high", f"{MEASURE}_low"
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
NUMBERS = ("seconds", "began", "ended", "epochs", "stopped_after", "continues")
TEXTS = ("known", "labels", "worker", "error", "folder")


@dataclass(frozen=True)
class Search:
    """What is known of a search.

    Attributes:
        folder: where it is.
        study: Optuna's study; its trials as they were when it was read are in `frozen`.
        frozen: the study's trials by their number.
        trials: a row a trial, in the order of numbers: number, state (a word of `STATES`), name
            (the known point, or "trial N"), kind (of mix), known, labels, worker, error and
            folder (texts or None), seconds, began and ended (of the clock, seconds), epochs,
            stopped_after and continues (numbers or NaN), and the objectives (larger is better)
            and `MEASURES` (NaN where unknown).
        epochs: number, epoch (from 1), and a column a metric, validation as `MEASURES`; of trials
            that have reported.
        finalists: trial, name, seed, query_id and value of trainings with other seeds; may be
            empty.
        objectives: what is searched for, as columns of `trials`.
        chosen: the trial in best.yaml, or None before there is one.
        said: what the search has concluded, or None before it has.
    """

    folder: Place
    study: optuna.Study
    frozen: Sequence[FrozenTrial]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    finalists: pd.DataFrame
    objectives: tuple[str, ...]
    chosen: int | None
    said: str | None

    @property
    def complete(self) -> pd.DataFrame:
        """The trials that finished, and have a number for each objective."""
        there = self.trials[list(self.objectives)].notna().all(axis=1)
        return self.trials[there & (self.trials["state"] == "complete")]

    @property
    def best(self) -> "pd.Series[Any] | None":
        """The first of the best trials by the first objective, or None where none is complete."""
        return best_of(self.complete, self.objectives[0])

    @property
    def best_known(self) -> "pd.Series[Any] | None":
        """The best among the known points, or None."""
        return best_of(self.complete[self.complete["known"].notna()], self.objectives[0])


def best_of(trials: pd.DataFrame, objective: str) -> "pd.Series[Any] | None":
    """The row that has the most of an objective; the first of several; None of no rows."""
    return None if trials.empty else trials.iloc[int(np.argmax(trials[objective].to_numpy(float)))]


def read_search(folder: Place, storage: str | None = None) -> Search:
    """Reads a search that has ended, or that still runs.

    Args:
        folder: of the search, with study.journal, and epochs.parquet and finalists.parquet where
            the search has come so far.
        storage: URL of the database that holds the study, where it is not in `folder`.

    Raises:
        InputError: there is no search, no trial in it yet, or a file that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give that of a search, the output of tune")
    study = _open(folder, storage)
    frozen = study.get_trials(deepcopy=False)
    if not frozen:
        raise InputError(f"{folder}: the search has no trial yet; begin it with tune, or wait")
    objectives = _objectives(study)
    trials = pd.DataFrame([_row(trial, objectives) for trial in frozen])
    for name in ("kind", *TEXTS):  # else pandas makes NaN, which is no text, of None
        trials[name] = trials[name].astype(object).where(trials[name].notna(), None)
    finalists = _table(folder / FINALISTS, ("trial", "name", "seed", "query_id", "value"))
    return Search(
        folder=folder,
        study=study,
        frozen=frozen,
        trials=trials,
        epochs=_epochs(folder, frozen, objectives),
        finalists=finalists,
        objectives=objectives,
        chosen=_chosen(folder),
        said=_said(study, trials),
    )


def has_study(folder: Place) -> bool:
    """Whether a search has left its study in a folder."""
    return (folder / JOURNAL).is_file()


def encoded_mix(trial: FrozenTrial) -> dict[str, Any] | None:
    """The mix of a trial as `rankers.mixes.encoding` has it, or None where it was not kept."""
    mix = trial.user_attrs.get("mix")
    return mix if isinstance(mix, dict) else None


def kind_of(trial: FrozenTrial) -> str | None:
    """The kind of mix of a trial, or None where it was not kept."""
    kind = (encoded_mix(trial) or trial.params).get("class_path", trial.params.get("kind"))
    return None if kind is None else str(kind)


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """What the trial's sampler chose, but for the kind of mix."""
    return {name: value for name, value in trial.params.items() if name != "kind"}


def _open(folder: Place, storage: str | None) -> optuna.Study:
    shown = folder / JOURNAL if storage is None else without_secrets(storage)
    try:
        stored = _storage(folder, storage)
        if STUDY not in optuna.get_all_study_names(stored):
            raise InputError(f"{folder}: {shown} holds no study {STUDY!r}; tune has not begun it")
        return optuna.load_study(study_name=STUDY, storage=stored)
    except InputError:
        raise
    except Exception as error:  # whatever a file or a database can hold
        reason = str(without_secrets(str(error))).splitlines()[:1] or [type(error).__name__]
        raise InputError(
            f"{folder}: {shown} cannot be read as an Optuna study: {reason[0]}; give the folder of "
            "a search by tune, or its --storage"
        ) from error


def _storage(folder: Place, storage: str | None) -> BaseStorage:
    """Refuses what Optuna would make anew: a study is read here, and never written."""
    if storage is None:
        if not has_study(folder):
            raise InputError(
                f"{folder}: has no {JOURNAL}; give the folder of a search by tune, or the "
                "--storage that it was given"
            )
        return JournalStorage(open_journal(folder))
    try:
        url = make_url(storage)
    except ArgumentError as error:
        raise InputError(
            f"storage: {without_secrets(storage)!r} is no URL of a database, such as "
            "sqlite:///study.db"
        ) from error
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise InputError(f"storage: there is no file {url.database!r}; give that of the search")
    return RDBStorage(storage)


def _chosen(folder: Place) -> int | None:
    table = _table(folder / TRIALS, ("number", "best"))
    numbers = table["number"][table["best"].astype(bool)]
    return None if numbers.empty else int(numbers.iloc[0])


def _said(study: optuna.Study, trials: pd.DataFrame) -> str | None:
    """Nothing where the search has gone on since."""
    told = study.user_attrs.get(CONCLUDED)
    if not isinstance(told, dict) or trials["state"].isin(["running", "waiting"]).any():
        return None
    return _text(told.get("said"))


def _objectives(study: optuna.Study) -> tuple[str, ...]:
    names = study.metric_names
    if names is None:
        count = len(study.directions)
        names = ["objective", *(f"objective {number}" for number in range(2, count + 1))]
    return tuple(map(str, names))


def _row(trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, Any]:
    attributes = trial.user_attrs
    measures = attributes.get("measures")
    measures = measures if isinstance(measures, dict) else {}
    numbers = {name: _number(attributes.get(name)) for name in NUMBERS}
    for name, clock in (("began", trial.datetime_start), ("ended", trial.datetime_complete)):
        if math.isnan(numbers[name]) and clock is not None:
            numbers[name] = clock.timestamp()
    if math.isnan(numbers["seconds"]):
        numbers["seconds"] = numbers["ended"] - numbers["began"]
    texts = {name: _text(attributes.get(name)) for name in TEXTS}
    values = trial.values if trial.state == TrialState.COMPLETE else []  # noqa: PD011 - Optuna's
    return (
        {
            "number": trial.number,
            "state": STATES[trial.state],
            "name": texts["known"] or f"trial {trial.number}",
            "kind": kind_of(trial),
        }
        | texts
        | numbers
        | dict.fromkeys(objectives, math.nan)
        | {name: _number(measures.get(name)) for name in MEASURES}
        | {name: _number(value) for name, value in zip(objectives, values, strict=False)}
    )


def _epochs(
    folder: Place, frozen: Sequence[FrozenTrial], objectives: Sequence[str]
) -> pd.DataFrame:
    """Those of the file, and of trials that are not in it those that the study was told of."""
    table = _table(folder / EPOCHS, ("number", "epoch"))
    validated = {measure: measure.replace(MEASURE, VALIDATION_MEASURE) for measure in MEASURES}
    validated[MEASURES[0]] = VALIDATION_MEASURE
    table = table.rename(columns={old: new for new, old in validated.items()})
    written = set(table["number"])
    told = [
        {"number": trial.number, "epoch": epoch, objectives[0]: value}
        for trial in frozen
        if trial.number not in written
        for epoch, value in sorted(trial.intermediate_values.items())
    ]
    return pd.concat([table, pd.DataFrame(told)], ignore_index=True) if told else table


def _table(path: Place, columns: Sequence[str]) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=list(columns))
    try:
        table = read_parquet(path).to_pandas()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as parquet: {error}; make it again with tune --resume"
        ) from error
    for name in columns:
        if name not in table:
            raise InputError(f"{path}: has no column {name!r}; make it again with tune --resume")
    return table


def _number(value: Any) -> float:
    """A finite number, or NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
