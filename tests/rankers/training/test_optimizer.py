import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from rankers.settings import OptimizationSettings
from rankers.training.optimizer import adamw, parameter_depths, warm_up_and_decay


def small_model() -> nn.Module:
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=20, num_hidden_layers=3, **sizes)
    return BertForSequenceClassification(config)


def test_depth_counts_layers_from_the_scoring_head() -> None:
    depths = parameter_depths(small_model())
    assert depths["classifier.weight"] == depths["bert.pooler.dense.bias"] == 0
    assert depths["bert.encoder.layer.2.output.dense.weight"] == 1
    assert depths["bert.encoder.layer.0.attention.self.query.weight"] == 3
    assert depths["bert.embeddings.word_embeddings.weight"] == 4
    assert parameter_depths(nn.Linear(2, 1)) == {"weight": 0, "bias": 0}


def test_the_learning_rate_shrinks_by_layer() -> None:
    model = small_model()
    optimizer = adamw(model, OptimizationSettings(learning_rate=0.1, layer_decay=0.5))
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = {name: rate[id(p)] for name, p in model.named_parameters()}
    assert rates["classifier.weight"] == pytest.approx(0.1)
    assert rates["bert.encoder.layer.1.output.dense.bias"] == pytest.approx(0.1 / 4)
    assert rates["bert.embeddings.word_embeddings.weight"] == pytest.approx(0.1 / 16)


def test_frozen_weights_are_not_optimized() -> None:
    model = small_model()
    model.get_parameter("classifier.weight").requires_grad_(False)
    optimizer = adamw(model, OptimizationSettings())
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert id(model.get_parameter("classifier.weight")) not in trained
    assert len(trained) == len(list(model.parameters())) - 1


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [warm_up_and_decay(step, 40, 0.1) for step in range(41)]
    assert rates[0] == 0.25
    assert max(rates) == rates[3] == rates[4] == 1.0
    assert rates[40] == 0.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert warm_up_and_decay(0, 40, 0.0) == 1.0
    assert torch.tensor([warm_up_and_decay(step, 3, 1.0) for step in range(3)]).tolist() == (
        pytest.approx([1 / 3, 2 / 3, 1.0])
    )
