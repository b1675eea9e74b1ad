"""The documents of a collection on a node: found by their ids, mapped into memory, not in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.local_copies import content_key, kept_on_node
from corpus.mapped_tables import take_rows
from corpus.places import Place
from corpus.query_parts import LACKS_DOCUMENT, QueryPart
from corpus.row_groups import read_footers, read_span
from corpus.schemas import SCHEMAS
from corpus.table_checks import check_unique
from corpus.tables import SHOWN_TWICE, pages_with_repeats, table_path

# Of what the folders hold; another number makes others.
VERSION = 1


class Documents:
    """Documents in a folder from `open_documents`; what is not read costs no memory.

    Args:
        folder: a local one.

    Attributes:
        table: doc_id, title and body, in the order of their files.
    """

    def __init__(self, folder: Path) -> None:
        self.table = pa.ipc.open_file(pa.memory_map(str(folder / "documents.arrow"))).read_all()
        self._ids = self.table.select(["doc_id"])
        self._hashes = np.load(folder / "hashes.npy", mmap_mode="r")
        self._rows = np.load(folder / "rows.npy", mmap_mode="r")

    def rows(self, doc_ids: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        """The row of each document in `table`, int64 (ids,); -1 where there is none of the id."""
        coded = pa.chunked_array([doc_ids]) if isinstance(doc_ids, pa.Array) else doc_ids
        coded = coded.combine_chunks().dictionary_encode()
        known = coded.dictionary
        hashes = _hashes(known)
        place = np.searchsorted(self._hashes, hashes)
        row = np.full(len(known), -1)
        unsure = np.arange(len(known))
        # Mostly done once: another document of the same hash is one in 2**64 pairs.
        while len(unsure):
            at = place[unsure]
            inside = at < len(self._hashes)
            unsure, at = unsure[inside], at[inside]
            same = np.asarray(self._hashes[at] == hashes[unsure])
            unsure, found = unsure[same], np.asarray(self._rows[at[same]])
            ids = take_rows(self._ids, found)["doc_id"].combine_chunks()
            right = pc.equal(ids, known.take(pa.array(unsure))).to_numpy(zero_copy_only=False)
            row[unsure[right]] = found[right]
            unsure = unsure[~right]
            place[unsure] += 1
        return np.asarray(row[coded.indices.to_numpy()], np.int64)

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """Some rows of `table`, in any order."""
        return take_rows(self.table, rows)


def open_documents(folder: Place) -> Documents:
    """The documents of a collection, which the first process of a node that asks copies there.

    They lie uncompressed in the node's cache (`corpus.local_copies.kept_on_node`), with a 64-bit
    hash of each id. 32 bytes a document are in memory while it is made.

    Raises:
        TableError: the table is missing or broken, or an id is there twice.
    """
    files = read_footers(folder, "documents")

    def fill(kept: Path) -> None:
        hashes = [np.array([], np.uint64)]
        schema = SCHEMAS["documents"]
        with pa.ipc.new_file(str(kept / "documents.arrow"), schema) as writer:
            for span in files.spans:
                for table in read_span(span):
                    writer.write_table(table.select(schema.names).cast(schema))
                    hashes.append(_hashes(table["doc_id"].combine_chunks()))
        of_all = np.concatenate(hashes)
        order = np.argsort(of_all, kind="stable")
        ordered = of_all[order]
        np.save(kept / "hashes.npy", ordered)
        np.save(kept / "rows.npy", order)
        if np.any(ordered[1:] == ordered[:-1]):
            mapped = pa.ipc.open_file(pa.memory_map(str(kept / "documents.arrow"))).read_all()
            check_unique(mapped, "documents", table_path(folder, "documents"))

    key = content_key(table_path(folder, "documents"))
    return Documents(kept_on_node(f"documents-{VERSION}-{key}", fill))


def rows_of_part(part: QueryPart, name: str, documents: Documents) -> NDArray[np.int64]:
    """The document of each row of a table with a column doc_id, by its row in `documents.table`.

    Raises:
        TableError: there is no such document, naming the file and the rows that ask for it.
    """
    rows = documents.rows(part.tables[name]["doc_id"])
    part.refuse(name, rows < 0, "doc_id", LACKS_DOCUMENT)
    return rows


def refuse_pages(part: QueryPart, name: str, documents: Documents) -> None:
    """Refuses sessions that show a document twice, or one that there is not.

    Raises:
        TableError: naming the file and the sessions.
    """
    pages = part.tables[name]["doc_ids"].combine_chunks()
    unknown = documents.rows(pages.flatten()) < 0
    holds = np.bincount(pc.list_parent_indices(pages).to_numpy()[unknown], minlength=len(pages)) > 0
    part.refuse(name, holds, "doc_ids", LACKS_DOCUMENT)
    twice = np.zeros(len(pages), np.bool_)
    twice[pages_with_repeats(part.tables[name]["doc_ids"])] = True
    part.refuse(name, twice, "doc_ids", SHOWN_TWICE)


def _hashes(doc_ids: pa.Array) -> NDArray[np.uint64]:
    return pd.util.hash_array(doc_ids.to_numpy(zero_copy_only=False), categorize=False)
