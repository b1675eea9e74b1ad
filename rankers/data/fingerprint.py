"""A name for token ids by what decides them, so that whoever needs the same finds them."""

import hashlib
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rankers.data.pair_texts import PairTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Of what the folders of token ids hold; another number makes others.
VERSION = 2


def fingerprint(texts: PairTexts, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> str:
    """What tells token ids apart: the texts and their pairs, the tokenizer's content, the length.

    How columns are cut into chunks makes no difference, nor where the tokenizer lies.
    """
    about = {
        "version": VERSION,
        "tokenizer": tokenizer_content(tokenizer),
        "max_length": max_length,
        "counts": [len(texts.queries), len(texts.documents), len(texts.query_rows)],
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for column in (texts.queries, texts.documents):
        for chunk in column.chunks:
            digest.update(pc.binary_length(chunk).cast(pa.int64()).to_numpy())
        for chunk in column.chunks:
            digest.update(_characters(chunk))
    for rows in (texts.query_rows, texts.document_rows):
        digest.update(np.ascontiguousarray(rows, np.int64).data)
    return digest.hexdigest()[:32]


def tokenizer_content(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """What decides the ids that a tokenizer makes of pairs, as JSON can hold it."""
    content: dict[str, Any] = {
        "libraries": [version("transformers"), version("tokenizers")],
        "kind": type(tokenizer).__qualname__,
        "inputs": tokenizer.model_input_names,
        "side": tokenizer.truncation_side,
        "split_special_tokens": tokenizer.split_special_tokens,
        "special_tokens": {
            name: str(token) for name, token in tokenizer.special_tokens_map.items()
        },
    }
    if tokenizer.is_fast:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        # Left by whatever was tokenized last.
        content["backend"] = backend | {"truncation": None, "padding": None}
        return content
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        saved = {path.name: path.read_bytes().hex() for path in Path(folder).iterdir()}
    return content | {"files": saved}


def _characters(texts: pa.Array) -> memoryview:
    """The UTF-8 of all texts of an array, one after another, without a copy."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    if data is None or len(texts) == 0:
        return memoryview(b"")
    first, last = np.frombuffer(offsets, np.int64)[[texts.offset, texts.offset + len(texts)]]
    return memoryview(data)[first:last]
