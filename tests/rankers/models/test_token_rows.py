"""Pairs in one row of tokens have the scores, and teach what, they do in micro-batches."""

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
from rankers.models.first_token import end_at_first_token
from rankers.models.token_rows import join, read_rows
from tests.rankers.conftest import random_model

KINDS = [BertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig]
PADDING = 1


def micro_batches(config: type[PreTrainedConfig]) -> list[dict[str, torch.Tensor]]:
    """Of 3, 1 and 2 pairs; one pair is padded, and one holds the token of padding as a word."""
    torch.manual_seed(3)
    made = []
    for pairs, tokens in ((3, 12), (1, 7), (2, 4)):
        ids, mask = torch.randint(3, 99, (pairs, tokens)), torch.ones(pairs, tokens).long()
        made.append({"input_ids": ids, "attention_mask": mask})
        if config in (BertConfig, ElectraConfig):
            made[-1]["token_type_ids"] = (torch.arange(tokens) > 2).long().expand(pairs, tokens)
    made[0]["attention_mask"][1, 8:] = 0
    made[0]["input_ids"][1, 8:] = PADDING
    made[0]["input_ids"][2, 5] = PADDING
    return made


def given(config: type[PreTrainedConfig], lora: bool, rows: bool) -> PreTrainedModel:
    model = random_model(config, pad_token_id=PADDING)
    if rows:
        end_at_first_token(model)
        assert read_rows(model)
    if not lora:
        return model
    model = add_adapters(model, 2)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.2)  # those of one side start at zero
    return model.eval()


def learned(model: PreTrainedModel, inputs: list[Any]) -> tuple[torch.Tensor, dict[str, Any]]:
    """Scores, and what a loss of them teaches."""
    model.zero_grad()
    scores = torch.cat([model(**one).logits for one in inputs]).squeeze(-1)
    (scores @ torch.tensor([1.0, -2.0, 3.0, -1.0, 0.5, 2.0])).backward()
    gradients = {name: of.grad for name, of in model.named_parameters() if of.grad is not None}
    return scores, {name: gradient.clone() for name, gradient in gradients.items()}


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "LoRA"])
@pytest.mark.parametrize("config", KINDS)
def test_a_row_teaches_what_its_micro_batches_do(
    config: type[PreTrainedConfig], lora: bool
) -> None:
    whole, model = (given(config, lora, rows) for rows in (False, True))
    assert list(model.state_dict()) == list(whole.state_dict())
    inputs = micro_batches(config)
    expected = learned(whole, inputs)
    for tokens, blocks in ((1000, [3]), (43, [2, 1]), (1, [1, 1, 1])):
        joined = join(model, inputs, tokens)
        assert [len(one["blocks"].sizes) for one in joined] == blocks
        scores, gradients = learned(model, joined)
        torch.testing.assert_close(scores, expected[0], atol=1e-4, rtol=1e-4)
        assert gradients.keys() == expected[1].keys()
        for name, gradient in expected[1].items():
            torch.testing.assert_close(gradients[name], gradient, atol=1e-3, rtol=1e-3)


def test_micro_batches_can_still_be_read_apart() -> None:
    inputs = micro_batches(BertConfig)
    with torch.inference_mode():
        scores, expected = (
            torch.cat([model(**one).logits for one in inputs])
            for model in (given(BertConfig, False, rows) for rows in (True, False))
        )
    torch.testing.assert_close(scores, expected)


def test_dropout_is_that_of_attention() -> None:
    """Nothing but the attention of the first layer is random."""
    model = random_model(BertConfig, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    model.base_model.get_submodule("encoder.layer.1.attention.self").dropout.p = 0.0
    end_at_first_token(model)
    read_rows(model)
    [row] = join(model, micro_batches(BertConfig), 1000)
    with torch.inference_mode():
        once, twice = (model.train()(**row).logits for _ in range(2))
        assert not torch.equal(once, twice)
        assert torch.equal(*(model.eval()(**row).logits for _ in range(2)))


def test_rows_are_read_where_attention_is_known_and_looks_both_ways() -> None:
    assert not read_rows(random_model(DistilBertConfig))
    assert not read_rows(random_model(BertConfig, is_decoder=True))
