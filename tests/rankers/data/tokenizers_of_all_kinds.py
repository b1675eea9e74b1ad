"""Small tokenizers that put pairs together as those of well-known models do."""

from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

TEXT = [
    "Tides rise and fall as the moon pulls the sea, twice a day.",
    "Bread of rye: sourdough, salt & 1,000 grains; naïve crème brûlée…",
    "how deep is the harbour at low tide?",
]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "[CLS]", "[SEP]"]
LETTERS = pre_tokenizers.ByteLevel.alphabet()


def _fast(tokenizer: Tokenizer, pad: bool = True, **settings: Any) -> PreTrainedTokenizerFast:
    special = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "[SEP]", "cls_token": "[CLS]"}
    special |= {"pad_token": "<pad>"} if pad else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special, **settings)


def _template(tokenizer: Tokenizer, single: str, pair: str) -> processors.TemplateProcessing:
    known = [(token, tokenizer.token_to_id(token)) for token in SPECIAL]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=known)


def _word_piece() -> Tokenizer:
    """Of every other word, and letters to spell the others with; the same each time."""
    normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    text = normalizer.normalize_str(" ".join(TEXT))
    words = [word for word, _ in pre_tokenizer.pre_tokenize_str(text)]
    letters = sorted(set("".join(words)))
    pieces = dict.fromkeys([*SPECIAL, *letters, *(f"##{one}" for one in letters), *words[::2]])
    vocabulary = {piece: row for row, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


def _byte_pairs(dropout: float | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(dropout=dropout))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=LETTERS, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def bert(**settings: Any) -> PreTrainedTokenizerFast:
    """[CLS] query [SEP] document [SEP], with token types."""
    tokenizer = _word_piece()
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", pair)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return _fast(tokenizer, model_input_names=names, **settings)


def roberta() -> PreTrainedTokenizerFast:
    """Two separators between the texts; ModernBERT has one."""
    tokenizer = _byte_pairs()
    first, last = ((token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>"))
    tokenizer.post_processor = processors.RobertaProcessing(last, first)
    return _fast(tokenizer)


def t5() -> PreTrainedTokenizerFast:
    """SentencePiece's unigrams, which mark the space before a word, and nothing at the start."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = _template(tokenizer, "$A </s>", "$A </s> $B </s>")
    return _fast(tokenizer)


def qwen() -> PreTrainedTokenizerFast:
    """No special tokens and no padding."""
    tokenizer = _byte_pairs()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return _fast(tokenizer, pad=False)


def llama_2() -> PreTrainedTokenizerFast:
    """A space is put before each text, and a beginning too."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = _template(tokenizer, "<s> $A", "<s> $A <s>:1 $B:1")
    return _fast(tokenizer, pad=False)


def llama_3() -> PreTrainedTokenizerFast:
    """Two processors, one after the other; a beginning and no end."""
    tokenizer = _byte_pairs()
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            _template(tokenizer, "<s> $A", "<s> $A <s>:1 $B:1"),
        ]
    )
    return _fast(tokenizer, pad=False)


def xlnet() -> PreTrainedTokenizerFast:
    """Special tokens at the end, of a type of their own, and padding at the left."""
    tokenizer = _word_piece()
    tokenizer.post_processor = _template(
        tokenizer, "$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return _fast(tokenizer, model_input_names=names, padding_side="left")


def with_dropout() -> PreTrainedTokenizerFast:
    """The same text is other tokens each time."""
    tokenizer = _byte_pairs(dropout=0.5)
    tokenizer.post_processor = _template(tokenizer, "<s> $A </s>", "<s> $A </s> $B </s>")
    return _fast(tokenizer)


def repeating() -> PreTrainedTokenizerFast:
    """The query stands on both sides of the document."""
    tokenizer = _word_piece()
    tokenizer.post_processor = _template(tokenizer, "[CLS] $A", "[CLS] $A [SEP] $B [SEP] $A")
    return _fast(tokenizer)


class Joining(PreTrainedTokenizerFast):
    """Makes one text of a pair, so that a document's first token may go with the query's last."""

    def __call__(self, text: list[str], text_pair: Any = None, **settings: Any) -> Any:
        if text_pair is not None:
            text = [query + document for query, document in zip(text, text_pair, strict=True)]
        return super().__call__(text, **settings)


def joining() -> PreTrainedTokenizerFast:
    """See `Joining`."""
    return Joining(tokenizer_object=_byte_pairs(), eos_token="</s>")
