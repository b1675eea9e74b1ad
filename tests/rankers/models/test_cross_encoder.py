"""Which models are scored with, which are trained, and which are refused before either."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    XLNetConfig,
)

from corpus.places import Place, stamps, upload
from rankers.batch import ListBatch, MicroBatches
from rankers.mixes import Constant, Traffic
from rankers.mixes.encoding import HEADS_MIX, encode_mix
from rankers.models.cross_encoder import add_adapters, check_model, load_cross_encoder
from rankers.models.list_ranker import ListRanker, computing_in, copy_on_cpu
from rankers.models.tokenizer import load_tokenizer
from rankers.scoring.pair_scorer import ranker_place
from tests.rankers.conftest import TINY, save_model, tiny_bert
from tests.rankers.models.cases import classifier, refusal

WEIGHTS = "model.safetensors"


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def test_a_head_of_one_output_is_scored_with_and_trained_on(tmp_path: Path) -> None:
    folder = str(save_model(tiny_bert(), tmp_path))
    saved = load_file(tmp_path / WEIGHTS)
    for new_head in (False, True):
        check_model(folder, new_head=new_head)
        model, tokenizer = load_cross_encoder(folder, new_head=new_head)
        assert torch.equal(model.state_dict()["classifier.weight"], saved["classifier.weight"])
        assert tokenizer.model_max_length == 512


def test_a_model_in_a_store_is_loaded_as_one_on_a_disk(tmp_path: Path, store: Place) -> None:
    save_model(tiny_bert(), tmp_path)
    for name in stamps(tmp_path):
        upload(tmp_path / name, store / "bert" / name)
    check_model(str(store / "bert"))
    model, _ = load_cross_encoder(str(store / "bert"))
    for name, value in load_file(tmp_path / WEIGHTS).items():
        assert torch.equal(model.state_dict()[name], value), name
    assert "there is nothing there" in refusal(load_tokenizer, str(store / "none"))


def without_head(weights: dict[str, Tensor]) -> None:
    del weights["classifier.weight"], weights["classifier.bias"]


def with_renamed_head(weights: dict[str, Tensor]) -> None:
    for part in ("weight", "bias"):
        weights[f"head.{part}"] = weights.pop(f"classifier.{part}")


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (tiny_bert(), without_head),
        (tiny_bert(), with_renamed_head),
        (tiny_bert(), lambda weights: weights.pop("classifier.bias")),
        (tiny_bert(num_labels=2), without_head),
        (BertModel(tiny_bert().config, add_pooling_layer=False), None),
        (LlamaForCausalLM(LlamaConfig(intermediate_size=32, pad_token_id=1, **TINY)), None),
    ],
    ids=["no head", "another name", "no bias", "no head of two", "backbone", "language model"],
)
def test_a_model_without_a_head_is_trained_and_never_scored_with(
    model: PreTrainedModel, change: Callable[[dict[str, Tensor]], None] | None, tmp_path: Path
) -> None:
    folder = str(save_model(model, tmp_path))
    if change:
        change_weights(tmp_path, change)
    for load in (check_model, load_cross_encoder):
        assert "has no scoring head" in refusal(load, folder)
    check_model(folder, new_head=True)
    trained, _ = load_cross_encoder(folder, new_head=True)
    assert trained.config.num_labels == 1
    assert not any(parameter.is_meta for parameter in trained.parameters())


@pytest.mark.parametrize("labels", [2, 3])
def test_a_classifier_of_labels_is_trained_and_never_scored_with(
    labels: int, tmp_path: Path
) -> None:
    model = tiny_bert(num_labels=labels)
    folder = str(save_model(model, tmp_path))
    for load in (check_model, load_cross_encoder):
        assert f"head has {labels} outputs" in refusal(load, folder)
    trained, _ = load_cross_encoder(folder, new_head=True)
    assert trained.config.num_labels == 1
    # In shards the same: those of a large model are not read to tell.
    model = tiny_bert(num_labels=labels)
    shutil.rmtree(tmp_path)
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert f"head has {labels} outputs" in refusal(check_model, folder)


def test_two_heads_are_scored_with_beside_their_mix_alone(tmp_path: Path) -> None:
    two, one = (save_model(tiny_bert(num_labels=heads), tmp_path / str(heads)) for heads in (2, 1))
    assert f"{HEADS_MIX} is missing" in refusal(ranker_place, two)
    for folder in (one, two):
        (folder / HEADS_MIX).write_text(json.dumps(encode_mix(Constant(0.5))))
    assert ranker_place(two) == str(two)
    assert f"{HEADS_MIX} beside it is for 2" in refusal(ranker_place, one)
    for broken in ("[]", "3", "{}", '{"class_path": "Sum", "init_args": {}}', "\xff"):
        (two / HEADS_MIX).write_text(broken, encoding="latin-1")
        assert "holds no mix" in refusal(ranker_place, two)


def test_random_layers_are_neither_scored_with_nor_trained(tmp_path: Path) -> None:
    cut, wider = (
        save_model(tiny_bert(), tmp_path / "cut"),
        save_model(tiny_bert(), tmp_path / "wider"),
    )
    last = "bert.encoder.layer.1."
    change_weights(
        cut, lambda weights: [weights.pop(key) for key in list(weights) if key.startswith(last)]
    )
    config = json.loads((wider / "config.json").read_text())
    (wider / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    for folder in (cut, wider):
        for new_head in (False, True):
            said = refusal(check_model, str(folder), new_head=new_head)
            assert "weights do not fit its config.json" in said


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    model = add_adapters(tiny_bert(), rank=2)
    model.save_pretrained(tmp_path)
    assert "merge_and_unload" in refusal(check_model, str(tmp_path))


def test_what_is_no_model_is_refused_in_a_line(tmp_path: Path) -> None:
    good = save_model(tiny_bert(), tmp_path / "good")

    def copy(name: str, file: str, content: bytes | None) -> str:
        folder = shutil.copytree(good, tmp_path / name)
        (folder / file).unlink()
        if content is not None:
            (folder / file).write_bytes(content)
        return str(folder)

    half = (good / WEIGHTS).read_bytes()[:-100]
    said = {
        copy("no config", "config.json", None): "model_type",
        copy("broken config", "config.json", b"{"): "not a valid JSON",
        copy("odd config", "config.json", b'{"model_type": "bert", "hidden_size": "x"}'): "hidden",
        copy("cut weights", WEIGHTS, half): "SafetensorError",
        copy("empty weights", WEIGHTS, b""): "SafetensorError",
        copy("no weights", WEIGHTS, None): "model.safetensors",
        copy("half a tokenizer", "tokenizer.json", None): "its tokenizer cannot be loaded",
        str(tmp_path / "nowhere"): "there is no such folder",
        "~/nowhere": "there is no such folder",
        "acme/nothing": "acme/nothing: is neither a checkpoint folder nor a Hugging Face model",
    }
    bare = copy("no tokenizer", "tokenizer.json", None)
    (Path(bare) / "tokenizer_config.json").unlink()
    said[bare] = "has no tokenizer, or one without words"
    pickled = copy("pickled", WEIGHTS, None)
    torch.save({}, Path(pickled) / "pytorch_model.bin")
    said[pickled] = "save them as safetensors"
    for name, reason in said.items():
        for new_head in (False, True):
            assert reason in refusal(check_model, name, new_head=new_head)


def test_xlnet_is_refused(tmp_path: Path) -> None:
    save_model(classifier(XLNetConfig, d_model=16, n_layer=1, n_head=2, d_inner=8), tmp_path)
    assert "models of the type xlnet" in refusal(check_model, str(tmp_path))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_are_float32_whatever_they_are_in_the_file(
    kind: torch.dtype, tmp_path: Path
) -> None:
    folder = str(save_model(tiny_bert().to(kind), tmp_path))
    for new_head in (False, True):
        model, _ = load_cross_encoder(folder, new_head=new_head)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_scores_under_autocast_are_finer_than_bf16(tmp_path: Path) -> None:
    model, _ = load_cross_encoder(str(save_model(tiny_bert(), tmp_path)))
    pairs = torch.randint(4, 8, (50, 20))
    inputs = {"input_ids": pairs, "attention_mask": torch.ones_like(pairs)}
    batch = ListBatch(
        rows=np.arange(1),
        micro_batches=MicroBatches([inputs], np.arange(50), 1000, 1000),
        slots=torch.arange(50),
        where=torch.ones(1, 50, dtype=torch.bool),
        traffic=Traffic(torch.tensor([1]), torch.tensor([0]), torch.tensor([0.0])),
    )
    for whole in (model, add_adapters(model, rank=2)):
        ranker = ListRanker(whole).train(False)
        with computing_in("bf16", torch.device("cpu")):
            scores = ranker(batch)
        assert scores.dtype == torch.float32
        assert (scores != scores.to(torch.bfloat16).float()).float().mean() > 0.9
        scores.sum().backward()
        assert sum(p.grad is not None for p in whole.parameters() if p.requires_grad) >= 2


def test_a_copy_on_the_processor_scores_alike_and_shares_nothing() -> None:
    model: Any = add_adapters(tiny_bert(), rank=2).train(False)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    inputs = {"input_ids": torch.arange(4, 8)[None]}
    expected = model(**inputs).logits
    copied: Any = copy_on_cpu(model)
    torch.testing.assert_close(copied(**inputs).logits, expected, rtol=0, atol=0)
    assert [p.requires_grad for p in copied.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    merged = copied.merge_and_unload()
    with torch.no_grad():
        for parameter in [*merged.parameters(), *merged.buffers()]:
            parameter.zero_()
    torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=0)


def test_a_hugging_face_id_is_found_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stored, commit = tmp_path / "models--acme--tiny-ce", "0" * 40
    save_model(tiny_bert(), stored / "snapshots" / commit)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(commit)
    assert ranker_place(Path("acme/tiny-ce")) == "acme/tiny-ce"
    assert load_cross_encoder("acme/tiny-ce")[1].model_max_length == 512


def test_a_folder_may_be_named_from_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_model(tiny_bert(), tmp_path / "ranker")
    assert ranker_place(Path("~/ranker")) == str(tmp_path / "ranker")
    monkeypatch.chdir(tmp_path)
    assert ranker_place(Path("ranker")) == str(tmp_path / "ranker")
