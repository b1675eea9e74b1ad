"""A small BERT of one's own, for collections without a pretrained backbone at hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from corpus.tables import Collection
from corpus.texts import document_text
from rankers.settings import SMALL_BERT_LENGTHS

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
VOCABULARY_SIZE = 8_000
HIDDEN_SIZE = 128
LAYERS = 2
MAX_TOKENS = SMALL_BERT_LENGTHS[1]
SIMILARITY_GAIN = 6.0


def build_small_bert(collection: Collection, folder: Path, seed: int) -> None:
    """Builds a two-layer BERT with a WordPiece vocabulary from the collection's own text.

    Two things start near what pretraining would find, from text alone. Token embeddings start
    from the singular vectors of the positive pointwise mutual information of tokens that share a
    document (Levy & Goldberg, "Neural word embedding as implicit matrix factorization", NeurIPS
    2014). Queries and keys of attention start equal, so that words attend to words like them
    (Trockman & Kolter, "Mimetic initialization of self-attention layers", ICML 2023). The rest is
    random; linear layers keep the variance of what they are given (LeCun et al., "Efficient
    backprop", 1998). BERT's own standard deviation of 0.02 is meant for layers six times as wide:
    with it all documents have the same score to four digits, and training begins late or not at
    all. There is no dropout: a model that sees so little text and so few epochs does not overfit,
    and with dropout it begins to learn later or not at all.

    Args:
        collection: its documents and queries.
        folder: where the Hugging Face checkpoint goes; its scoring head is untrained.
        seed: decides the random weights.
    """
    texts = document_text(collection.documents)
    tokenizer = _train_tokenizer(texts + collection.queries["text"].to_pylist())
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * HIDDEN_SIZE,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=1,  # type: ignore[call-arg]
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForSequenceClassification(config)
    embeddings = model.bert.embeddings.word_embeddings.weight
    with torch.no_grad():
        start = _cooccurrence_embeddings(tokenizer, texts)
        embeddings[:, : start.shape[1]] = torch.from_numpy(start)
        for name, weight in model.named_parameters():
            if name.endswith("attention.self.query.weight"):
                weight.mul_(SIMILARITY_GAIN)
                model.get_parameter(name.replace("query", "key")).copy_(weight)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and not name.endswith(("query", "key")):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of the most frequent words, and characters to spell the others with.

    The library's own trainer gives other vocabularies from run to run on the same text.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        found = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
        counts.update(word for word, _ in found)
    special = list(SPECIAL_TOKENS.values())
    characters = sorted({character for word in counts for character in word})
    words = sorted(counts.keys() - set(characters), key=lambda word: (-counts[word], word))
    pieces = [*special, *characters, *(f"##{character}" for character in characters), *words]
    vocabulary = {piece: row for row, piece in enumerate(pieces[:VOCABULARY_SIZE])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", special.index("[CLS]")), ("[SEP]", special.index("[SEP]"))],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **SPECIAL_TOKENS,
    )


def _cooccurrence_embeddings(
    tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Embeddings of shape (tokens, at most HIDDEN_SIZE), scaled as BERT's initial ones are."""
    from scipy.sparse import csr_matrix  # with the next, two seconds of each process that trains
    from sklearn.utils.extmath import randomized_svd

    encoded = tokenizer(texts, add_special_tokens=False, truncation=True)["input_ids"]
    present = [np.unique(ids) for ids in encoded]
    rows = np.repeat(np.arange(len(present)), [len(ids) for ids in present])
    columns = np.concatenate(present).astype(np.int64)
    ones = np.ones(len(columns), dtype=np.float64)
    in_document = csr_matrix((ones, (rows, columns)), shape=(len(texts), len(tokenizer)))
    together = (in_document.T @ in_document).tocoo()
    in_documents = np.asarray(in_document.sum(0)).ravel()
    information = np.log(
        together.data * len(texts) / (in_documents[together.row] * in_documents[together.col])
    )
    keep = (information > 0) & (together.row != together.col)
    positive = csr_matrix(
        (information[keep], (together.row[keep], together.col[keep])), shape=together.shape
    )
    rank = min(HIDDEN_SIZE, len(tokenizer) - 1)
    vectors, values, _ = randomized_svd(positive, rank, random_state=0)
    embeddings = vectors * np.sqrt(values)
    scale = 0.05 / max(float(embeddings.std()), 1e-12)
    return np.asarray(embeddings * scale, dtype=np.float32)
