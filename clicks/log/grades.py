"""A judge's grades beside a click log: of pairs that it shows, and of others."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, Pairs


def add_grades(log: ClickLog, grades: pa.Table) -> ClickLog:
    """Adds grades to the pairs of a log, and the graded pairs that it does not show.

    Args:
        log: the encoded sessions.
        grades: query_id, doc_id (string) and grade (float64 from 0 to 3) of pairs, each once.

    Returns:
        The log with further pairs behind those that it shows; NaN is the grade of a pair without.
    """
    pairs, graded = log.pairs, _pairs_of(log, grades)
    query, document = graded.query, graded.document
    shown, _ = pairs.find(graded)
    further, count = shown < 0, len(pairs.query)
    grade = np.full(count + int(further.sum()), np.nan)
    values = grades["grade"].to_numpy()
    grade[shown[~further]], grade[count:] = values[~further], values[further]
    return replace(
        log,
        pairs=Pairs(
            graded.queries,
            graded.documents,
            np.append(pairs.query, query[further]),
            np.append(pairs.document, document[further]),
            grade,
        ),
    )


def find_graded(log: ClickLog, grades: pa.Table) -> NDArray[np.int64]:
    """The number of each graded pair among the pairs of a log, -1 where it is not shown."""
    return log.pairs.find(_pairs_of(log, grades))[0]


def _pairs_of(log: ClickLog, grades: pa.Table) -> Pairs:
    """The graded pairs, by numbers that begin with those of the log's queries and documents."""
    queries, query = _number(log.pairs.queries, grades["query_id"])
    documents, document = _number(log.pairs.documents, grades["doc_id"])
    return Pairs(queries, documents, query, document)


def _number(known: pa.Array, ids: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """The known ids with the new ones behind them, and the number of each id among them."""
    distinct = pc.unique(ids.cast(known.type))
    new = distinct.filter(pc.invert(pc.is_in(distinct, value_set=known)))
    every = pa.concat_arrays([known, new])
    return every, pc.index_in(ids.cast(known.type), value_set=every).to_numpy().astype(np.int64)
