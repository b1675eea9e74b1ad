"""Small models; sixty queries with their candidates, a ranker, and the scores that it gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from corpus.places import Place, upload
from corpus.schemas import empty_table
from corpus.tables import Collection, read_collection, write_collection
from corpus.texts import document_column
from rankers.data.lists import candidate_ids, document_rows
from rankers.mixes import FrequencySigmoid
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import save_ranker
from rankers.models.small_bert import build_small_bert
from rankers.scoring.blocks import scoring_blocks
from rankers.scoring.pair_scorer import PairScorer
from tests.conftest import make_table

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "tide", "moon", "bread", "rye"]
TEXTS = ["tide", "moon", "bread", "rye", "fox", "train", "night", "Paris"]
MIX = FrequencySigmoid(midpoint=15.0)
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 8}


def save_model(
    model: PreTrainedModel, folder: Path, pad: str | None = "<pad>", **settings: Any
) -> Path:
    """Saves a model with a tokenizer of four words, by default without a limit of tokens."""
    model.save_pretrained(folder)
    words = Tokenizer(WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {"bos_token": "<s>", "unk_token": "<unk>"} | ({"pad_token": pad} if pad else {})
    PreTrainedTokenizerFast(tokenizer_object=words, **special, **settings).save_pretrained(folder)
    return folder


def tiny_bert(**settings: Any) -> BertForSequenceClassification:
    settings = {"num_labels": 1, "pad_token_id": 1, **TINY} | settings
    return BertForSequenceClassification(BertConfig(intermediate_size=32, **settings))


def score_in_one_process(ranker: Path, collection: Collection) -> NDArray[np.float32]:
    """The scores of all pairs, in the order of the lists."""
    lists = candidate_ids(collection, None)
    texts = document_column(collection.documents)
    scorer = PairScorer({"r": str(ranker)}, lists, texts)
    blocks = scoring_blocks(document_rows(lists, collection.documents), texts, ["r"], 1)
    scored = pa.concat_tables([scorer(block) for block in blocks]).sort_by("pair")
    assert scored["pair"].to_pylist() == list(range(scored.num_rows))
    return np.asarray(scored["score"].to_numpy())


def random_model(config: type[PreTrainedConfig], **settings: Any) -> PreTrainedModel:
    """Of two small layers, with one head and weights and biases that all have a say."""
    torch.manual_seed(0)
    settings |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings |= {"vocab_size": 99, "num_labels": 1}
    model = AutoModelForSequenceClassification.from_config(config(**settings))
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def upload_folder(folder: Path, place: Place) -> None:
    """Copies a local folder, and what is in it, to a store."""
    for file in folder.rglob("*"):
        if file.is_file():
            upload(file, place / file.relative_to(folder).as_posix())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of sixty queries, with one to twenty documents of one to eighty words."""
    rng = np.random.default_rng(0)
    queries: list[tuple[object, ...]] = [
        (f"q{number}", TEXTS[number % 8], number // 2) for number in range(60)
    ]
    documents: list[tuple[object, ...]] = [
        (f"d{number}", "", " ".join(rng.choice(TEXTS, rng.integers(1, 80))))
        for number in range(100)
    ]
    candidates: list[tuple[object, ...]] = [
        (query_id, f"d{number}", rank, 1 / rank)
        for query_id, _, _ in queries
        for rank, number in enumerate(rng.permutation(100)[: rng.integers(1, 20)], 1)
    ]
    filled = {
        "queries": make_table("queries", queries),
        "documents": make_table("documents", documents),
        "candidates": make_table("candidates", candidates),
    }
    empty = {name: empty_table(name) for name in ("sessions", "judgments", "splits")}
    folder = tmp_path_factory.mktemp("collection")
    write_collection(Collection(**filled, **empty), folder)
    return folder


@pytest.fixture(scope="session")
def collection(folder: Path) -> Collection:
    """What is in `folder`."""
    return read_collection(folder)


@pytest.fixture(scope="session")
def ranker(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with two heads, which cuts pairs at 48 tokens."""
    folder = tmp_path_factory.mktemp("ranker")
    build_small_bert(collection, folder, seed=0)
    torch.manual_seed(0)
    model, tokenizer = load_cross_encoder(str(folder), 48, heads=2, new_head=True)
    torch.nn.init.normal_(model.classifier.weight)
    save_ranker(model, tokenizer, MIX, folder)
    return folder


@pytest.fixture(scope="session")
def scores(collection: Collection, ranker: Path) -> NDArray[np.float32]:
    """Of all pairs, by one process."""
    return score_in_one_process(ranker, collection)
