"""Candidate lists cut into pieces, each of which is scored and written as one file.

A piece is a bounded number of lists of whole queries. A file of scores that is there is a piece
that is done, which is all that resuming has to know.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.documents import open_documents, rows_of_part
from corpus.places import Place, arrow_files
from corpus.query_parts import QueryPart
from corpus.schemas import empty_table
from corpus.tables import Collection, write_parquet
from evaluation.trec_reading import candidates_of_lines
from rankers.data.lists import ids_of_split

# So many that sorted micro-batches are hardly padded; what a kill can cost.
MOST_PAIRS_PER_PIECE = 16_384
SCORES = ["query_id", "doc_id", "score"]
PIECE = "part-{part:06d}-{piece:04d}.parquet"


def cut_lists(lists: pa.Table) -> list[pa.Table]:
    """Cuts lists into pieces of `MOST_PAIRS_PER_PIECE` pairs at most, but of one list at least.

    Args:
        lists: with a column doc_ids.
    """
    ends = np.cumsum(pc.list_value_length(lists["doc_ids"]).to_numpy())
    pieces, first = [], 0
    while first < lists.num_rows:
        before = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, before + MOST_PAIRS_PER_PIECE, side="right"))
        last = max(last, first + 1)
        pieces.append(lists.slice(first, last - first))
        first = last
    return pieces


def piece_name(piece: int, part: int = 0) -> str:
    """The name of the file of a piece, of the part of the collection that it was cut from."""
    return PIECE.format(part=part, piece=piece)


def lists_of_part(part: QueryPart, split: str | None) -> pa.Table:
    """The candidate lists of a part of the collection, of which there may be none.

    Args:
        part: with queries, splits and candidates.
        split: as of `rankers.data.lists.candidate_ids`.
    """
    tables = {name: empty_table(name) for name in ("documents", "sessions", "judgments")}
    names = ("queries", "candidates", "splits")
    collection = Collection(**tables, **{name: part.tables[name] for name in names})
    return ids_of_split(collection, split)


@dataclass(frozen=True)
class CutPieces:
    """Writes the candidate lists of parts of a collection into files, for `by_query`.

    Attributes:
        collection: its folder, for the documents.
        folder: of the pieces.
        split: as of `rankers.data.lists.candidate_ids`.
        run: the TREC run whose lines the parts have in place of candidates, for messages.
    """

    collection: Place
    folder: Place
    split: str | None
    run: Place | None

    def __call__(self, part: QueryPart) -> pa.Table:
        """Returns the numbers of queries and pairs, and of lines that repeat an earlier one."""
        repeated = candidates_of_part(part, self.collection, self.run)
        pieces = cut_lists(lists_of_part(part, self.split))
        for number, lists in enumerate(pieces):
            write_parquet(lists, self.folder / piece_name(number, part.number))
        queries = sum(lists.num_rows for lists in pieces)
        pairs = sum(pc.sum(pc.list_value_length(lists["doc_ids"])).as_py() for lists in pieces)
        return pa.table({"queries": [queries], "pairs": [pairs], "repeated": [repeated]})


def candidates_of_part(part: QueryPart, collection: Place, run: Place | None) -> int:
    """Checks the candidates of a part, or makes them of the lines of a run.

    Args:
        part: with candidates or runs; it gets the former.
        collection: its folder, for the documents.
        run: that the lines are of.

    Returns:
        How many lines of the run repeat an earlier one.

    Raises:
        InputError: a candidate is no document, or the run has a pair with two scores.
    """
    if run is None:
        rows_of_part(part, "candidates", open_documents(collection))
        return 0
    set_aside: Counter[str] = Counter()
    part.tables["candidates"] = candidates_of_lines(part.tables["runs"], run, set_aside)
    return set_aside.total()


def read_piece(path: Place) -> pa.Table:
    """The table in the file of a piece."""
    files, inside = arrow_files(path)
    with files.open_input_file(inside) as file:
        return pq.ParquetFile(file).read()


def pieces_of(folder: Place) -> list[str]:
    """The names of the files of pieces in a folder, in their order."""
    if not folder.exists():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("part-"))


def pieces_left(pieces: Sequence[str], folders: Mapping[str, Place]) -> Iterator[tuple[str, str]]:
    """The rankers and pieces that there are no scores of, ranker by ranker.

    Args:
        pieces: names of all pieces.
        folders: of the scores of each ranker, by name.
    """
    for name, folder in folders.items():
        done = set(pieces_of(folder))
        yield from ((name, piece) for piece in pieces if piece not in done)


def scored_piece(lists: pa.Table, scores: pa.Array) -> pa.Table:
    """A row for each pair of some lists: query_id, doc_id, rank (from 1, in the list) and score.

    Args:
        lists: query_id and doc_ids.
        scores: float32, of all documents of the lists, one list after another.
    """
    doc_ids = lists["doc_ids"].combine_chunks()
    lengths = doc_ids.value_lengths().to_numpy()
    starts = np.cumsum(lengths) - lengths
    rank = np.arange(1, lengths.sum() + 1) - np.repeat(starts, lengths)
    return pa.table(
        {
            "query_id": lists["query_id"].take(pc.list_parent_indices(doc_ids)),
            "doc_id": doc_ids.flatten(),
            "rank": rank,
            "score": scores,
        }
    )
