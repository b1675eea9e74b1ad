"""What a cluster is asked before work starts, and every job's GPU settings as far as they go.

The GPUs are declared to Ray and not there. GPU settings of annotation and of scoring are in
`test_annotate_engine.py` and `test_rerank.py`.
"""

import os
import time
from pathlib import Path

import pytest
import ray
import torch

from cluster import reach, resources
from cluster.connection import WORKER_ENVIRONMENT
from cluster.growth import Growth, Node
from cluster.resources import Asked, wait_for_room
from corpus.errors import InputError
from rankers.mixes import Constant, Ramp
from rankers.train import train
from rankers.train_each import Arm, train_each
from tests.conftest import with_settings
from tests.rankers.trainings import make_inputs, settings
from tuning.tune import tune

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("cluster"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch finds a GPU here: see tests/gpu"),
]
MISSING = r"training.resources.use_gpu: PyTorch .* finds no GPU where Ray has one"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def test_training_with_gpus_begins_and_says_what_is_missing(inputs: Path, tmp_path: Path) -> None:
    training = settings(inputs / "exact", workers=2, use_gpu=True)
    tables = {"click_labels": inputs / "clicks", "annotations": inputs / "llm"}
    with pytest.raises(InputError, match=MISSING):
        train(inputs / "collection", tmp_path / "ranker", mix=Ramp(), training=training, **tables)
    more = with_settings(training, workers=3)
    told = r"3 workers of 0.5 CPU and 1 GPU each .* 1 of the workers would never have a place"
    with pytest.raises(InputError, match=told):
        train(inputs / "collection", tmp_path / "more", mix=Ramp(), training=more, **tables)
    assert not (tmp_path / "more").exists()


def test_rankers_side_by_side_with_gpus_begin_and_say_what_is_missing(
    inputs: Path, tmp_path: Path
) -> None:
    training = settings(inputs / "exact", workers=1, use_gpu=True)
    arm = Arm(tmp_path / "a", inputs / "collection", Constant(1.0), training, inputs / "clicks")
    with pytest.raises(InputError, match=MISSING):
        train_each([arm], at_once=4, gpus=0.5)
    with pytest.raises(InputError, match=r"5 rankers of 0.5 CPU and 0.5 GPU each"):
        train_each([arm], at_once=5, gpus=0.5)


@pytest.mark.parametrize("workers", [1, 2])
def test_trials_with_gpus_begin_and_say_what_is_missing(
    inputs: Path, tmp_path: Path, workers: int
) -> None:
    training = settings(inputs / "exact", workers=workers, use_gpu=True)
    tables = (inputs / "collection", inputs / "clicks", inputs / "llm")
    with pytest.raises(InputError, match=MISSING):
        tune(*tables, tmp_path / "search", training, trials=1, concurrent_trials=1)
    with pytest.raises(InputError, match=r"would never have a place: there is .* with 8 CPU and 2"):
        tune(*tables, tmp_path / "more", training, trials=3, concurrent_trials=3)
    assert not (tmp_path / "more").exists()


def test_processes_of_a_local_cluster_have_the_variables_of_the_job_and_name_their_cluster() -> (
    None
):
    @ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
    def environment() -> dict[str, str]:
        return dict(os.environ)

    there = ray.get(environment.remote())
    assert there.items() >= WORKER_ENVIRONMENT.items()
    assert there["AWS_ENDPOINT_URL"] == os.environ["AWS_ENDPOINT_URL"], "of the tests' store"
    named = there["RAY_ADDRESS"].split(":")[1]
    assert named == ray.get_runtime_context().gcs_address.split(":")[1]
    assert os.environ["RAY_ADDRESS"] == "local", "the next job of this process begins anew"


def test_a_node_that_does_not_see_a_place_is_named(tmp_path: Path) -> None:
    nodes = {ray.get_runtime_context().get_node_id(): "10.0.0.2"}
    reach._ask(nodes, {"runs/out": str(tmp_path)})
    with pytest.raises(InputError) as refused:
        reach._ask(nodes, {"runs/out": str(tmp_path / "elsewhere")})
    assert str(refused.value) == (
        "node 10.0.0.2 does not see runs/out: give a folder that all nodes share, or a URL"
    )


def test_what_has_to_wait_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = Node("10.0.0.1", {"CPU": 4.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 0.0})
    monkeypatch.setattr(resources, "read_nodes", lambda: ([busy], Growth(coming="1 gpu_worker")))
    monkeypatch.setattr(resources, "LOOK_EVERY", 0.3)

    @ray.remote(num_gpus=2, num_cpus=0)  # type: ignore[untyped-decorator]
    def work() -> None:
        time.sleep(2)

    working = work.remote()
    while ray.available_resources().get("GPU"):
        time.sleep(0.05)
    wait_for_room(Asked("workers", 2, {"CPU": 0.5, "GPU": 1}), setting="workers")
    ray.get(working)
    assert capsys.readouterr().err == (
        "waiting for room since 0 s: 2 workers of 0.5 CPU and 1 GPU each; there is 10.0.0.1 with "
        "4 CPU and 2 GPU, with 4 CPU free; on their way: 1 gpu_worker\n"
    )
