"""Training on a GPU, against the same training on the processor."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from rankers.models.cross_encoder import add_adapters, score_in_float32
from rankers.models.list_ranker import copy_on_cpu, use_tensor_cores
from rankers.training.checkpoints import TRAINING_STATE, read_states
from rankers.training.loop import train_ranker
from rankers.training.workers import OneProcess
from tests.rankers.training.conftest import bert, task
from tests.rankers.trainings import make_inputs, settings, trained

CUDA = torch.device("cuda")


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_states((folder / TRAINING_STATE).read_bytes())["ranker"]
    return state


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"lora_rank": 2}])
def test_steps_on_a_gpu_give_the_weights_of_steps_on_the_processor(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = bert()
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    given = task(
        tmp_path, model, 8, lists_per_step=4, epochs=2, loss="pointwise_sigmoid", **changes
    )
    for device in ("cpu", "cuda"):
        assert train_ranker(given, OneProcess(tmp_path / device, device)) is None
    expected, found = last_weights(tmp_path / "cpu"), last_weights(tmp_path / "cuda")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_scores_are_summed_in_whole_float32_whatever_the_encoder_does(precision: str) -> None:
    """5 and 5.0001 are one number in ten bits."""
    head: Any = score_in_float32(bert()).to(CUDA)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[5.0, 1e-4, *[0.0] * 6]]))
        head.bias.zero_()
    states = torch.tensor([[1.0, 0.0, *[0.0] * 6], [1.0, 1.0, *[0.0] * 6]], device=CUDA)
    use_tensor_cores(precision, CUDA)
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        worse, better = head(states)[:, 0].tolist()
    use_tensor_cores("fp32", CUDA)
    assert better - worse == pytest.approx(1e-4, rel=0.01)


def test_a_lora_ranker_is_copied_into_the_processors_memory() -> None:
    config = BertConfig(vocab_size=1000, hidden_size=512, num_hidden_layers=4)
    config.num_attention_heads, config.num_labels = 8, 1
    model = add_adapters(BertForSequenceClassification(config), 4).to(CUDA)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    merged: Any = copy_on_cpu(model).merge_and_unload()  # type: ignore[operator]
    assert {parameter.device.type for parameter in merged.parameters()} == {"cpu"}
    assert torch.cuda.max_memory_allocated() - before < 2**20


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_train_on_gpus_gives_the_ranker_of_one_process(tmp_path: Path, workers: int) -> None:
    """With two ranks gradients go by NCCL."""
    if torch.cuda.device_count() < workers:
        pytest.skip(f"{workers} ranks need as many GPUs; there is {torch.cuda.device_count()}")
    inputs = make_inputs(tmp_path / "inputs")
    changes: dict[str, Any] = {"epochs": 2, "loss": "pointwise_sigmoid", "learning_rate": 1e-4}
    one = trained(inputs, tmp_path / "one", settings(inputs / "exact", workers=1, **changes))
    on_gpus = settings(inputs / "exact", workers=workers, use_gpu=True, **changes)
    others = trained(inputs, tmp_path / "gpus", on_gpus)
    ours = BertForSequenceClassification.from_pretrained(others).state_dict()
    for name, value in BertForSequenceClassification.from_pretrained(one).state_dict().items():
        torch.testing.assert_close(ours[name], value, atol=1e-4, rtol=1e-3, msg=name)
