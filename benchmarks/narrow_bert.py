"""A BERT so narrow that what is measured is not its arithmetic."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from corpus.tables import Collection
from rankers.models.small_bert import build_small_bert


def save_narrow_bert(collection: Collection, folder: Path, width: int) -> None:
    """Saves a BERT of one layer, with random weights and one score, and a tokenizer.

    Args:
        collection: with queries and documents, from whose texts the tokenizer is made.
        folder: for both.
        width: of its hidden states.
    """
    build_small_bert(collection, folder, seed=0)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(folder)),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=2 * width,
        num_labels=1,  # type: ignore[call-arg]
    )
    BertForSequenceClassification(config).save_pretrained(folder)
