"""Token ids on disk: made once of the texts of a collection, read by every training on them."""

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from rankers.data.pair_template import PairTemplate, TextTokens, TokenizedPairs, compose, gather

TEMPLATE = "template.json"
KEYS = "keys.npy"


@dataclass(frozen=True)
class ComposedPairs:
    """Pairs that are put together when they are read.

    Attributes:
        template: how.
        queries: their ids.
        documents: their ids.
    """

    template: PairTemplate
    queries: TextTokens
    documents: TextTokens

    def take(
        self, query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]
    ) -> TokenizedPairs:
        """Some pairs, by the rows of their texts, int64 (pairs,), in their order."""
        return compose(self.template, self.queries, query_rows, self.documents, document_rows)


@dataclass(frozen=True)
class StoredPairs:
    """Pairs that were tokenized one by one, as their tokenizer has no template that holds.

    Attributes:
        keys: of the pairs, ascending, see `pair_keys`.
        tokens: their ids, special tokens included.
        types: the token type of each id, int8; None where the model takes no types.
    """

    keys: NDArray[np.int64]
    tokens: TextTokens
    types: NDArray[np.int8] | None

    def take(
        self, query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]
    ) -> TokenizedPairs:
        """Some pairs, by the rows of their texts, int64 (pairs,), in their order."""
        rows = np.searchsorted(self.keys, pair_keys(query_rows, document_rows))
        starts, lengths = self.tokens.starts[rows], self.tokens.lengths[rows]
        inputs: dict[str, NDArray[Any]] = {"input_ids": gather(self.tokens.ids, starts, lengths)}
        if self.types is not None:
            inputs["token_type_ids"] = gather(self.types, starts, lengths)
        return TokenizedPairs(inputs, lengths)


PairTokens = ComposedPairs | StoredPairs


def pair_keys(query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each pair, another for another pair; rows must be below 2**31."""
    return query_rows << 32 | document_rows


def open_tokens(folder: Path) -> PairTokens:
    """Opens what `rankers.data.tokenization.tokenize_once` left in a folder.

    It is mapped into memory: what is not read costs nothing.
    """
    template = json.loads((folder / TEMPLATE).read_text(encoding="utf-8"))
    if template is None:
        types = folder / "token_type_ids.npy"
        return StoredPairs(
            _mapped(folder / KEYS), _open_texts(folder), _mapped(types) if types.exists() else None
        )
    for name in ("ids", "types"):
        template[name] = None if template[name] is None else tuple(template[name])
    return ComposedPairs(
        PairTemplate(**template), _open_texts(folder / "queries"), _open_texts(folder / "documents")
    )


def write_template(template: PairTemplate | None, folder: Path) -> None:
    """Writes a template, or that there is none, beside the ids of texts or pairs."""
    content = None if template is None else asdict(template)
    (folder / TEMPLATE).write_text(json.dumps(content), encoding="utf-8")


def write_ids(tables: Iterable[pa.Table], folder: Path) -> None:
    """Writes the ids of texts or pairs as files that numpy maps into memory.

    One array for all ids, and another that tells where those of a text start, as Megatron-LM's and
    fairseq's indexed data sets have it: any rows are read by one gather, whichever tables they
    came in.

    Args:
        tables: input_ids, maybe token_type_ids alongside (lists), and length, from
            `rankers.data.pair_template.text_ids` or of pairs.
        folder: made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = 0
    with ExitStack() as files:
        arrays: dict[str, GrowingArray] = {}

        def add(name: str, values: NDArray[Any]) -> None:
            if name not in arrays:
                file = files.enter_context((folder / f"{name}.npy").open("wb"))
                arrays[name] = GrowingArray(file, values.dtype)
            arrays[name].append(values)

        for table in tables:
            for name in {"input_ids", "token_type_ids"} & set(table.column_names):
                add(name, table[name].combine_chunks().flatten().to_numpy())
            lengths = table["input_ids"].combine_chunks().value_lengths().to_numpy()
            ends = kept + np.cumsum(lengths, dtype=np.int64)
            add("starts", ends - lengths)
            add("lengths", table["length"].to_numpy())
            kept = int(ends[-1]) if len(ends) else kept
        for array in arrays.values():
            array.finish()


class GrowingArray:
    """A .npy file of one dimension that is written piece by piece.

    Args:
        file: new, open for writing.
        dtype: of the array.
    """

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any]) -> None:
        self._file = file
        self._dtype = dtype
        self._length = 0
        self._write_header()

    def append(self, values: NDArray[Any]) -> None:
        """Adds values at the end."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)

    def finish(self) -> None:
        """Writes the length, for which the format keeps room in its header, and syncs."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())  # else a crash of the machine can leave an empty file

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._length,)}
        npy.write_array_header_1_0(self._file, header)  # type: ignore[no-untyped-call]


def _open_texts(folder: Path) -> TextTokens:
    return TextTokens(
        *(_mapped(folder / f"{name}.npy") for name in ("input_ids", "starts", "lengths"))
    )


def _mapped(path: Path) -> NDArray[Any]:
    # As a plain array: numpy's memmap class makes each small operation slower.
    return np.asarray(np.load(path, mmap_mode="r"))
