"""The study of a search: Optuna's storage, opened so that a search goes on whatever ended it.

All that a search knows is in the study. Nothing is read from Ray's own files, and nothing of ours
is pickled, so that a later version reads it, as does optuna-dashboard.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from corpus.errors import InputError
from corpus.places import Place
from corpus.shown_text import without_secrets
from tuning.journal import JOURNAL, mend_journal, open_journal

STUDY = "tandem"
# Of Optuna's sampler; known points count among them.
RANDOM_TRIALS = 10
# What says that a study is that of a search.
SETTINGS = "search"
# Of a member of a population: whom it has taken over from, by epoch.
TAKEN_OVER = "taken_over"
CUT_SHORT = "cut short; another trial goes on in its folder"
FIXED = "fixed_params"  # Optuna's own name of what was enqueued

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_study(
    output: Place,
    storage: str | None,
    settings: Mapping[str, Any],
    objectives: Sequence[str],
    seed: int,
) -> Study:
    """Opens the study of a search, or begins it.

    Args:
        output: the search's folder, which `tuning.journal.only_search` holds.
        storage: the URL of a database; by default the journal in `output`.
        settings: what decides the search, as values of JSON; a study of others is refused.
        objectives: their names; each is to be as high as can be.
        seed: of the sampler.

    Raises:
        InputError: the storage cannot be read or written, or holds the study of another search.
    """
    place = str(without_secrets(storage)) if storage else str(output / JOURNAL)
    wanted = _as_json(settings)
    with _refused(place):
        opened = _open_storage(output, storage)
        if STUDY not in optuna.get_all_study_names(opened):
            directions = ["maximize"] * len(objectives)
            study = optuna.create_study(storage=opened, study_name=STUDY, directions=directions)
            study.set_user_attr(SETTINGS, wanted)
        study = optuna.load_study(study_name=STUDY, storage=opened)
        _refuse_other_study(study, wanted, place)
        with _no_word_of_experiments():
            study.set_metric_names(list(objectives))
        # Written anew each time, so that storage which takes nothing more is found now.
        study.set_user_attr(SETTINGS, wanted)
    study.sampler = make_sampler(seed, len(study.trials))
    return study


def check_storage(url: str, settings: Mapping[str, Any], resume: bool) -> None:
    """Refuses a database that cannot be used, or that holds a study of another search.

    Args:
        url: of the database.
        settings: what decides the search, as values of JSON.
        resume: go on with a study that is there.

    Raises:
        InputError: naming the database.
    """
    place = str(without_secrets(url))
    with _refused(place):
        storage = RDBStorage(url)
        if STUDY not in optuna.get_all_study_names(storage):
            return
        study = optuna.load_study(study_name=STUDY, storage=storage)
        _refuse_other_study(study, _as_json(settings), place)
    if not resume:
        raise InputError(
            f"{place}: holds the study of this search; give --resume to go on with it, or another "
            "--storage"
        )


def make_sampler(seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """Optuna's tree-structured Parzen estimator, of parameters together, for one objective or more.

    Its first trials are random, `RANDOM_TRIALS` with the known points among them. NSGA-II, the
    other sampler for several objectives, learns from generations of fifty trials, which a search
    seldom has. A resumed search takes other random numbers, or it would propose the first points
    again.

    Args:
        seed: of the search.
        trials: how many the study has.
    """
    state = np.random.SeedSequence([seed, trials]).generate_state(1)
    with _no_word_of_experiments():
        return optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=int(state[0]),
        )


@contextmanager
def _no_word_of_experiments() -> Iterator[None]:
    """Without Optuna's warnings of what it may yet change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def _refused(place: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each database has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{place}: the study cannot be read and written there: {reason:.300}; mend it, or give "
            "another --output or --storage"
        ) from error


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(without_secrets(dict(settings)), default=str)))


def _open_storage(output: Place, url: str | None) -> BaseStorage:
    if url is not None:
        return RDBStorage(url)
    mend_journal(output)
    return JournalStorage(open_journal(output))


def _refuse_other_study(study: Study, wanted: dict[str, Any], place: str) -> None:
    found = study.user_attrs.get(SETTINGS)
    if not isinstance(found, dict):
        raise InputError(
            f"{place}: holds a study {STUDY!r} that is no search of Tandem's; give another "
            "--storage"
        )
    for name in sorted(wanted.keys() | found.keys()):
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"{place}: holds a study with {name} = {found.get(name)!r}, and now "
                f"{wanted.get(name)!r} is asked for; search in another --output, or storage"
            )


def first_number(trial: FrozenTrial) -> int:
    """The number of the trial in whose folder this one works: its own, or that of the first."""
    return int(trial.user_attrs.get("continues", trial.number))


def asked_for(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial, also of one that has not asked for all it was enqueued with."""
    fixed: dict[str, Any] = trial.system_attrs.get(FIXED, {})
    return {**fixed, **trial.params}


def take_up_cut_short(study: Study) -> int:
    """Enqueues again what a kill has cut short, to go on in its folder; returns how many.

    It goes before the known points that still wait: they are enqueued again behind it, since trials
    are asked for in their order, and a search of fewer trials would else end with other points.

    First enqueued, then told to have failed: a kill between the two loses no trial, and the trial
    is not enqueued twice.
    """
    waiting, running = _in(study, TrialState.WAITING), _in(study, TrialState.RUNNING)
    every = study.get_trials(deepcopy=False)
    begun = {first_number(trial) for trial in every if "folder" in trial.user_attrs}
    again = {first_number(trial) for trial in waiting} & begun
    behind = [trial for trial in waiting if first_number(trial) not in begun]
    for trial in [*running, *(behind if running or again else [])]:
        number = first_number(trial)
        if number not in again:
            known = {
                name: trial.user_attrs[name] for name in ("known",) if name in trial.user_attrs
            }
            study.enqueue_trial(asked_for(trial), user_attrs={"continues": number, **known})
            again.add(number)
        study._storage.set_trial_user_attr(trial._trial_id, "error", CUT_SHORT)
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    return len(running)


def enqueue_known(study: Study, points: Mapping[str, Mapping[str, Any]]) -> None:
    """Enqueues known points that the study does not have yet, to be tried before all others."""
    there = {trial.user_attrs.get("known") for trial in study.get_trials(deepcopy=False)}
    for name, parameters in points.items():
        if name not in there:
            study.enqueue_trial(dict(parameters), user_attrs={"known": name})


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials that need not run again, by number: one for each folder, however it ended."""
    going_on = {first_number(t) for t in _in(study, TrialState.WAITING, TrialState.RUNNING)}
    last: dict[int, FrozenTrial] = {}
    for trial in _in(study, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        last[first_number(trial)] = trial
    return [trial for number, trial in sorted(last.items()) if number not in going_on]


def _in(study: Study, *states: TrialState) -> list[FrozenTrial]:
    return list(study.get_trials(deepcopy=False, states=states))
