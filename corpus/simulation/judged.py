"""Which queries of a simulated world humans have judged: a sample, as in production."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from corpus.frequency import count_frequency, frequency_buckets

# The part of the log, in sessions, after which a query that is first searched is new.
LOG_WINDOW = 0.8
# Parts of the judged queries: of high, medium and low frequency in the window, and new ones.
JUDGED_PARTS = {"high": 1 / 3, "medium": 1 / 3, "low": 1 / 6, "new": 1 / 6}
# The largest part of a class that is judged before the others have theirs, so that some of each is
# left to learn from where judged queries are withheld.
LARGEST_PART = 0.9


def sample_judged(
    queries: pa.Table, sessions: pa.Table, judged: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draws the queries that humans judge, so that each class of frequency has its part.

    A plain sample would be of rare queries mostly, and leave nothing to say of the frequent ones.
    Of the judged queries a third each has high and medium frequency in the first four fifths of the
    log, a sixth has low frequency there, and a sixth comes up after it. What a class lacks the
    others have more.

    Args:
        queries: the table queries.
        sessions: the table sessions, in the order of time.
        judged: the share of queries to judge, in [0, 1].
        rng: the source of randomness.

    Returns:
        Whether a query is judged, bool, shape (queries,): a share `judged` of them, one at least
        unless it is 0.
    """
    window = sessions.slice(0, round(LOG_WINDOW * sessions.num_rows))
    frequency = count_frequency(queries["query_id"], window).to_numpy()
    classes = np.where(frequency > 0, frequency_buckets(frequency), "new")
    drawn = pd.DataFrame({"class": classes, "turn": rng.permutation(len(classes))})
    of_class = drawn.groupby("class")["turn"]
    place, size = of_class.rank(), of_class.transform("size")
    order = pd.DataFrame(
        {
            "spared": place > max(LARGEST_PART, judged) * size,
            # The number judged in all when it is this one's turn in its class.
            "turn": place / drawn["class"].map(JUDGED_PARTS),
        }
    ).sort_values(["spared", "turn"], kind="stable")
    wanted = max(round(judged * len(classes)), int(judged > 0))
    chosen = np.zeros(len(classes), dtype=np.bool_)
    chosen[order.index[:wanted]] = True
    return chosen
