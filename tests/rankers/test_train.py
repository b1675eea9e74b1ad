"""Training on the real stack: the same whatever interrupts it and however many share it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from clicks.fit_clicks import fit_clicks
from cluster.connection import connect
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, write_table
from rankers.data.tokenization import map_with_ray
from rankers.fit import tokenize_input
from rankers.mixes import Ramp
from rankers.models.small_bert import build_small_bert
from rankers.settings import TrainingSettings
from rankers.supervision import read_supervised_lists
from rankers.train import train
from rankers.training.alone import CHECKPOINTS, train_alone
from rankers.training.checkpoints import HISTORY, TRAINING_STATE, read_states
from rankers.training.learner import WorkerTask
from rankers.training.loop import train_ranker
from rankers.training.stops import read_refused
from rankers.training.storage import checkpoint_storage
from rankers.training.workers import OneProcess
from tests.conftest import REPOSITORY, hear_ctrl_c, with_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EPOCHS = 6  # so many that an interruption finds training at work


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection, click labels, annotations, and backbones with and without dropout."""
    folder = tmp_path_factory.mktemp("inputs")
    prepare(folder / "collection", SimulatedWorld(28, 120, 600, judged=1.0))
    collection = read_collection(folder / "collection")
    fit_clicks(folder / "collection", folder / "clicks", resamples=0)
    graded = collection.judgments.select(["query_id", "doc_id", "grade"]).to_pandas()
    graded = graded.assign(
        annotator="tests", strategy="pointwise", prompt_id="p", confidence=1.0, error=None
    ).assign(expected_grade=graded["grade"].astype(float))
    write_table(pa.Table.from_pandas(graded, preserve_index=False), folder / "llm", "annotations")
    for name, dropout in (("exact", 0.0), ("dropping", 0.1)):
        build_small_bert(collection, folder / name, seed=0)
        config = json.loads((folder / name / "config.json").read_text())
        config["hidden_dropout_prob"] = config["attention_probs_dropout_prob"] = dropout
        (folder / name / "config.json").write_text(json.dumps(config))
    return folder


def settings(backbone: Path, **changes: Any) -> TrainingSettings:
    """Of 26 lists, steps of four and of three: they differ between two workers."""
    given: dict[str, Any] = {
        "epochs": EPOCHS,
        "lists_per_step": 4,
        "every_steps": 2,
        "max_length": 32,
    }
    given |= {"backbone": str(backbone), "tokens_per_micro_batch": 256}
    return with_settings(TrainingSettings(), **(given | changes))


def long_training(inputs: Path) -> TrainingSettings:
    """With dropout and learned biases of positions, so that there is that to resume too."""
    return settings(inputs / "dropping", click_objective="dual_learning")


def trained(inputs: Path, output: Path, training: TrainingSettings, **options: Any) -> Path:
    """Trains in this process; returns the folder."""
    tables = {"click_labels": inputs / "clicks", "annotations": inputs / "llm"}
    train(inputs / "collection", output, mix=Ramp(), training=training, **tables, **options)
    return output


def alone(inputs: Path, folder: Path, training: TrainingSettings) -> WorkerTask:
    """The same training as a task of one process."""
    folder.mkdir()
    mix = Ramp()
    lists = read_supervised_lists(
        inputs / "collection", inputs / "clicks", inputs / "llm", mix, training
    )
    read = tokenize_input(lists, folder, training)
    return WorkerTask(folder, training, read.objective(mix), read, live=False)


def last_state(place: Path) -> dict[str, Any]:
    """The state in the last checkpoint."""
    return torch.load(last_checkpoint(place) / TRAINING_STATE, weights_only=True)


def last_checkpoint(place: Path) -> Path:
    folder = place / "checkpoints"
    snapshot = json.loads((folder / "checkpoint_manager_snapshot.json").read_text())
    return folder / snapshot["latest_checkpoint_result"]["checkpoint_dir_name"]


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two workers' training, from its beginning to its end."""
    connect()
    output = tmp_path_factory.mktemp("whole") / "ranker"
    yield trained(inputs, output, long_training(inputs))
    ray.shutdown()


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
    assert 1 <= kept <= 3, "and one that the killed job had just written"
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


def test_workers_and_parts_share_a_step_as_if_one_took_it_whole(
    undisturbed: Path, inputs: Path, tmp_path: Path
) -> None:
    """Shards hold unequal numbers of lists here, and some parts are empty."""
    # A softmax has no gradient for the scoring bias, and AdamW makes steps of its rounding.
    changes = {"epochs": 2, "loss": "pointwise_sigmoid", "learning_rate": 1e-4}
    shared = settings(inputs / "exact", workers=2, accumulation=2, **changes)
    whole = alone(inputs, tmp_path / "whole", settings(inputs / "exact", workers=1, **changes))
    assert train_ranker(whole, OneProcess(tmp_path / "last")) is None
    ours = last_state(trained(inputs, tmp_path / "shared", shared))["ranker"]
    theirs = read_states((tmp_path / "last" / TRAINING_STATE).read_bytes())["ranker"]
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=0)


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


def test_training_that_is_spoiled_stops_and_goes_on_without_that_step(
    undisturbed: Path, inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training = settings(inputs / "exact", learning_rate=1e30, gradient_clip=1e30)
    with pytest.raises(InputError, match="stopped: loss or gradient of step") as refused:
        trained(inputs, tmp_path / "ranker", training)
    batches = sorted((tmp_path / "ranker").glob("nonfinite_batch_*.parquet"))
    assert any(str(path) in str(refused.value) for path in batches)
    for path in batches:
        assert {"query_id", "doc_ids", "click_label"} <= set(pq.read_table(path).column_names)
    [refusal] = read_refused(tmp_path / "ranker")
    with pytest.raises(InputError, match="stopped: loss or gradient of step"):
        trained(inputs, tmp_path / "ranker", with_settings(training, workers=1), resume=True)
    assert f"goes on without step {refusal.step};" in capfd.readouterr().err
    assert len(read_refused(tmp_path / "ranker")) == 2, "the next step is another one"


def test_blocks_are_tokenized_by_ray_in_their_order(undisturbed: Path) -> None:
    blocks = [pa.table({"text": [f"{number} {row}" for row in range(3)]}) for number in range(4)]
    assert list(map_with_ray(0.5)(pa.Table.combine_chunks, blocks)) == blocks


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("nowhere://bucket/run", "not known"),
        ("sftp://localhost/run", "to be installed"),
        ("s3://bucket/run?endpoint_override=127.0.0.1:1&scheme=http&region=x", "connect to server"),
    ],
)
def test_a_place_that_cannot_be_reached_is_named(place: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"{re.escape(place)} cannot be reached: .*{reason}"):
        checkpoint_storage(place)


def test_the_settings_work_together(inputs: Path, tmp_path: Path) -> None:
    training = settings(
        inputs / "dropping",
        heads="two",
        lora_rank=2,
        precision="bf16",
        layer_decay=0.9,
        accumulation=2,
        balance_losses=True,
        trackers=["mlflow"],
        epochs=1,
        workers=1,
    )
    output = tmp_path / "ranker"
    assert train_alone(alone(inputs, output, training)) is None
    last = output / CHECKPOINTS / "last" / TRAINING_STATE
    state = read_states(last.read_bytes())["ranker"]
    assert {name for name in state if "lora" not in name and "classifier" not in name} <= {
        name for name in state if "position_ids" in name or "token_type_ids" in name
    }, "frozen weights are not kept twice"
    assert load_file(output / "model.safetensors")["classifier.weight"].shape[0] == 2
    assert (output / "heads_mix.json").exists()
    assert (output / "mlflow.db").exists()
    learned = [value for name, value in state.items() if "lora_B" in name]
    assert learned
    assert all(value.any() for value in learned), "they start at zero"
