from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
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
from corpus.tables import Collection
from corpus.texts import document_column
from rankers.data.lists import candidate_ids, document_rows
from rankers.scoring.blocks import scoring_blocks
from rankers.scoring.pair_scorer import PairScorer

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "tide", "moon", "bread", "rye"]
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
