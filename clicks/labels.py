"""Click labels: the relevance of each query-document pair by its clicks, without position bias."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.distinct import compact_sessions, list_results
from clicks.models.base import ClickModel
from corpus.errors import InputError

PAIR = ["query_id", "doc_id"]
SORTED = [(name, "ascending") for name in PAIR]
UNSEEN = 1e-9  # impressions of a pair that a context does not show


def inverse_propensity_labels(
    parts: Sequence[tuple[pa.Table, NDArray[np.float64]]], max_weight: float, method: str = "em"
) -> pa.Table:
    """Weights each click by how rarely its position is examined.

        relevance[q, d] = 1/n * sum over the n impressions of
                          click * min(1 / propensity[position], max_weight)

    (Joachims, Swaminathan & Schnabel, WSDM 2017, with clipped weights.) Where no weight
    is clipped, this is an unbiased estimate of attractiveness, on the scale of the propensities.
    Clipping biases it downwards for documents shown at rarely examined positions.

    Labels may exceed 1, as cutting them would bias them: a click at a position of propensity 0.1 on
    a document shown once gives 10. Labels of documents with few impressions are noisy; the column
    `impressions` says which.

    Args:
        parts: for each context (or once), the sessions and the propensity P(examined) of each
            position, float64 in (0, 1], NaN where unknown, shape (positions,). Results at a
            position of unknown propensity are left out, unless no result there was clicked.
        max_weight: the largest weight of a click, at least 1.
        method: the method that estimated the propensities; it is named in the column `model`.

    Returns:
        The table click_labels: query_id, doc_id, relevance (float64, from 0 to max_weight),
        impressions, clicks (int64), model ("ipw-" and the method); one row for each pair that was
        shown where propensities are known, sorted by both ids.

    Raises:
        InputError: a propensity or max_weight is out of range, a page is longer than there are
            propensities, or the sessions break their schema.

    >>> sessions = pa.table(
    ...     {
    ...         "session_id": ["1", "2", "3", "4"],
    ...         "query_id": ["q"] * 4,
    ...         "doc_ids": [["a", "b"]] * 4,
    ...         "clicks": [[True, True], [True, False], [False, False], [False, False]],
    ...     }
    ... )
    >>> parts = [(sessions, np.array([1.0, 0.5]))]
    >>> inverse_propensity_labels(parts, 10.0)["relevance"].to_pylist()
    [0.5, 0.5]
    """
    if max_weight < 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    weighted = []
    for sessions, propensities in parts:
        unknown = np.isnan(propensities)
        if not np.all(unknown | (propensities > 0) & (propensities <= 1)):
            raise InputError(f"propensities must be above 0 and at most 1, not {propensities}")
        results = list_results(compact_sessions(sessions))
        position = results["position"].to_numpy()
        if position.max() > len(propensities):
            raise InputError(
                f"a page shows {position.max()} documents, but there are propensities of "
                f"{len(propensities)} positions"
            )
        clicked = np.bincount(position - 1, results["clicks"].to_numpy(), len(propensities)) > 0
        results = results.filter(pa.array(~(unknown & clicked)[position - 1]))
        propensity = np.where(unknown, 1.0, propensities)[results["position"].to_numpy() - 1]
        weight = np.minimum(1 / propensity, max_weight)
        clicks = pa.array(results["clicks"].to_numpy() * weight)
        weighted.append(results.append_column("weighted", clicks))
    counts = _count_pairs(pa.concat_tables(weighted), "weighted")
    relevance = counts["weighted_sum"].to_numpy() / counts["impressions_sum"].to_numpy()
    return _as_labels(counts, relevance, f"ipw-{method}")


def relevance_labels(model: ClickModel, sessions: pa.Table) -> pa.Table:
    """Click labels from the relevance that a click model infers.

    Args:
        model: a click model that was fitted to the sessions.
        sessions: the table sessions of a collection, the same that the model was fitted to.

    Returns:
        The table click_labels; its column `model` has the name of the click model's class. Of a
        model that was fitted with a judge's grades it has a column `precision` (float64 above 0),
        the trials that the relevance is worth, and rows with 0 impressions for graded pairs that
        were not shown.
    """
    counts = _count_pairs(list_results(compact_sessions(sessions)))
    inferred = model.relevance()
    if inferred.num_rows > counts.num_rows:
        rows = inferred.select(PAIR).join(counts, PAIR, join_type="left outer").sort_by(SORTED)
        for at, name in enumerate(rows.column_names):
            rows = rows.set_column(at, name, pc.fill_null(rows[name], "" if name in PAIR else 0))
        counts = rows
    labels = _as_labels(counts, inferred["relevance"].to_numpy(), type(model).__name__)
    if "precision" in inferred.column_names:
        labels = labels.append_column("precision", inferred["precision"])
    return labels


def replace_ungraded(inferred: pa.Table, weighted: pa.Table, graded: pa.Array) -> pa.Table:
    """Puts weighted clicks in the place of a click model's labels of queries without grades.

    Args:
        inferred: the table click_labels from a click model.
        weighted: that of the same sessions from `inverse_propensity_labels`.
        graded: ids of the queries that keep the model's labels, strings.

    Returns:
        The table click_labels, sorted by both ids; `model` tells which is which, and a column
        `precision` is null where clicks are weighted.
    """
    kept = inferred.filter(pc.is_in(inferred["query_id"], value_set=graded))
    others = weighted.filter(pc.invert(pc.is_in(weighted["query_id"], value_set=graded)))
    return pa.concat_tables([kept, others], promote_options="default").sort_by(SORTED)


def average_labels(labels: Sequence[pa.Table]) -> pa.Table:
    """Averages the labels of several contexts for each pair, weighted by impressions.

    Contexts that do not show a pair have no part in its label, unless none does; then, as they all
    have the judge's opinion, its precision is their mean. Otherwise precision is what the mean of
    independent estimates has.

    Args:
        labels: the table click_labels of each context, at least one; all of the same model.

    Returns:
        One table click_labels, sorted by both ids.
    """
    if len(labels) == 1:
        return labels[0]
    together = pa.concat_tables(labels)
    # Far less than one impression, so that it only counts where there is none.
    weight = together["impressions"].to_numpy() + UNSEEN
    sums = {"weight": weight, "weighted": weight * together["relevance"].to_numpy()}
    judged = "precision" in together.column_names
    if judged:
        precision = together["precision"].to_numpy()
        sums |= {"precision": weight * precision, "variance": weight**2 / precision}
    for name, values in sums.items():
        place = together.column_names.index(name) if name in together.column_names else None
        column = pa.array(values)
        if place is None:
            together = together.append_column(name, column)
        else:
            together = together.set_column(place, name, column)
    counts = _count_pairs(together, *sums)
    total = counts["weight_sum"].to_numpy()
    relevance = counts["weighted_sum"].to_numpy() / total
    made = _as_labels(counts, relevance, together["model"][0].as_py())
    if judged:
        seen = counts["impressions_sum"].to_numpy() > 0
        mean = counts["precision_sum"].to_numpy() / total
        of_mean = total**2 / counts["variance_sum"].to_numpy()
        made = made.append_column("precision", pa.array(np.where(seen, of_mean, mean)))
    return made


def _count_pairs(results: pa.Table, *further: str) -> pa.Table:
    """Impressions, clicks and `further` columns summed for each pair, sorted by both ids."""
    return (
        results.group_by(PAIR, use_threads=False)
        .aggregate([(name, "sum") for name in ("impressions", "clicks", *further)])
        .sort_by(SORTED)
    )


def _as_labels(counts: pa.Table, relevance: NDArray[np.float64], model: str) -> pa.Table:
    return pa.table(
        {
            "query_id": counts["query_id"],
            "doc_id": counts["doc_id"],
            "relevance": relevance,
            "impressions": counts["impressions_sum"],
            "clicks": counts["clicks_sum"],
            "model": pa.repeat(model, counts.num_rows),
        }
    )
