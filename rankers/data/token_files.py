"""Token ids on disk: made once of the texts of a collection, read by every training on them."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from corpus.local_copies import local_copy
from corpus.places import Place
from rankers.data.pair_template import PairTemplate, TextTokens, TokenizedPairs, compose, gather

TEMPLATE = "template.json"
KEYS = "keys.npy"
# Parts of texts, or of pairs, by the folder that they are in.
QUERIES, DOCUMENTS, PAIRS = "queries", "documents", "pairs"
QUERIES_OF_PART, DOCUMENTS_OF_PART = 2**32, 2**17
# Parts that are open, and so mapped into memory, at once.
OPEN_AT_ONCE = 256


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


class PartedPairs:
    """Pairs whose texts, or which themselves, lie in parts; those that are read are opened.

    The row of a query is the number of its part, times 2**32, and its row in that part; that of a
    document the number of its part, times `DOCUMENTS_OF_PART`, and its row there.

    Args:
        place: of the folder.
        template: how pairs are put together; None where they were tokenized one by one.
    """

    def __init__(self, place: Place, template: PairTemplate | None) -> None:
        self._place, self._template = place, template
        self._open = lru_cache(maxsize=OPEN_AT_ONCE)(self._opened)

    def take(
        self, query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]
    ) -> TokenizedPairs:
        """Some pairs, by the rows of their texts, int64 (pairs,), in their order."""
        if self._template is None:
            return self._stored(query_rows, document_rows)
        most = self._template.max_length
        queries = self._texts(QUERIES, QUERIES_OF_PART, query_rows, most)
        documents = self._texts(DOCUMENTS, DOCUMENTS_OF_PART, document_rows, most)
        rows = np.arange(len(query_rows))
        return compose(self._template, queries, rows, documents, rows)

    def _texts(self, kind: str, of_part: int, rows: NDArray[np.int64], most: int) -> TextTokens:
        parts, inside = np.divmod(rows, of_part)
        tokens = [
            (at, _some_texts(self._open(kind, number), inside[at], most))
            for number, at in _by_part(parts)
        ]
        lengths, starts = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        before = 0
        for at, some in tokens:
            lengths[at], starts[at] = some.lengths, some.starts + before
            before += len(some.ids)
        ids = [some.ids for _, some in tokens] or [np.array([], np.int32)]
        return TextTokens(np.concatenate(ids), starts, lengths)

    def _stored(
        self, query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]
    ) -> TokenizedPairs:
        parts, queries = np.divmod(query_rows, QUERIES_OF_PART)
        found = [
            (at, self._open(PAIRS, number).take(queries[at], document_rows[at]))
            for number, at in _by_part(parts)
        ]
        if not found:
            return TokenizedPairs({"input_ids": np.array([], np.int32)}, np.array([], np.int64))
        order = np.argsort(np.concatenate([at for at, _ in found]))
        lengths = np.concatenate([pairs.lengths for _, pairs in found])
        starts = np.cumsum(lengths) - lengths
        inputs = {
            name: gather(
                np.concatenate([pairs.inputs[name] for _, pairs in found]),
                starts[order],
                lengths[order],
            )
            for name in found[0][1].inputs
        }
        return TokenizedPairs(inputs, lengths[order])

    def _opened(self, kind: str, number: int) -> Any:
        folder = local_copy(self._place / kind / part_name(number))
        return _open_pairs(folder) if kind == PAIRS else _open_texts(folder)


PairTokens = ComposedPairs | StoredPairs | PartedPairs


def part_name(number: int) -> str:
    """The name of a part, by which parts are in their order."""
    return f"part-{number:06d}"


def _some_texts(tokens: TextTokens, rows: NDArray[np.int64], most: int) -> TextTokens:
    kept = np.minimum(tokens.lengths[rows], most)
    ids = gather(tokens.ids, tokens.starts[rows], kept)
    return TextTokens(ids, np.cumsum(kept) - kept, tokens.lengths[rows])


def _by_part(parts: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each part and where it is asked for."""
    for number in np.unique(parts).tolist():
        yield number, np.flatnonzero(parts == number)


def pair_keys(query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each pair, another for another pair; rows must be below 2**31."""
    return query_rows << 32 | document_rows


def open_tokens(place: Place) -> PairTokens:
    """Opens what `rankers.data.tokenization.tokenize_once` left in a folder, or parts of it.

    It is mapped into memory: what is not read costs nothing. Of a store it is copied to the node,
    parts when they are first read.
    """
    told = json.loads((place / TEMPLATE).read_text(encoding="utf-8"))
    template = None if told["template"] is None else PairTemplate(**_tuples(told["template"]))
    if told["parts"]:
        return PartedPairs(place, template)
    folder = local_copy(place)
    if template is None:
        return _open_pairs(folder)
    return ComposedPairs(template, _open_texts(folder / QUERIES), _open_texts(folder / DOCUMENTS))


def template_content(template: PairTemplate | None, parts: bool = False) -> str:
    """What the file `TEMPLATE` says: how pairs are put together of the ids of their texts.

    Args:
        template: None where pairs were tokenized one by one.
        parts: whether ids are in parts, see `PartedPairs`.
    """
    fields = None if template is None else asdict(template)
    return json.dumps({"template": fields, "parts": parts})


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}


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


def _open_pairs(folder: Path) -> StoredPairs:
    types = folder / "token_type_ids.npy"
    return StoredPairs(
        _mapped(folder / KEYS), _open_texts(folder), _mapped(types) if types.exists() else None
    )


def _open_texts(folder: Path) -> TextTokens:
    return TextTokens(
        *(_mapped(folder / f"{name}.npy") for name in ("input_ids", "starts", "lengths"))
    )


def _mapped(path: Path) -> NDArray[Any]:
    # As a plain array: numpy's memmap class makes each small operation slower.
    return np.asarray(np.load(path, mmap_mode="r"))
