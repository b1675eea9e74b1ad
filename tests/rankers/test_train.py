"""Training on the real stack: the same however many share it, and what it refuses."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from corpus import by_query
from corpus.errors import InputError
from corpus.places import Place, stamps, upload
from corpus.tables import write_parquet
from rankers.data.tokenization import map_with_ray
from rankers.mixes import Ramp
from rankers.preparation import open_tables, prepare_input
from rankers.prepared import Inputs
from rankers.settings import TrainingSettings
from rankers.training.alone import CHECKPOINTS, train_alone
from rankers.training.checkpoints import TRAINING_STATE, read_states
from rankers.training.learner import WorkerTask
from rankers.training.loop import train_ranker
from rankers.training.stops import read_refused
from rankers.training.storage import checkpoint_storage
from rankers.training.workers import OneProcess
from tests.conftest import with_settings
from tests.rankers.trainings import last_state, make_inputs, settings, trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("cluster")]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def alone(
    inputs: Path, folder: Path, training: TrainingSettings, in_parts: bool = False
) -> WorkerTask:
    """The same training as a task of one process."""
    folder.mkdir()
    where = Inputs(inputs / "collection", inputs / "clicks", inputs / "llm")
    tables = open_tables(where, Ramp(), training)
    assert (tables.parts > 1) == in_parts
    prepared = prepare_input(tables, training, folder)
    objective = prepared.objective(Ramp(), training.objective)
    return WorkerTask(folder, training, objective, prepared.read, live=False)


def test_workers_and_parts_of_a_step_share_what_lies_in_a_store_as_if_one_took_it_whole(
    inputs: Path,
    tmp_path: Path,
    store: Place,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Shards hold unequal numbers of lists here, and some parts are empty."""
    monkeypatch.setattr(by_query, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(by_query, "ROWS_OF_PART", 150)
    for name in stamps(inputs):
        upload(inputs / name, store / name)
    # A softmax has no gradient for the scoring bias, and AdamW makes steps of its rounding.
    changes = {"epochs": 2, "loss": "pointwise_sigmoid", "learning_rate": 1e-4}
    shared = settings(store / "exact", workers=2, accumulation=2, **changes)
    one = settings(inputs / "exact", workers=1, **changes)
    whole = alone(inputs, tmp_path / "whole", one, in_parts=True)
    assert train_ranker(whole, OneProcess(tmp_path / "last")) is None
    output = trained(store, store / "shared", shared)
    ours = last_state(output)["ranker"]
    theirs = read_states((tmp_path / "last" / TRAINING_STATE).read_bytes())["ranker"]
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=0)
    left = {path.name for path in output.iterdir()}
    assert {"job.json", "model.safetensors", "history.json", "tensorboard"} <= left
    assert json.loads((output / "job.json").read_text())["complete"]
    trained(store, output, shared, resume=True)
    assert "already trained" in capfd.readouterr().out
    wrong = pq.read_table(inputs / "clicks" / "click_labels.parquet")
    write_parquet(
        pa.concat_tables([wrong, wrong.slice(0, 1)]), store / "clicks" / "click_labels.parquet"
    )
    with pytest.raises(InputError, match=rf"click_labels.*is a key.*row {wrong.num_rows}: "):
        trained(store, store / "other", shared)
    assert not (store / "other").exists()


def test_training_that_is_spoiled_stops_and_goes_on_without_that_step(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training = settings(inputs / "exact", learning_rate=1e30, gradient_clip=1e30)
    said = "stopped: loss or gradient of step .*--resume goes on without this step$"
    with pytest.raises(InputError, match=said) as refused:
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


def test_blocks_are_tokenized_by_ray_in_their_order() -> None:
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
