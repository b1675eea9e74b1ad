"""Which of the documents that shards wrote are kept: the first of each id, with a title."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.free_memory import give_back_free_memory
from corpus.mapped_arrays import hash_ids, mapped_array, sorted_together
from corpus.places import Place, remove
from corpus.readers.query_texts import first_rows
from corpus.readers.settling import read_part
from corpus.readers.shard_tables import ShardSums
from corpus.tables import write_parquet
from corpus.window import open_parquet


@dataclass(frozen=True)
class KeptDocuments:
    """The documents that are kept, by hashes of their ids.

    Two ids of one hash, as one of 2**64 pairs of ids has, are taken for one.

    Attributes:
        hashes: of what all shards wrote, uint64, ascending; one may stand there more than once.
        kept: whether the document is kept, at the first place of its hash.
    """

    hashes: NDArray[np.uint64]
    kept: NDArray[np.bool_]

    def hold(self, doc_ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Whether each document is kept, bool (ids,)."""
        if not len(self.hashes):
            return np.zeros(len(doc_ids), np.bool_)
        hashes = hash_ids(doc_ids)
        place = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return np.asarray((self.hashes[place] == hashes) & self.kept[place])


def settle_documents(shards: Sequence[ShardSums], aside: Counter[str]) -> tuple[KeptDocuments, int]:
    """Keeps the first of the documents of an id, with a title from the log where it has none.

    What is held of each document lies in mapped files, but for titles that the log has to give.

    Args:
        shards: what was written, those of documents first.
        aside: counter, by reason, of documents that are given twice.

    Returns:
        What is kept, and how many of these documents have no text.
    """
    paths = [path for shard in shards for path in shard.documents]
    given = sum(len(shard.documents) for shard in shards if shard.of_documents)
    hashes = _hashes_of(paths)
    known = sorted_together(hashes)
    titles = _log_titles(paths, given, hashes, known)
    seen, kept = (mapped_array(len(known), np.bool_) for _ in range(2))
    textless = 0
    for number, (path, hashed) in enumerate(zip(paths, hashes, strict=True)):
        code = np.searchsorted(known, hashed)
        first = ~seen[code] & _is_first(code)
        seen[code] = True
        of_log = np.ones(len(code), np.bool_)
        table = read_part(path)
        if titles is not None and number < given:
            of_log = titles[1][code]
            table = table.set_column(1, "title", titles[0].take(pa.array(titles[2][code])))
        if number < given and (twice := int((of_log & ~first).sum())):
            aside["documents whose id an earlier one has, which is kept"] += twice
        wanted = of_log & first
        kept[code[wanted]] = True
        left = table.filter(pa.array(wanted))
        no_text = pc.and_(pc.equal(left["title"], ""), pc.equal(left["body"], ""))
        textless += pc.sum(no_text).as_py() or 0
        if not left.num_rows:
            remove(path)
        elif left.num_rows < table.num_rows or (titles is not None and number < given):
            write_parquet(left, path)
        del table, left, no_text
        give_back_free_memory()
    return KeptDocuments(known, kept), textless


def _hashes_of(paths: Sequence[Place]) -> list[NDArray[np.uint64]]:
    """The hashes of the ids in each part, all in one mapped file."""
    lengths = []
    for path in paths:
        with open_parquet(path) as file:
            lengths.append(file.metadata.num_rows)
    together, end, hashes = mapped_array(sum(lengths), np.uint64), 0, []
    for path, length in zip(paths, lengths, strict=True):
        hashes.append(together[end : end + length])
        hashes[-1][:] = hash_ids(read_part(path, ["doc_id"])["doc_id"])
        end += length
    return hashes


def _is_first(code: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each code is the first of its value."""
    first = np.zeros(len(code), np.bool_)
    first[np.unique(code, return_index=True)[1]] = True
    return first


def _log_titles(
    paths: Sequence[Place],
    given: int,
    hashes: Sequence[NDArray[np.uint64]],
    known: NDArray[np.uint64],
) -> tuple[pa.Array, NDArray[np.bool_], NDArray[np.int64]] | None:
    """Titles that the log has; by place in `known`, whether it has one, and its row; or None.

    There are none where all documents that are given beside the log have a title.
    """
    if not any(read_part(path, ["title"])["title"].null_count for path in paths[:given]):
        return None
    of_log = [read_part(path, ["title"])["title"] for path in paths[given:]]
    titles = pa.chunked_array([chunk for part in of_log for chunk in part.chunks], pa.string())
    code = np.searchsorted(known, np.concatenate([np.zeros(0, np.uint64), *hashes[given:]]))
    has = np.zeros(len(known), np.bool_)
    has[code] = True
    row = first_rows(code, len(known))
    row[~has] = 0
    return titles.combine_chunks(), has, row
