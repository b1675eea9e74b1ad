"""Scores of a collection's candidates, written piece by piece; what is there is not made again."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import ray.data
from rich.progress import MofNCompleteColumn

from cluster.connection import connect
from cluster.metrics import count
from corpus.places import Place
from corpus.progress import Progress
from corpus.tables import write_parquet
from rankers.scoring.actors import PieceScorer
from rankers.scoring.pieces import cut_lists, piece_name, pieces_left, pieces_of
from rankers.scoring.pool import Pool, score_pieces

MOST_BLOCKS = 4096  # of the data set of pieces, each of which a scorer takes as a task


def score_lists(
    lists: pa.Table,
    documents: pa.Table,
    rankers: Mapping[str, str],
    folders: Mapping[str, Place],
    columns: Sequence[str],
    pool: Pool,
) -> None:
    """Scores lists that are in memory.

    Args:
        lists: from `rankers.data.lists.candidate_ids`.
        documents: the table `documents`.
        rankers: from `ranker_place`, by name.
        folders: where the scores of each ranker go, by name.
        columns: of `rankers.scoring.pieces.scored_piece`, those to write.
        pool: that scores.

    Raises:
        InputError: as `rankers.scoring.pool.score_candidates`.
    """
    pieces = {piece_name(number): piece for number, piece in enumerate(cut_lists(lists))}
    left = pieces_left(list(pieces), folders)
    for ranker, piece, scored in score_pieces(pieces, left, documents, rankers, pool):
        write_parquet(scored.select(columns), folders[ranker] / piece)


def score_files(
    collection: Place,
    pieces: Place,
    rankers: Mapping[str, str],
    folders: Mapping[str, Place],
    columns: Sequence[str],
    pool: Pool,
) -> None:
    """Scores lists that are in files, where the actors are.

    Args:
        collection: folder of the collection, for the texts.
        pieces: folder of the lists, which `rankers.scoring.pieces.CutPieces` has written.
        rankers: as of `score_lists`, and so are the others.

    Raises:
        InputError: as `rankers.scoring.pool.score_candidates`.
    """
    names = pieces_of(pieces)
    left = [{"ranker": name, "piece": piece} for name, piece in pieces_left(names, folders)]
    if not left:
        return
    connect()
    rows = ray.data.from_items(left, override_num_blocks=min(len(left), MOST_BLOCKS))
    arguments = (dict(rankers), collection, pieces, dict(folders), list(columns))
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        total = len(names) * len(folders)
        bar = progress.add_task("score parts", total=total, completed=total - len(left))
        for scored in pool.map(rows, PieceScorer, arguments):
            progress.update(bar, advance=scored.num_rows)
            for row in scored.to_pylist():
                count("tandem_pairs", row["pairs"], "rerank", row["ranker"])
