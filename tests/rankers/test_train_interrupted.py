"""Training on the real stack ends the same whatever interrupts it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from corpus.errors import InputError
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import HISTORY, TRAINING_STATE
from tests.conftest import REPOSITORY, hear_ctrl_c, with_settings
from tests.rankers.trainings import (
    EPOCHS,
    last_checkpoint,
    last_state,
    make_inputs,
    settings,
    trained,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def long_training(inputs: Path) -> TrainingSettings:
    """With dropout and learned biases of positions, so that there is that to resume too."""
    return settings(inputs / "dropping", click_objective="dual_learning")


@pytest.fixture(scope="module")
def undisturbed(cluster: None, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two workers' training, from its beginning to its end."""
    output = tmp_path_factory.mktemp("whole") / "ranker"
    return trained(inputs, output, long_training(inputs))


def start_training(
    inputs: Path, output: Path, environment: dict[str, str], *more: str
) -> "subprocess.Popen[bytes]":
    """The same training as a job."""
    arguments = {
        "collection": inputs / "collection",
        "click_labels": inputs / "clicks",
        "annotations": inputs / "llm",
        "output": output,
        "mix": "Ramp",
        **{
            f"training.{name}": value
            for name, value in long_training(inputs).by_name.items()
            if value != TrainingSettings().by_name[name]
        },
    }
    command = [sys.executable, "ray_jobs/train.py"]
    command += [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    # Into a file, since what outlives a killed job would keep a pipe open.
    with output.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [*command, *more],
            cwd=REPOSITORY,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=hear_ctrl_c,
        )


def finish(job: "subprocess.Popen[bytes]", output: Path) -> str:
    """Waits for a job that ends well; returns what it and those before it printed."""
    status = job.wait(timeout=300)
    shown = output.with_suffix(".log").read_text()
    assert status == 0, shown[-3000:]
    return shown


def wait_for_the_middle_of_an_epoch(
    job: "subprocess.Popen[bytes]", output: Path, place: Path, after: Path | None = None
) -> Path:
    """Waits until a checkpoint lies within the second epoch or a later one; returns it."""
    while job.poll() is None:
        time.sleep(0.02)
        try:
            checkpoint = last_checkpoint(place)
            history = json.loads((checkpoint / HISTORY).read_text())
        except (FileNotFoundError, TypeError):
            continue  # none yet, or one that was just replaced
        if history and checkpoint != after and not (checkpoint / "config.json").exists():
            return checkpoint
    raise AssertionError(output.with_suffix(".log").read_text()[-3000:])


def kill_a_worker(job: "subprocess.Popen[bytes]") -> None:
    """Kills one of the two workers of nodes on this machine, as soon as there are two."""
    workers: list[psutil.Process] = []
    while len(workers) < 2:
        assert job.poll() is None
        with suppress(psutil.NoSuchProcess):
            workers = [
                process
                for process in psutil.Process().children(recursive=True)
                if "RayTrainWorker" in " ".join(process.cmdline())
            ]
    workers[1].kill()


def test_after_ctrl_c_a_lost_worker_a_lost_node_and_a_kill_training_ends_as_if_undisturbed(
    undisturbed: Path, inputs: Path, tmp_path: Path
) -> None:
    """Workers of two nodes; checkpoints lie elsewhere.

    These belong to this training, whatever becomes of its output.
    """
    output, place = tmp_path / "ranker", tmp_path / "elsewhere"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = cluster.add_node(num_cpus=1)
        # A whole CPU each: one worker a node.
        options = ("--checkpoints", place.as_uri(), "--training.resources.cpus_per_worker", "0.9")
        start = partial(start_training, inputs, output, {"RAY_ADDRESS": cluster.address}, *options)
        job = start()
        kill_a_worker(job)  # before the first step
        before = wait_for_the_middle_of_an_epoch(job, output, place)
        job.send_signal(signal.SIGINT)
        assert job.wait(timeout=120) == 130
        assert "--resume" in output.with_suffix(".log").read_text()
        assert not (output / "model.safetensors").exists()
        job = start("--resume")
        before = wait_for_the_middle_of_an_epoch(job, output, place, after=before)
        cluster.remove_node(lost, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        wait_for_the_middle_of_an_epoch(job, output, place, after=before)
        job.kill()
        job.wait()
        assert finish(start("--resume"), output).count(f"epoch 1/{EPOCHS}") == 1
    finally:
        cluster.shutdown()
    assert_same(output, undisturbed, place)
    assert not (output / "checkpoints").exists()
    kept, kept_alone = (
        len(list(folder.glob(f"checkpoints/*/{TRAINING_STATE}"))) for folder in (place, undisturbed)
    )
    assert 1 <= kept_alone <= 2, "the best and the last"
    assert 1 <= kept <= 2, "and none that Ctrl-C or the kill left, just written"
    other = partial(trained, inputs, tmp_path / "other", checkpoints=place.as_uri())
    with pytest.raises(InputError, match="give --resume to go on with them"):
        other(long_training(inputs))
    with pytest.raises(InputError, match=r"'seed': 0.*'seed': 1.* is asked for"):
        other(with_settings(long_training(inputs), seed=1), resume=True)
    assert not (tmp_path / "other").exists()
    shutil.rmtree(output)
    # Nothing is left to do, and on other machines.
    elsewhere = with_settings(long_training(inputs), workers=1, restarts=0, every_steps=0)
    assert_same(other(elsewhere, resume=True), undisturbed, place)


def assert_same(output: Path, undisturbed: Path, place: Path) -> None:
    """Bit for bit: parameters, optimizer, schedule; and what the history tells of learning."""
    ours, theirs = last_state(place), last_state(undisturbed)
    for name, value in theirs["ranker"].items():
        assert torch.equal(ours["ranker"][name], value), name
    for number, moments in theirs["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(ours["optimizer"]["state"][number][name], value), name
    assert ours["schedule"] == theirs["schedule"]
    for name, value in theirs["objective"].items():
        assert torch.equal(ours["objective"][name], value), name
    weights = [load_file(folder / "model.safetensors") for folder in (output, undisturbed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    timed = ("seconds", "pairs_per_second", "waiting_share")
    histories = [
        [
            {name: value for name, value in row.items() if name not in timed}
            for row in json.loads((folder / HISTORY).read_text())
        ]
        for folder in (output, undisturbed)
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) == EPOCHS, "those after the best one too"
