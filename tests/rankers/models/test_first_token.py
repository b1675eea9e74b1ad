"""Shortcuts of encoders change neither a score nor what is learned from it."""

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from rankers.models.cross_encoder import add_adapters
from rankers.models.first_token import end_at_first_token, mask_once
from tests.rankers.conftest import random_model

KINDS = [BertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig, DistilBertConfig]


def some_pairs() -> dict[str, torch.Tensor]:
    """Four pairs, the third of which is padded."""
    ids, mask = torch.randint(3, 99, (4, 20)), torch.ones(4, 20, dtype=torch.long)
    mask[2, 7:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("config", KINDS)
def test_shortcuts_change_no_score(config: type[PreTrainedConfig], frozen: bool) -> None:
    model = random_model(config)
    pairs = some_pairs()
    whole_lists = {name: value[:2] for name, value in pairs.items()}
    with torch.inference_mode():
        whole = model(**pairs).logits
        mask_once(model)
        torch.testing.assert_close(model(**pairs).logits, whole)
        end_at_first_token(model, frozen)
        torch.testing.assert_close(model(**pairs).logits, whole)
        torch.testing.assert_close(model(**whole_lists).logits, whole[:2])


def gradients(model: PreTrainedModel, pairs: dict[str, torch.Tensor]) -> dict[str, Any]:
    model.zero_grad()
    (model(**pairs).logits.squeeze(-1) @ torch.tensor([1.0, -2.0, 3.0, -1.0])).backward()
    return {
        name: None if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def with_adapters(model: PreTrainedModel) -> PreTrainedModel:
    model = add_adapters(model, 2)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.2)  # those of one side start at zero
    return model.eval()


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "LoRA"])
@pytest.mark.parametrize("config", KINDS)
def test_gradients_are_those_of_the_whole_model(config: type[PreTrainedConfig], lora: bool) -> None:
    """And parameters have the names that a saved ranker is loaded by."""
    pairs = some_pairs()
    whole, short = random_model(config), random_model(config)
    end_at_first_token(short)
    mask_once(short)
    if lora:
        whole, short = with_adapters(whole), with_adapters(short)
    assert list(short.state_dict()) == list(whole.state_dict())
    before, after = gradients(whole, pairs), gradients(short, pairs)
    assert sum(value is not None for value in before.values()) > 5
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, atol=1e-4, rtol=1e-4)


def test_dropout_is_that_of_attention() -> None:
    model = random_model(BertConfig, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    pairs = some_pairs()
    # Nothing but the attention of the last layer is random.
    model.base_model.get_submodule("encoder.layer.0.attention.self").dropout.p = 0.0
    end_at_first_token(model)
    with torch.inference_mode():
        once, twice = (model.train()(**pairs).logits for _ in range(2))
        assert not torch.equal(once, twice)
        assert torch.equal(*(model.eval()(**pairs).logits for _ in range(2)))


def test_tokens_that_attend_to_earlier_ones_only_go_on_doing_so() -> None:
    model = random_model(BertConfig, is_decoder=True)
    ids = torch.randint(3, 99, (4, 20))
    with torch.inference_mode():
        whole = model(input_ids=ids).logits
        for take in (mask_once, end_at_first_token):
            take(model)
        assert torch.equal(model(input_ids=ids).logits, whole)
