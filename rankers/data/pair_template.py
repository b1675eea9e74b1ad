"""How a tokenizer puts the token ids of a query and of a document together to those of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# In a template, the places of the two texts; no token has an id below zero.
QUERY, DOCUMENT = -1, -2
# Of the tokens that a text may hold spelled out, such as [SEP], those that a template is tried on.
SPELLED_OUT = 8


@dataclass(frozen=True)
class TextTokens:
    """The token ids of texts, without special tokens around them.

    Attributes:
        ids: of all texts, one after another, int32 (tokens kept,).
        starts: where the ids of each text start, int64 (texts,).
        lengths: how many tokens each text has, int64 (texts,). Kept are `max_length` of them at
            most, the first or, with a tokenizer that cuts at the left, the last.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class TokenizedPairs:
    """Pairs as a model reads them, without padding.

    Attributes:
        inputs: input_ids (int32) and, where the model takes them, token_type_ids (int8), of all
            pairs one after another (tokens,).
        lengths: tokens of each pair, int64 (pairs,).
    """

    inputs: dict[str, NDArray[Any]]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class PairTemplate:
    """The token ids of any pair, with the two texts left open.

    Attributes:
        ids: special tokens in their order, and among them `QUERY` and `DOCUMENT`, once each.
        types: the token type of each of these; None where the model takes no types.
        max_length: tokens of a pair, at least as many as there are special tokens.
        cuts_left: whether texts that are too long lose their first tokens, not their last.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...] | None
    max_length: int
    cuts_left: bool

    @property
    def room(self) -> int:
        """Tokens that the two texts may have together."""
        return self.max_length - (len(self.ids) - 2)


def find_template(
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    queries: Sequence[str],
    documents: Sequence[str],
) -> PairTemplate | None:
    """Asks a tokenizer how it makes pairs, and tries the answer on some pairs.

    Tried are also texts that spell the tokenizer's special tokens out.

    Args:
        tokenizer: of any kind.
        max_length: tokens of a pair.
        queries: of the pairs to try, as many as `documents`; long, short and empty ones should be
            among them.
        documents: of these pairs.

    Returns:
        The template; None where the ids of a pair are not made of those of its texts alone, so that
        pairs have to be tokenized one by one.
    """
    if not tokenizer.is_fast:  # such do not tell which text a token is of
        return None
    spelled = tokenizer.all_special_tokens[:SPELLED_OUT]
    queries = [*queries, *(f"{token} {queries[0]}{token}" for token in spelled)]
    documents = [*documents, *(f"{documents[0]}{token} {token}" for token in spelled)]
    template = _ask(tokenizer, max_length, queries, documents)
    if template is None or template.room < 0:
        return None
    rows = np.arange(len(queries))
    texts = [tokenize_texts(tokenizer, side, max_length) for side in (queries, documents)]
    composed = compose(template, texts[0], rows, texts[1], rows)
    expected = tokenizer(queries, documents, truncation=True, max_length=max_length)
    if composed.lengths.tolist() != [len(ids) for ids in expected["input_ids"]]:
        return None
    for name, ids in composed.inputs.items():
        if not np.array_equal(ids, np.concatenate(expected[name])):
            return None
    return template


def tokenize_texts(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_length: int
) -> TextTokens:
    """Tokenizes texts, each by itself; keeps what a pair of `max_length` tokens may need."""
    ids = text_ids(tokenizer, texts, max_length)
    kept = ids["input_ids"].combine_chunks()
    stored = kept.value_lengths().to_numpy().astype(np.int64)
    return TextTokens(
        kept.flatten().to_numpy(), np.cumsum(stored) - stored, ids["length"].to_numpy()
    )


def text_ids(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_length: int
) -> pa.Table:
    """The token ids of each text by itself.

    Returns:
        input_ids, lists of int32, `max_length` at most, and length, int64, how many there were.
    """
    # Cut here rather than by the tokenizer: which text of a pair loses tokens depends on how long
    # both were.
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
    cut = slice(-max_length, None) if tokenizer.truncation_side == "left" else slice(max_length)
    return pa.table(
        {
            "input_ids": pa.array([ids[cut] for ids in encoded], pa.list_(pa.int32())),
            "length": pa.array([len(ids) for ids in encoded], pa.int64()),
        }
    )


def compose(
    template: PairTemplate,
    queries: TextTokens,
    query_rows: NDArray[np.int64],
    documents: TextTokens,
    document_rows: NDArray[np.int64],
) -> TokenizedPairs:
    """Puts pairs together, as `tokenizer(query, document, truncation=True)` has them.

    Args:
        template: from `find_template`.
        queries: their ids.
        query_rows: the query of each pair, int64 (pairs,).
        documents: their ids.
        document_rows: the document of each pair, int64 (pairs,).
    """
    kept = kept_lengths(
        queries.lengths[query_rows], documents.lengths[document_rows], template.room
    )
    pattern = np.array(template.ids, np.int32)
    counts = np.ones((len(query_rows), len(pattern)), np.int64)
    for place, lengths in zip((QUERY, DOCUMENT), kept, strict=True):
        counts[:, pattern == place] = lengths[:, None]
    repeats = counts.ravel()
    ids = np.repeat(np.tile(pattern, len(query_rows)), repeats)
    inputs: dict[str, NDArray[Any]] = {"input_ids": ids}
    if template.types is not None:
        types = np.array(template.types, np.int8)
        inputs["token_type_ids"] = np.repeat(np.tile(types, len(query_rows)), repeats)
    query_tokens, document_tokens = ids == QUERY, ids == DOCUMENT
    ids[query_tokens] = _ids_of(template, queries, query_rows, kept[0])
    ids[document_tokens] = _ids_of(template, documents, document_rows, kept[1])
    return TokenizedPairs(inputs, counts.sum(axis=1))


def pair_ids(
    tokenizer: "PreTrainedTokenizerBase",
    queries: Sequence[str],
    documents: Sequence[str],
    max_length: int,
) -> pa.Table:
    """Tokenizes pairs one by one, as sentence-transformers' CrossEncoder has it.

    Pairs that are longer than `max_length` lose tokens from the longer of the two texts.

    Args:
        tokenizer: of any kind.
        queries: of the pairs.
        documents: of the same pairs.
        max_length: tokens of a pair.

    Returns:
        input_ids and, where the model takes them, token_type_ids (lists); and length, int64.
    """
    encoded = tokenizer(list(queries), list(documents), truncation=True, max_length=max_length)
    ids = pa.array(encoded["input_ids"], pa.list_(pa.int32()))
    columns = {"input_ids": ids, "length": ids.value_lengths().cast(pa.int64())}
    if "token_type_ids" in encoded:
        columns["token_type_ids"] = pa.array(encoded["token_type_ids"], pa.list_(pa.int8()))
    return pa.table(columns)


def as_pairs(ids: pa.Table) -> TokenizedPairs:
    """The pairs of `pair_ids`, as a model reads them."""
    names = {"input_ids", "token_type_ids"} & set(ids.column_names)
    inputs = {name: ids[name].combine_chunks().flatten().to_numpy() for name in names}
    return TokenizedPairs(inputs, ids["length"].to_numpy())


def kept_lengths(
    query: NDArray[np.int64], document: NDArray[np.int64], room: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many tokens each text of a pair keeps: the longer loses first, then both share the room.

    The rule of `longest_first` in Hugging Face's tokenizers (src/utils/truncation.rs): of an odd
    room the text that was longer has the token more, and the document where they were as long.

    Args:
        query: tokens of queries, int64 (pairs,).
        document: tokens of documents, int64 (pairs,).
        room: tokens for both.

    >>> [lengths.tolist() for lengths in kept_lengths(np.array([2, 9]), np.array([9, 6]), 7)]
    [[2, 4], [5, 3]]
    """
    shorter = np.minimum(np.minimum(query, document), room // 2)
    # Where the shorter text fits into half of the room, the longer one takes what it leaves.
    longer = room - shorter
    query_is_longer = query > document
    cut = query + document > room
    kept_query = np.where(query_is_longer, longer, shorter)
    kept_document = np.where(query_is_longer, shorter, longer)
    return np.where(cut, kept_query, query), np.where(cut, kept_document, document)


def gather(
    values: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[Any]:
    """Slices of `values`, one after another."""
    before = np.cumsum(lengths) - lengths
    return values[np.repeat(starts - before, lengths) + np.arange(lengths.sum())]


def _ids_of(
    template: PairTemplate, tokens: TextTokens, rows: NDArray[np.int64], kept: NDArray[np.int64]
) -> NDArray[np.int32]:
    starts = tokens.starts[rows]
    if template.cuts_left:
        starts = starts + np.minimum(tokens.lengths[rows], template.max_length) - kept
    return gather(tokens.ids, starts, kept)


def _ask(
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    queries: Sequence[str],
    documents: Sequence[str],
) -> PairTemplate | None:
    """The template of the first pair that has tokens of both texts."""
    whole = tokenizer(list(queries), list(documents), verbose=False)
    for pair, ids in enumerate(whole["input_ids"]):
        texts = whole.sequence_ids(pair)
        if not {0, 1} <= set(texts):
            continue
        # Of a text's tokens the first stands for all.
        places = [
            ids[token] if text is None else (QUERY, DOCUMENT)[text]
            for token, text in enumerate(texts)
        ]
        firsts = [
            token
            for token, place in enumerate(places)
            if place >= 0 or token == 0 or places[token - 1] != place
        ]
        pattern = tuple(places[token] for token in firsts)
        if pattern.count(QUERY) != 1 or pattern.count(DOCUMENT) != 1:
            return None
        types = whole.get("token_type_ids")
        return PairTemplate(
            ids=pattern,
            types=None if types is None else tuple(types[pair][token] for token in firsts),
            max_length=max_length,
            cuts_left=tokenizer.truncation_side == "left",
        )
    return None
