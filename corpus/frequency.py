"""How often a query is searched, and the bucket (high, medium, low) that follows from it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BUCKETS = ("high", "medium", "low")


def count_frequency(query_ids: pa.ChunkedArray, sessions: pa.Table) -> pa.Array:
    """Counts the sessions of each query.

    Args:
        query_ids: ids of the queries to count.
        sessions: the table sessions. A column `sessions` (int64) says how many sessions each row
            stands for.

    Returns:
        The frequency of each of `query_ids`, int64, at least 0.
    """
    if "sessions" in sessions.column_names:
        counts = sessions.group_by("query_id").aggregate([("sessions", "sum")])
    else:
        counts = sessions.group_by("query_id").aggregate([([], "count_all")])
    queries, counted = (column.combine_chunks() for column in counts.columns)
    position = pc.index_in(query_ids, value_set=queries)
    return pc.fill_null(pc.take(counted, position), 0)


def frequency_buckets(
    frequency: NDArray[np.int64], cuts: tuple[int, int] = (3, 7)
) -> NDArray[np.str_]:
    """Sorts queries into high, medium and low frequency.

    Queries that were searched at least twice are ordered by descending frequency and cut into ten
    deciles, 0 (head) to 9 (tail). The default cuts are those of Baidu-ULTR (Zou et al., NeurIPS
    2022): deciles 0-2 are high, 3-6 medium, 7-9 low. Queries of equal frequency share their mean
    rank and so their bucket. Queries that were searched once, or never, are low: in a log most are
    (Silverstein et al., SIGIR Forum 1999), and as ties they would fill deciles of any name.

    Args:
        frequency: number of searches of each query in the log window, int64, shape (queries,).
        cuts: the first decile of medium and the first decile of low, from 0 to 10.

    Returns:
        "high", "medium" or "low" for each query, shape (queries,).

    Raises:
        ValueError: the cuts are not 0 <= medium <= low <= 10.

    >>> frequency_buckets(np.array([900, 1, 30, 25, 2, 500, 20, 3, 10, 200]))[:4].tolist()
    ['high', 'low', 'medium', 'medium']
    """
    medium, low = cuts
    if not 0 <= medium <= low <= 10:
        raise ValueError(f"bucket cuts must be 0 <= medium <= low <= 10, not {medium}, {low}")
    frequency = np.asarray(frequency)
    buckets = np.full(len(frequency), "low", dtype=np.dtype("<U6"))
    repeated = frequency > 1
    rank = pd.Series(-frequency[repeated]).rank(method="average").to_numpy()
    decile = np.floor(10 * (rank - 0.5) / max(len(rank), 1))
    buckets[repeated] = np.select([decile < medium, decile < low], ["high", "medium"], "low")
    return buckets
