"""The pairs that a log shows: summed up in a file a shard, and from these made candidates.

The rows of a file lie in the order of a hash of their query. So the pairs of some queries are
brought together from all shards without those of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.free_memory import give_back_free_memory
from corpus.in_tasks import call_each
from corpus.mapped_arrays import hash_ids, slices
from corpus.pair_sums import add_pair_sums, rank_shown
from corpus.places import Place, arrow_files, whole_file
from corpus.readers.query_texts import rename
from corpus.tables import table_path, write_parquet

SUMS_FOLDER = ".pair_sums"  # in the collection's, until its candidates are written
SLOTS = 4096  # of the hash
PAIRS_OF_PART = 100_000
ROWS_OF_GROUP = 10_000  # which are read as a whole
FEW_PARTS = 4  # that tasks are not worth their beginning for
SLOT = "slot"
CODED = ["query_id", "doc_id"]
SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("positions", pa.float64()),
        ("impressions", pa.int64()),
        (SLOT, pa.uint16()),
    ]
)


@dataclass(frozen=True)
class PairFile:
    """The pairs that a shard shows.

    Attributes:
        place: of the file.
        rows: how many pairs it has.
        renamed: query ids that are to be others.
    """

    place: Place
    rows: int
    renamed: dict[str, str]


def write_pairs(pairs: pa.Table, place: Place) -> PairFile:
    """Writes what `corpus.pair_sums.sum_pairs` returned for a shard."""
    slots = _slots(pairs)
    order = np.argsort(slots, kind="stable")
    kept = {"use_dictionary": CODED, "write_statistics": [SLOT]}
    with whole_file(place) as file, pq.ParquetWriter(file, SCHEMA, **kept) as writer:
        for some in slices(len(order), ROWS_OF_GROUP):
            group = pairs.take(pa.array(order[some])).append_column(
                SLOT, pa.array(slots[order[some]])
            )
            # Strings, of which a group has its own; of a dictionary it would have all.
            writer.write_table(group.cast(SCHEMA))
    return PairFile(place, pairs.num_rows, {})


def write_candidates(files: Sequence[PairFile], folder: Place) -> None:
    """Writes the table candidates: of each query what was shown, by mean position.

    It is one file, or parts of so many pairs that one fits easily into memory, which tasks of a
    cluster make that this process has joined.

    Args:
        files: from `write_pairs`, of all shards.
        folder: the folder of the collection.
    """
    place = table_path(folder, "candidates")
    parts = max(-(-sum(file.rows for file in files) // PAIRS_OF_PART), 1)
    ends = [SLOTS * part // parts for part in range(parts + 1)]
    places = [place / f"part-{part:05d}.parquet" for part in range(parts)] if parts > 1 else [place]
    calls = list(zip(places, ends[:-1], ends[1:], strict=True))
    for _ in call_each(_write_part, files, calls, FEW_PARTS):
        pass


def _write_part(files: Sequence[PairFile], place: Place, low: int, high: int) -> None:
    give_back_free_memory()  # of the part before
    shown = add_pair_sums([_read(file, low, high) for file in files])
    give_back_free_memory()  # of what was read, before ranking takes its own
    if shown.num_rows or low == 0:
        write_parquet(rank_shown(shown, "the log"), place)


def _read(file: PairFile, low: int, high: int) -> pa.Table:
    """The pairs of a file whose queries have one of some slots."""
    files, inside = arrow_files(file.place)
    # Which slot a query has that is to be called otherwise is known when it is.
    some = None if file.renamed else [(SLOT, ">=", low), (SLOT, "<", high)]
    table = pq.read_table(inside, filesystem=files, filters=some, read_dictionary=CODED)
    pairs = table.drop_columns(SLOT).unify_dictionaries()
    if not file.renamed:
        return pairs
    coded = pairs["query_id"].combine_chunks()
    names = rename(coded.dictionary, file.renamed)
    pairs = pairs.set_column(0, "query_id", pa.DictionaryArray.from_arrays(coded.indices, names))
    slots = _slots(pairs)
    return pairs.filter(pa.array((slots >= low) & (slots < high)))


def _slots(pairs: pa.Table) -> NDArray[np.uint16]:
    """The slot of each pair's query."""
    query = pairs["query_id"].unify_dictionaries().combine_chunks()
    of_query = (hash_ids(pa.chunked_array([query.dictionary])) % SLOTS).astype(np.uint16)
    return np.asarray(of_query[query.indices.to_numpy()])
