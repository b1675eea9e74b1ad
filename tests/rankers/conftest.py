from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.tables import Collection
from corpus.texts import document_column
from rankers.lists import candidate_ids, document_rows
from rankers.pair_scorer import PairScorer
from rankers.reranking import scoring_blocks


def score_in_one_process(ranker: Path, collection: Collection) -> NDArray[np.float32]:
    """The scores of all pairs, in the order of the lists."""
    lists = candidate_ids(collection, None)
    texts = document_column(collection.documents)
    scorer = PairScorer({"r": str(ranker)}, lists, texts)
    blocks = scoring_blocks(document_rows(lists, collection.documents), texts, ["r"], 1)
    scored = pa.concat_tables([scorer(block) for block in blocks]).sort_by("pair")
    assert scored["pair"].to_pylist() == list(range(scored.num_rows))
    return np.asarray(scored["score"].to_numpy())
