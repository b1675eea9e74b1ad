"""A search whose storage fills, or that loses a node, goes on; on the real stack, tiny."""

import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import psutil
import pytest
import ray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray.cluster_utils import Cluster

from corpus.errors import InputError
from rankers.settings import TrainingSettings
from tests.conftest import with_settings
from tests.rankers.trainings import make_inputs
from tuning.journal import JOURNAL
from tuning.space import SearchSpace
from tuning.study import STUDY
from tuning.tune import tune

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 4
# Less than a checkpoint, and more than what a process logs.
FULL = 200_000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def search(inputs: Path, output: Path, trials: int, **options: Any) -> pd.DataFrame:
    """Trials of clicks alone, annotations alone, and so on; returns their table."""
    given = {"epochs": EPOCHS, "lists_per_step": 4, "max_length": 32, "workers": 1}
    training = with_settings(TrainingSettings(), backbone=str(inputs / "exact"), **given)
    training = with_settings(training, cpus_per_worker=options.pop("cpus", 0.5))
    tables = (inputs / "collection", inputs / "clicks", inputs / "llm")
    shared = {"space": SearchSpace(mixes=["Constant"]), "early_stopping": False, "finalists": 0}
    tune(*tables, output, training, trials=trials, **(shared | options))
    return pd.read_parquet(output / "trials.parquet")


def read_trials(output: Path, *states: TrialState) -> list[FrozenTrial]:
    if not (output / JOURNAL).exists():
        return []
    storage = JournalStorage(JournalFileBackend(str(output / JOURNAL)))
    try:
        return optuna.load_study(study_name=STUDY, storage=storage).get_trials(states=states)
    except KeyError:  # not begun yet
        return []


def once(condition: Any, act: Any) -> threading.Thread:
    """Does something as soon as a condition gives what to do it to."""

    def wait() -> None:
        while not (found := condition()):
            time.sleep(0.05)
        act(found)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def process_of(trial: FrozenTrial) -> psutil.Process:
    return psutil.Process(int(trial.user_attrs["worker"].split(":")[1]))


def test_storage_that_fills_ends_the_search_and_nothing_that_is_finished_is_lost(
    inputs: Path, tmp_path: Path
) -> None:
    """The process of a trial may write no large file any more, as on a disk that is full."""
    output = tmp_path / "out"

    def second_at_work() -> list[FrozenTrial]:
        ended = read_trials(output, TrialState.COMPLETE)
        running = read_trials(output, TrialState.RUNNING)
        return [trial for trial in running if ended and trial.user_attrs.get("epochs")]

    def fill(found: list[FrozenTrial]) -> None:
        process_of(found[0]).rlimit(psutil.RLIMIT_FSIZE, (FULL, psutil.RLIM_INFINITY))

    filled = once(second_at_work, fill)
    with pytest.raises(InputError, match=f"{output}: the search cannot write any more: .*") as told:
        search(inputs, output, 2, concurrent_trials=1)
    filled.join()
    assert "--resume" in str(told.value)
    assert "\n" not in str(told.value)
    [ended] = read_trials(output, TrialState.COMPLETE)
    history = output / ended.user_attrs["folder"] / "history.json"
    before = history.stat().st_mtime_ns
    table = search(inputs, output, 2, concurrent_trials=1, resume=True)
    assert table["state"].tolist() == ["COMPLETE"] * 2
    assert table["epochs"].tolist() == [EPOCHS] * 2
    assert history.stat().st_mtime_ns == before, "it was not trained again"


def test_a_lost_node_costs_its_trial_a_restart(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        raylet = node.all_processes["raylet"][0].process.pid

        def at_work_there() -> list[FrozenTrial]:
            running = read_trials(output, TrialState.RUNNING)
            begun = [trial for trial in running if trial.user_attrs.get("epochs")]
            return [trial for trial in begun if process_of(trial).ppid() == raylet]

        lost: list[int] = []

        def lose(found: list[FrozenTrial]) -> None:
            lost.extend(trial.number for trial in found)
            cluster.remove_node(node, allow_graceful=False)

        gone = once(at_work_there, lose)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("RAY_ADDRESS", cluster.address)
            table = search(inputs, output, 2, cpus=0.9)  # one trial a node
            gone.join()
            assert table["state"].tolist() == ["COMPLETE"] * 2
            assert table["epochs"].tolist() == [EPOCHS] * 2
            assert lost
            ray.shutdown()  # as the end of a job does
            left = {"concurrent_trials": 1}  # there is room for no more
            assert len(search(inputs, output, 3, cpus=0.9, resume=True, **left)) == 3
    finally:
        ray.shutdown()
        cluster.shutdown()
