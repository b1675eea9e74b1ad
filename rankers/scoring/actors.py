"""What scores in the actors of a pool: blocks of pairs, or pieces of lists from file to file."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import ray

from cluster.blocks import table_of_row
from corpus.documents import open_documents
from corpus.errors import InputError
from corpus.places import Place
from corpus.tables import write_parquet
from corpus.texts import document_column
from rankers.data.lists import in_lists
from rankers.scoring.blocks import refuse_unsound, scoring_blocks
from rankers.scoring.pair_scorer import PairScorer
from rankers.scoring.pieces import read_piece, scored_piece
from rankers.settings import Precision


class PooledScorer(PairScorer):
    """A `PairScorer` in an actor of Ray Data, each of whose rows is a block.

    It reads the texts in the object store, one copy for all on a node. What `PairScorer` raises as
    an InputError it returns in place of scores, as the column `refusal`: raised in an actor, it
    would come out of Ray Data as a long trace.
    """

    def __init__(
        self,
        rankers: Mapping[str, str],
        lists: "ray.ObjectRef[pa.Table]",
        texts: "ray.ObjectRef[pa.Array]",
        precision: Precision = "fp32",
        use_gpu: bool = False,
    ) -> None:
        super().__init__(rankers, ray.get(lists), ray.get(texts), precision, use_gpu)

    def __call__(self, block: pa.Table) -> pa.Table:
        try:
            return super().__call__(table_of_row(block))
        except InputError as refusal:
            return pa.table({"refusal": [str(refusal)]})


class PieceScorer(PairScorer):
    """A `PairScorer` in an actor of Ray Data, each of whose rows names a piece and a ranker.

    It reads the piece, finds the texts on the node's disk, and writes the scores. An InputError it
    returns as `PooledScorer` does.

    Args:
        rankers: as of `PairScorer`.
        collection: folder of the collection, for the texts.
        pieces: folder of the pieces.
        folders: where the scores of each ranker go, by name.
        columns: of `rankers.scoring.pieces.scored_piece`, those to write.
        precision: as of `PairScorer`.
        use_gpu: as of `PairScorer`.
    """

    def __init__(
        self,
        rankers: Mapping[str, str],
        collection: Place,
        pieces: Place,
        folders: Mapping[str, Place],
        columns: Sequence[str],
        precision: Precision = "fp32",
        use_gpu: bool = False,
    ) -> None:
        super().__init__(rankers, pa.table({}), pa.array([], pa.string()), precision, use_gpu)
        self.collection = collection
        self.pieces = pieces
        self.folders = folders
        self.columns = columns

    def __call__(self, row: pa.Table) -> pa.Table:
        ranker, piece = (row[name][0].as_py() for name in ("ranker", "piece"))
        try:
            lists = read_piece(self.pieces / piece)
            scored = self._score_lists(lists, ranker)
            refuse_unsound(scored, ranker)
            write_parquet(scored.select(self.columns), self.folders[ranker] / piece)
        except InputError as refusal:
            return pa.table({"refusal": [str(refusal)]})
        return pa.table({"ranker": [ranker], "pairs": [scored.num_rows]})

    def _score_lists(self, lists: pa.Table, ranker: str) -> pa.Table:
        documents = open_documents(self.collection)
        doc_ids = lists["doc_ids"].combine_chunks()
        found = pa.array(documents.rows(doc_ids.flatten())).dictionary_encode()
        # Of this piece alone, each once.
        self.texts = document_column(documents.take(found.dictionary.to_numpy()))
        self.lists = lists.select(["text", "frequency", "bucket"])
        rows = in_lists(found.indices.cast(pa.int64()), doc_ids)
        scored = pa.concat_tables(
            super(PieceScorer, self).__call__(block)
            for block in scoring_blocks(rows, self.texts, [ranker], 1)
        )
        return scored_piece(lists, scored.sort_by("pair")["score"].combine_chunks())
