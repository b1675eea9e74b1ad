"""Pairs cut into blocks of about one length, which are scored at once."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError

# So many that sorted micro-batches are hardly padded, but that each scorer gets several blocks.
MOST_PAIRS_PER_BLOCK = 1024
BLOCKS_PER_SCORER = 8


def scoring_blocks(
    rows: pa.ListArray, texts: pa.Array, rankers: Iterable[str], scorers: int
) -> Iterator[pa.Table]:
    """Cuts pairs into blocks, as `PairScorer` takes them, those of the longest documents first.

    The pairs of a block are then of about one length, and the last blocks, which are the least
    work, leave no scorer long without any.

    Args:
        rows: the documents of each list, at least one in all, from
            `rankers.data.lists.document_rows`.
        texts: one for each document, from `corpus.texts.document_column`.
        rankers: names; each has all blocks.
        scorers: how many share the blocks.
    """
    document = rows.flatten().to_numpy()
    ends = np.cumsum(rows.value_lengths().to_numpy())
    length = pc.utf8_length(texts).to_numpy().astype(np.int32)
    order = np.argsort(-length[document], kind="stable")
    share = -(-len(order) // (BLOCKS_PER_SCORER * scorers))
    size = min(share, MOST_PAIRS_PER_BLOCK)
    for name in rankers:
        for first in range(0, len(order), size):
            pair = order[first : first + size]
            columns = {"pair": pair, "document": document[pair]}
            columns["list"] = np.searchsorted(ends, pair, side="right")
            yield pa.table({"ranker": pa.repeat(name, len(pair)), **columns})


def refuse_unsound(scored: pa.Table, ranker: str) -> None:
    """Refuses scores that cannot be sorted: NaN and infinite ones.

    Args:
        scored: query_id, doc_id and score of each pair.
        ranker: its name.

    Raises:
        InputError: naming the ranker and the first such pair.
    """
    unsound = scored.filter(pc.invert(pc.is_finite(scored["score"])))
    if unsound.num_rows:
        query_id, doc_id, score = (unsound[name][0] for name in ("query_id", "doc_id", "score"))
        raise InputError(
            f"the ranker {ranker} gives query {query_id.as_py()!r} and document "
            f"{doc_id.as_py()!r} the score {score}, which cannot be ranked by; look at its "
            "weights, and at the precision"
        )
