"""How long pairs may be, what they are padded with, and tokenizers without their models."""

from pathlib import Path

from transformers import T5Config, XLMRobertaConfig

from rankers.models.cross_encoder import check_model, load_cross_encoder
from rankers.models.tokenizer import load_tokenizer
from tests.rankers.conftest import TINY, save_model, tiny_bert
from tests.rankers.models.cases import classifier, refusal

WEIGHTS = "model.safetensors"


def test_tokens_are_as_many_as_the_model_numbers(tmp_path: Path) -> None:
    """RoBERTa numbers them from the padding token's id + 1."""
    settings = {**TINY, "intermediate_size": 32, "max_position_embeddings": 66, "pad_token_id": 1}
    folder = str(save_model(classifier(XLMRobertaConfig, **settings), tmp_path))
    model, tokenizer = load_cross_encoder(folder)
    assert tokenizer.model_max_length == 64
    pair = tokenizer("tide", "moon " * 99, truncation=True, return_tensors="pt")
    assert pair["input_ids"].shape == (1, 64)
    assert model(**pair).logits.isfinite().all()
    assert "takes 64 tokens at most" in refusal(check_model, folder, max_length=65)
    assert "leaves no room" in refusal(check_model, folder, max_length=3)


def test_a_model_that_knows_of_no_limit_needs_one(tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = classifier(T5Config, **sizes, vocab_size=8)
    folder = str(save_model(model, tmp_path))
    assert "set model_max_length" in refusal(check_model, folder)
    check_model(folder, max_length=32)
    save_model(model, tmp_path, model_max_length=48)
    assert load_cross_encoder(folder)[1].model_max_length == 48


def test_a_tokenizer_without_padding_pads_with_the_end_or_is_refused(tmp_path: Path) -> None:
    folder = str(save_model(tiny_bert(), tmp_path, pad=None, eos_token="</s>"))
    model, tokenizer = load_cross_encoder(folder)
    assert tokenizer.pad_token == "</s>"
    assert model.config.pad_token_id == 2
    save_model(tiny_bert(), tmp_path, pad=None)
    assert "no token for padding" in refusal(check_model, folder)


def test_a_tokenizer_is_loaded_without_its_model(tmp_path: Path) -> None:
    folder = str(save_model(tiny_bert(), tmp_path, pad=None, eos_token="</s>"))
    _, expected = load_cross_encoder(folder, max_length=32)
    (tmp_path / WEIGHTS).unlink()
    tokenizer = load_tokenizer(folder, max_length=32)
    assert (tokenizer.pad_token, tokenizer.model_max_length) == ("</s>", 32)
    assert tokenizer.backend_tokenizer.to_str() == expected.backend_tokenizer.to_str()
    assert "its tokenizer cannot be loaded" in refusal(load_tokenizer, str(tmp_path / "nowhere"))
