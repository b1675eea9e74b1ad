"""Small models to train on lists of two documents, in this process and without Ray."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from rankers.data.lists import add_labels
from rankers.data.padding import BatchReader
from rankers.data.pair_texts import number_texts
from rankers.data.sampler import EpochOrder
from rankers.data.store import write_counts, write_lists
from rankers.data.tokenization import tokenize_once
from rankers.losses.hybrid import Objective
from rankers.mixes import Constant, Mix
from rankers.settings import TrainingSettings
from rankers.training.learner import (
    Learner,
    TrainingInput,
    WorkerTask,
    build_learner,
)
from rankers.training.loop import train_epoch
from rankers.training.stops import Stop
from rankers.training.validation import with_judgments
from rankers.training.workers import OneProcess
from tests.conftest import make_table, with_settings

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghij"]
NOBODY_JUDGED = make_table("judgments", [])
TINY = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Whose words are single letters, and whose pairs end with [SEP], as T5's end with </s>."""
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]"
    )
    fast.model_max_length = 16
    fast.save_pretrained(folder)
    return fast


def bert() -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(WORDS), num_hidden_layers=1, **TINY)
    config.num_labels = 1
    return BertForSequenceClassification(config)


def t5() -> PreTrainedModel:
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(WORDS), d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    config.num_labels, config.decoder_start_token_id = 1, 0
    config.pad_token_id, config.eos_token_id = 0, WORDS.index("[SEP]")
    return T5ForSequenceClassification(config)


def xlnet() -> PreTrainedModel:
    config = XLNetConfig(vocab_size=len(WORDS), d_model=8, n_layer=1, n_head=2, d_inner=16)
    config.num_labels = 1
    return XLNetForSequenceClassification(config)


def task(
    folder: Path,
    model: PreTrainedModel,
    lists: int,
    first: Sequence[float] = (0.5,),
    mix: Mix = Constant(1.0),  # noqa: B008 - read only
    bucket: Sequence[int] = (0,),
    files: int = 1,
    **changes: Any,
) -> WorkerTask:
    """To train a model on lists of two documents, by clicks.

    Args:
        first: click labels of the first document of the lists, over and over; that of the second is
            zero.
        bucket: of frequency, of the lists, over and over.
        files: that the lists are in, equally many in each.
    """
    folder.mkdir(exist_ok=True)
    backbone = folder / "backbone"
    model.save_pretrained(backbone)
    tokenizer = save_tokenizer(backbone)
    letters = WORDS[4:]
    ids = [[f"{number}a", f"{number}b"] for number in range(lists)]
    table = pa.table(
        {
            "query_id": [str(number) for number in range(lists)],
            "text": [letters[number % 10] for number in range(lists)],
            "frequency": [1] * lists,
            "bucket": [bucket[number % len(bucket)] for number in range(lists)],
            "doc_ids": ids,
        }
    )
    clicks = pa.table(
        {
            "query_id": [str(number) for number in range(lists) for _ in range(2)],
            "doc_id": [doc_id for listed in ids for doc_id in listed],
            "relevance": [
                label for number in range(lists) for label in (first[number % len(first)], 0.0)
            ],
            "impressions": [1] * (2 * lists),
        }
    )
    documents = pa.table(
        {
            "doc_id": [doc_id for listed in ids for doc_id in listed],
            "title": [""] * (2 * lists),
            "body": [
                text for number in range(lists) for text in (f"{letters[number % 10]} a", "b c")
            ],
        }
    )
    [numbered], texts = number_texts([add_labels(table, clicks, None, "grade")], documents)
    tokens = tokenize_once(texts, tokenizer, 16, folder / "tokens", "tests")
    path = folder / "lists"
    per_file = lists // files
    for number in range(files):
        some = with_judgments(numbered, NOBODY_JUDGED).slice(number * per_file, per_file)
        write_lists([some.combine_chunks()], path / f"{number}.arrow")
    write_counts({f"{number}.arrow": per_file for number in range(files)}, path)
    given = {"backbone": str(backbone), "max_length": 16, "workers": 1, "warm_up": 0.0}
    settings = with_settings(TrainingSettings(), **(given | changes))
    objective = Objective(mix, loss=settings.objective.loss, highest_grade=3)
    read = TrainingInput(str(backbone), path, path, tokens, 0, "click_label")
    return WorkerTask(folder, settings, objective, read, live=False)


def trained(task: WorkerTask) -> tuple[Learner, Stop | None]:
    """The learner after an epoch."""
    lists, worker = reader_of(task), OneProcess()
    order = EpochOrder(lists.lists.counts, task.settings.batching.lists_per_step, 0, 0)
    learner = build_learner(task, worker, len(order), lists)
    return learner, train_epoch(learner, task, worker, lists, order, [])


def reader_of(task: WorkerTask) -> BatchReader:
    return task.input.reader(task.input.training, task.settings.batching)
