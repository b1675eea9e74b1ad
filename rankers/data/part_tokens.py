"""Token ids of many texts, made part by part by tasks, where the parts are to lie."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.documents import Documents
from corpus.places import Place, is_local, make_folder, whole_folder
from corpus.texts import document_column
from rankers.data.pair_template import find_template, pair_ids, text_ids
from rankers.data.pair_texts import PairTexts, sample_pairs
from rankers.data.token_files import (
    DOCUMENTS,
    DOCUMENTS_OF_PART,
    KEYS,
    PAIRS,
    QUERIES,
    pair_keys,
    part_name,
    template_content,
    write_ids,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Texts that are tokenized at once; pairs of a part that a template is tried on.
AT_ONCE, TRIED = 2048, 4096
# The last file of a part that is copied to a store.
LAST = "starts.npy"


@dataclass(frozen=True)
class PartTokens:
    """Writes the token ids of a part, for `rankers.data.token_files.PartedPairs`.

    Attributes:
        tokenizer: of the model.
        max_length: tokens of a pair.
        documents: of the collection.
        tokens: folder for the ids of all parts.
        part: the number of this one, of queries or of documents.
    """

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    documents: Documents
    tokens: Place
    part: int

    def write(
        self,
        queries: pa.Array,
        query_rows: NDArray[np.int64],
        document_rows: NDArray[np.int64],
        whole_pairs: bool,
    ) -> list[str]:
        """Writes the ids of the queries or, where pairs have no template, of the pairs.

        Args:
            queries: texts.
            query_rows: of each pair in `queries`, int64 (pairs,).
            document_rows: of each pair in the documents, int64 (pairs,).
            whole_pairs: whether to write those of pairs, whatever the tokenizer.

        Returns:
            What tells how pairs are put together; nothing where there are no pairs.
        """
        if len(query_rows) == 0:
            return []
        template = None
        if not whole_pairs:
            some = np.random.default_rng(0).permutation(len(query_rows))[:TRIED]
            rows, number = np.unique(document_rows[some], return_inverse=True)
            shown = pa.chunked_array([self._texts(rows)])
            texts = PairTexts(pa.chunked_array([queries]), shown, query_rows[some], number)
            template = find_template(self.tokenizer, self.max_length, *sample_pairs(texts))
        if template is None:
            self._write_pairs(queries, query_rows, document_rows)
        else:

            def ids() -> Iterator[pa.Table]:
                for at in range(0, len(queries), AT_ONCE):
                    some_texts = queries.slice(at, AT_ONCE).to_pylist()
                    yield text_ids(self.tokenizer, some_texts, self.max_length)

            self._once(QUERIES, lambda folder: write_ids(ids(), folder))
        return [template_content(template, parts=True)]

    def write_documents(self, used: NDArray[np.bool_]) -> None:
        """Writes the ids of documents.

        Args:
            used: which of the part's documents some list holds, bool (documents,); others have no
                ids.
        """
        inside = np.flatnonzero(used)
        rows = inside + self.part * DOCUMENTS_OF_PART

        def ids() -> Iterator[pa.Table]:
            for at in range(0, len(rows), AT_ONCE):
                texts = self._texts(rows[at : at + AT_ONCE]).to_pylist()
                yield text_ids(self.tokenizer, texts, self.max_length)

        def fill(folder: Path) -> None:
            write_ids(ids(), folder)
            for name in ("starts", "lengths"):
                of_all = np.zeros(len(used), np.int64)
                of_all[inside] = np.load(folder / f"{name}.npy")
                np.save(folder / f"{name}.npy", of_all)

        self._once(DOCUMENTS, fill)

    def _write_pairs(
        self, queries: pa.Array, query_rows: NDArray[np.int64], document_rows: NDArray[np.int64]
    ) -> None:
        keys, first = np.unique(pair_keys(query_rows, document_rows), return_index=True)

        def ids() -> Iterator[pa.Table]:
            for at in range(0, len(first), AT_ONCE):
                pairs = first[at : at + AT_ONCE]
                query = queries.take(pa.array(query_rows[pairs])).to_pylist()
                document = self._texts(document_rows[pairs]).to_pylist()
                yield pair_ids(self.tokenizer, query, document, self.max_length)

        def fill(folder: Path) -> None:
            np.save(folder / KEYS, keys)
            write_ids(ids(), folder)

        self._once(PAIRS, fill)

    def _texts(self, rows: NDArray[np.int64]) -> pa.Array:
        return document_column(self.documents.take(rows))

    def _once(self, kind: str, fill: Callable[[Path], None]) -> None:
        write_once(self.tokens / kind / part_name(self.part), fill)


def write_once(place: Place, fill: Callable[[Path], None]) -> None:
    """Makes a folder, whole, if it is not there; of two that make the same one the first wins."""
    if not is_local(place):
        if not (place / LAST).exists():
            with whole_folder(place, last=LAST) as folder:
                fill(folder)
        return
    if place.exists():
        return
    make_folder(place.parent)
    begun = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        fill(begun)
        try:
            begun.rename(place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(begun, ignore_errors=True)
