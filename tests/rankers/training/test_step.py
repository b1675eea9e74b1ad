"""Steps of training in this process, without Ray."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rankers.data.sampler import EpochOrder, Share, read_steps
from rankers.losses.hybrid import Objective
from rankers.mixes import Constant
from rankers.models.cross_encoder import score_in_float32
from rankers.models.list_ranker import ListRanker, computing_in
from rankers.training.learner import (
    leaves_parameters_out,
)
from rankers.training.log import means
from rankers.training.loop import train_ranker
from rankers.training.stops import read_refused, record_refused
from rankers.training.workers import OneProcess
from tests.rankers.training.conftest import WORDS, bert, reader_of, t5, task, trained, xlnet


def test_a_part_without_lists_is_no_pass_of_the_model(tmp_path: Path) -> None:
    """Nine lists make steps of five and four, in eight parts; T5 wants an end of each text."""
    learner, stop = trained(task(tmp_path, t5(), 9, lists_per_step=8, accumulation=8))
    assert stop is None
    assert learner.steps == 2


def test_a_worker_without_lists_runs_the_model_on_those_of_another(tmp_path: Path) -> None:
    """The last part of each worker is read, since that is where they sum their gradients."""
    lists = reader_of(task(tmp_path, t5(), 3, tokens_per_micro_batch=16))
    shares = [
        next(read_steps(lists, [np.array([2, 0, 1])], Share(rank, 4, 2))) for rank in range(4)
    ]
    assert [[len(batch) for batch in batches] for batches in shares] == [[0, 1]] * 3 + [[0, 0]]
    micro_batches = [[len(batch.micro_batches.inputs) for batch in part] for part in shares]
    assert micro_batches == [[0, 1]] * 4
    batch = shares[3][1]
    scores = ListRanker(t5())(batch)
    assert scores.shape == (0, 0, 1)
    objective = Objective(Constant(1.0), "softmax", highest_grade=3)
    loss = objective(scores, batch, 0.0).loss
    assert loss.item() == 0
    loss.backward()  # reaches all parameters, which DDP waits for


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_trained_in_float32_whatever_they_were_saved_in(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    """A step of 1e-4 is less than half of the last of eight bits of most weights."""
    saved: Any = bert()
    saved.to(dtype)
    given = task(tmp_path, saved, 4, learning_rate=1e-4, warm_up=0.25, weight_decay=0.0)
    learner, _ = trained(given)
    assert learner.steps == 1
    before = dict(saved.named_parameters())
    for name, after in learner.ranker.model.named_parameters():
        assert after.dtype == torch.float32, name
        moved = (after - before[name].float()).abs()[after.grad.abs() > 1e-4]
        assert (moved > 1e-5).all(), name
    learner.ranker.model.save_pretrained(tmp_path / "ranker")
    weights = load_file(tmp_path / "ranker" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_scores_in_mixed_precision_have_more_than_eight_bits() -> None:
    """5 and 5.0001 are one number in bfloat16."""
    head: Any = score_in_float32(bert())
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[5.0, 1e-4, *[0.0] * 6]]))
        head.bias.zero_()
    states = torch.tensor([[1.0, 0.0, *[0.0] * 6], [1.0, 1.0, *[0.0] * 6]], dtype=torch.bfloat16)
    with computing_in("bf16", torch.device("cpu")):
        worse, better = head(states)[:, 0].tolist()
        assert torch.nn.Linear(8, 8)(states).dtype == torch.bfloat16, "as the encoder computes"
    assert better - worse == pytest.approx(1e-4, rel=0.01)


@pytest.mark.parametrize(("make", "left_out"), [(bert, False), (t5, False), (xlnet, True)])
def test_parameters_that_no_score_depends_on_are_found(
    make: Callable[[], Any], left_out: bool
) -> None:
    """XLNet's embedding of a masked token: DDP would wait for its gradient."""
    model = make()
    assert leaves_parameters_out(model, {"input_ids": torch.tensor([[5, 2, 6, 2]])}) == left_out
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_that_nothing_teaches_moves_nothing(tmp_path: Path) -> None:
    """Not by decay, nor by moments of the steps before."""
    learner, _ = trained(task(tmp_path, bert(), 4, first=[0.0], weight_decay=0.5, loss="softmax"))
    assert learner.steps == 1
    for name, parameter in bert().named_parameters():
        assert torch.equal(learner.ranker.model.get_parameter(name), parameter), name
    assert "loss" not in means(learner.log.state_dict()["sums"])


def test_a_refused_step_is_left_out_when_training_goes_on(tmp_path: Path) -> None:
    model: Any = bert()
    with torch.no_grad():  # a letter that the last list alone has
        model.bert.embeddings.word_embeddings.weight[WORDS.index("d")] = torch.nan
    given = task(tmp_path, model, 4, lists_per_step=1)
    step = [rows.item() for rows in EpochOrder([4], 1, 0, 0)].index(3) + 1
    _, stop = trained(given)
    assert stop is not None
    assert stop.step == step
    assert (tmp_path / f"nonfinite_batch_{step}_0.parquet").exists()
    record_refused(tmp_path, [stop])
    assert read_refused(tmp_path) == [stop]
    learner, stop = trained(replace(given, refused=frozenset({step})))
    assert stop is None
    assert learner.steps == 4


def test_scores_that_are_not_finite_stop_training_before_they_are_ranked_by(
    tmp_path: Path,
) -> None:
    """The last step of an epoch is finite, what it makes of the weights is not."""
    given = task(tmp_path, bert(), 4, epochs=1, learning_rate=1e38, gradient_clip=1e38)
    stop = train_ranker(given, OneProcess())
    assert stop.step == 1
    assert "scores are not finite" in stop.reason


def test_what_training_lost_and_learned_is_logged_by_what_taught_it(tmp_path: Path) -> None:
    """Of ten lists three are clicked; their losses are about ln 2 where nothing is learned yet."""
    given = task(
        tmp_path, bert(), 10, first=[0.5] * 3 + [0.0] * 7, lists_per_step=5, learning_rate=1e-9
    )
    learner, _ = trained(given)
    logged = means(learner.log.state_dict()["sums"])
    assert logged["loss"] == pytest.approx(logged["click_loss"])
    assert logged["click_loss"] == pytest.approx(np.log(2), abs=0.1)
    assert logged["click_weight"] == 1
    assert "annotation_loss" not in logged


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_gradient_checkpointing_computes_the_same(tmp_path: Path, lora_rank: int) -> None:
    """With dropout, whose draws are taken again."""
    weights = []
    for checkpointing in (False, True):
        given = task(
            tmp_path,
            bert(),
            4,
            gradient_checkpointing=checkpointing,
            lora_rank=lora_rank,
            learning_rate=0.01,
        )
        learner, _ = trained(given)
        layers = [m for m in learner.ranker.modules() if hasattr(m, "gradient_checkpointing")]
        assert all(layer.gradient_checkpointing == checkpointing for layer in layers)
        assert layers
        weights.append(learner.ranker.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
