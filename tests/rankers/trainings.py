"""A small training on the real stack, and what is left of it."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from clicks.fit_clicks import fit_clicks
from corpus.places import Place, read_whole
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection, write_table
from rankers.mixes import Ramp
from rankers.models.small_bert import build_small_bert
from rankers.settings import TrainingSettings
from rankers.train import train
from rankers.training.checkpoints import TRAINING_STATE
from tests.conftest import with_settings

EPOCHS = 6  # so many that an interruption finds training at work


def make_inputs(folder: Path) -> Path:
    """A collection, click labels, annotations, and backbones with and without dropout."""
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


def settings(backbone: Place, **changes: Any) -> TrainingSettings:
    """Of 26 lists, steps of four and of three: they differ between two workers."""
    given: dict[str, Any] = {
        "epochs": EPOCHS,
        "lists_per_step": 4,
        "every_steps": 2,
        "max_length": 32,
    }
    given |= {"backbone": str(backbone), "tokens_per_micro_batch": 256}
    return with_settings(TrainingSettings(), **(given | changes))


def trained(inputs: Place, output: Place, training: TrainingSettings, **options: Any) -> Place:
    """Trains in this process; returns the folder."""
    tables = {"click_labels": inputs / "clicks", "annotations": inputs / "llm"}
    train(inputs / "collection", output, mix=Ramp(), training=training, **tables, **options)
    return output


def last_state(place: Place) -> dict[str, Any]:
    """The state in the last checkpoint."""
    content = (last_checkpoint(place) / TRAINING_STATE).read_bytes()
    return torch.load(io.BytesIO(content), weights_only=True)


def last_checkpoint(place: Place) -> Place:
    folder = place / "checkpoints"
    # A training that runs replaces it.
    snapshot = json.loads(read_whole(folder / "checkpoint_manager_snapshot.json"))
    return folder / snapshot["latest_checkpoint_result"]["checkpoint_dir_name"]
