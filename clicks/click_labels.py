"""Click labels: what the clicks say of each query-document pair, freed of position bias."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clicks.compaction import list_results
from corpus.errors import InputError

MODEL = "ipw-pbm"


def inverse_propensity_labels(
    compacted: pa.Table, propensities: NDArray[np.float64], max_weight: float
) -> pa.Table:
    """Weights each click by how rarely its position is examined.

        relevance[q, d] = 1/n * sum over the n impressions of
                          click * min(1 / propensity[position], max_weight)

    (Joachims, Swaminathan & Schnabel, WSDM 2017, with clipped weights.) Where no weight
    is clipped, this is an unbiased estimate of attractiveness, on the scale of the propensities.
    Clipping biases it downwards for documents shown at rarely examined positions.

    Labels are not cut at 1, which would bias them: a click at a position of propensity 0.1 on a
    document shown once gives 10. Of documents with few impressions the labels are noisy, as
    the clicks are; `impressions` says which.

    Args:
        compacted: the table that `compact_sessions` returns.
        propensities: P(examined) by position, in (0, 1], shape (positions,).
        max_weight: the most that a click can weigh, at least 1.

    Returns:
        The table click_labels: query_id, doc_id, relevance (float64, from 0 to max_weight),
        impressions, clicks (int64), model ("ipw-pbm"); one row for each pair that was shown,
        sorted by both ids.

    Raises:
        InputError: a propensity or max_weight is out of range, or a page is longer than there
            are propensities.

    >>> pages = pa.table(
    ...     {"query_id": ["q"], "doc_ids": [["a", "b"]], "impressions": [4], "clicks": [[2, 1]]}
    ... )
    >>> inverse_propensity_labels(pages, np.array([1.0, 0.5]), 10.0)["relevance"].to_pylist()
    [0.5, 0.5]
    """
    if not np.all((propensities > 0) & (propensities <= 1)):
        raise InputError(f"propensities must be above 0 and at most 1, not {propensities}")
    if max_weight < 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    results = list_results(compacted)
    position = results["position"].to_numpy()
    if position.max(initial=0) > len(propensities):
        raise InputError(
            f"a page shows {position.max()} documents, but there are propensities of "
            f"{len(propensities)} positions"
        )
    weight = np.minimum(1 / propensities, max_weight)[position - 1]
    labels = (
        results.append_column("weighted", pa.array(results["clicks"].to_numpy() * weight))
        .group_by(["query_id", "doc_id"], use_threads=False)
        .aggregate([("weighted", "sum"), ("impressions", "sum"), ("clicks", "sum")])
        .sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
    )
    return pa.table(
        {
            "query_id": labels["query_id"],
            "doc_id": labels["doc_id"],
            "relevance": labels["weighted_sum"].to_numpy() / labels["impressions_sum"].to_numpy(),
            "impressions": labels["impressions_sum"],
            "clicks": labels["clicks_sum"],
            "model": pa.repeat(MODEL, labels.num_rows),
        }
    )
