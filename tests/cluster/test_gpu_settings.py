"""Every job's GPU settings, as far as they go where GPUs are declared to Ray and not there.

Those of annotation and of scoring are in `test_annotate_engine.py` and `test_rerank.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from corpus.errors import InputError
from rankers.mixes import Constant, Ramp
from rankers.train import train
from rankers.train_each import Arm, train_each
from tests.conftest import with_settings
from tests.rankers.trainings import make_inputs, settings
from tuning.tune import tune

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch finds a GPU here: see tests/gpu"),
]
MISSING = r"training.resources.use_gpu: PyTorch .* finds no GPU where Ray has one"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A local cluster that is told of two GPUs."""
    ray.init(address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


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
    with pytest.raises(InputError, match=r"would never have a place: there is .* with 4 CPU and 2"):
        tune(*tables, tmp_path / "more", training, trials=3, concurrent_trials=3)
    assert not (tmp_path / "more").exists()
