"""Rankers of a study, each trained by one process: the same whatever interrupts them."""

import json
import time
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from clicks.fit_clicks import fit_clicks
from corpus import by_query
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from rankers import train_each as module
from rankers.data.store import ListFile
from rankers.mixes import Constant, FrequencySigmoid
from rankers.preparation import open_tables, prepare_input
from rankers.prepared import Inputs
from rankers.settings import TrainingSettings
from rankers.train_each import Arm, train_each
from rankers.training import alone
from rankers.training.checkpoints import HISTORY
from rankers.training.learner import WorkerTask
from tests.conftest import with_settings
from tests.scraping import scrape

pytestmark = pytest.mark.slow

TRAINING = with_settings(TrainingSettings(), epochs=3, lists_per_step=4, max_length=32)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    prepare(folder / "collection", SimulatedWorld(40, 60, 400))
    fit_clicks(folder / "collection", folder / "clicks", resamples=0)
    return folder


def arm(inputs: Path, output: Path, seed: int = 0) -> Arm:
    return Arm(
        output,
        inputs / "collection",
        Constant(1.0),
        with_settings(TRAINING, seed=seed),
        click_labels=inputs / "clicks",
        tokens=inputs / "tokens",
    )


def history(ranker: Path) -> list[dict[str, float]]:
    epochs: list[dict[str, float]] = json.loads((ranker / HISTORY).read_text())
    return epochs


def test_arms_are_trained_side_by_side_and_not_again(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arms = [arm(inputs, tmp_path / name, seed) for seed, name in enumerate(("a", "b", "c"))]
    train_each(arms, at_once=2)
    assert "trained, 3 of 3" in capsys.readouterr().out
    trained = time.monotonic()
    expected = {
        ("ray_tandem_progress", ""): 1,
        ("ray_tandem_ndcg", ""): pytest.approx(history(tmp_path / "c")[-1]["validation_ndcg"]),
    }
    told = scrape("train", "c", lambda told: all(told.get(of) == expected[of] for of in expected))
    assert {name: told.get(name) for name in expected} == expected
    assert told["ray_tandem_pairs_total", ""] > 0
    assert told.keys() >= {("ray_tandem_loss", ""), ("ray_tandem_trained_tokens_total", "")}
    weights = [load_file(one.output / "model.safetensors") for one in arms]
    assert not all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert [row["epoch"] for row in history(arms[2].output)] == [1, 2, 3]
    left = {path.name for path in arms[0].output.iterdir()}
    assert {"bucket_floors.json", "config.json", "tokenizer.json"} <= left
    assert not {"checkpoints", "measured", "training_state.pt"} & left
    train_each([*arms, arm(inputs, tmp_path / "d")], at_once=2)
    assert "trained, 1 of 1" in capsys.readouterr().out
    again = load_file(tmp_path / "d" / "model.safetensors")
    assert all(np.array_equal(again[name], weights[0][name]) for name in again), "the same seed"
    # Of many rows, tasks make what is read: in another order, but the same lists.
    monkeypatch.setattr(by_query, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(by_query, "ROWS_OF_PART", 250)
    train_each([arm(inputs, tmp_path / "e")], at_once=1)
    files = tmp_path / "a" / "lists" / "training.arrow", tmp_path / "e" / "lists" / "training"
    of_files = [ListFile(file) for file in files]
    rows = [lists.take(np.arange(len(lists))).to_pylist() for lists in of_files]
    learned = [sorted((row["query_id"], row["click_label"]) for row in of) for of in rows]
    assert learned[0] == learned[1]
    floors = [(tmp_path / name / "bucket_floors.json").read_text() for name in ("a", "e")]
    assert floors[0] == floors[1]
    of_whole, of_parts = (history(tmp_path / name) for name in ("a", "e"))
    assert of_whole[0].keys() == of_parts[0].keys()
    assert len(of_parts) == 3
    with pytest.raises(InputError, match="was begun with mix"):
        train_each([replace(arms[0], mix=FrequencySigmoid())], at_once=1)
    time.sleep(max(0.0, 25 - (time.monotonic() - trained)))
    later = scrape("train", "c", lambda told: bool(told))
    assert {name: later.get(name) for name in expected} == expected, "Ray drops what is not told"


def test_a_refused_arm_ends_those_beside_it(inputs: Path, tmp_path: Path) -> None:
    """So that nothing writes where the next attempt begins."""
    long = replace(arm(inputs, tmp_path / "long"), training=with_settings(TRAINING, epochs=1000))
    refused = replace(arm(inputs, tmp_path / "refused"), click_labels=tmp_path / "none")
    with pytest.raises(InputError, match="none"):
        train_each([long, refused], at_once=2)
    left = {path: path.stat().st_mtime_ns for path in long.output.rglob("*")}
    time.sleep(12)  # to start a process, and some epochs
    assert {path: path.stat().st_mtime_ns for path in long.output.rglob("*")} == left


def test_what_arms_read_alike_is_prepared_once(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared_for: list[str] = []
    prepare_input = module.prepare_input

    def counted(tables: Any, training: Any, output: Path, tokens: Any) -> Any:
        prepared_for.append(output.name)
        return prepare_input(tables, training, output, tokens)

    monkeypatch.setattr(module, "prepare_input", counted)
    one = arm(inputs, tmp_path / "one")
    arms = [
        one,
        replace(one, output=tmp_path / "longer", training=with_settings(TRAINING, epochs=9)),
        arm(inputs, tmp_path / "another small BERT", seed=1),
        replace(one, output=tmp_path / "cut", training=with_settings(TRAINING, max_length=16)),
    ]
    for each in arms:
        each.output.mkdir()
    made: dict[Hashable, Any] = {}
    tasks = [module._task(each, made) for each in arms]
    assert prepared_for == ["one", "another small BERT", "cut"]
    assert tasks[1].input is tasks[0].input
    assert tasks[1].settings.optimization.epochs == 9
    assert all((each.output / "bucket_floors.json").exists() for each in arms)


def test_the_best_epoch_is_kept_and_a_killed_training_goes_on(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = arm(inputs, tmp_path / "whole")
    inputs_of = Inputs(one.collection, one.click_labels, None)
    tables = open_tables(inputs_of, one.mix, one.training)
    tasks = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        prepared = prepare_input(tables, one.training, tmp_path / name, one.tokens)
        objective = prepared.objective(one.mix, one.training.objective)
        tasks.append(WorkerTask(tmp_path / name, one.training, objective, prepared.read, False))
    assert alone.train_alone(tasks[0]) is None

    report = alone.BestAndLast.report

    def die_after_two_epochs(worker, metrics, checkpoint):  # type: ignore[no-untyped-def]
        if metrics.get("epoch") == 3:
            raise KeyboardInterrupt
        report(worker, metrics, checkpoint)

    with monkeypatch.context() as killed:
        killed.setattr(alone.BestAndLast, "report", die_after_two_epochs)
        with pytest.raises(KeyboardInterrupt):
            alone.train_alone(tasks[1])
    assert alone.train_alone(tasks[1]) is None
    ours, theirs = (load_file(task.folder / "model.safetensors") for task in tasks)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    ndcg = [[row["validation_ndcg"] for row in history(task.folder)] for task in tasks]
    assert ndcg[0] == ndcg[1]
