"""Click labels: the relevance of each query-document pair by its clicks, without position bias."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.log.click_log import ClickLog, Pairs, read_click_log
from clicks.log.large_arrays import large_take, large_zeros, pieces, sum_by
from clicks.models.base import ClickModel
from corpus.errors import InputError
from corpus.free_memory import give_back_free_memory
from corpus.mapped_arrays import slices
from corpus.places import Place
from corpus.table_checks import check_table
from corpus.tables import table_path, write_parquet, write_table

PAIR, COUNTS = ["query_id", "doc_id"], ["impressions", "clicks"]
SORTED = [(name, "ascending") for name in PAIR]
# Labels of a file; where there are more, they lie in parts of so many.
ROWS_OF_FILE, ROWS_OF_PART = 300_000, 100_000
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
    logs = [(read_click_log(sessions), propensities) for sessions, propensities in parts]
    return plain_labels(weighted_labels(logs, max_weight, method))


def weighted_labels(
    parts: Sequence[tuple[ClickLog, NDArray[np.float64]]], max_weight: float, method: str = "em"
) -> pa.Table:
    """See `inverse_propensity_labels`; of encoded logs.

    Returns:
        The table click_labels, whose ids may be dictionary-coded.
    """
    if max_weight < 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    counts = []
    for log, propensities in parts:
        unknown = np.isnan(propensities)
        if not np.all(unknown | (propensities > 0) & (propensities <= 1)):
            raise InputError(f"propensities must be above 0 and at most 1, not {propensities}")
        if log.positions > len(propensities):
            raise InputError(
                f"a page shows {log.positions} documents, but there are propensities of "
                f"{len(propensities)} positions"
            )
        clicked = log.by_position(log.clicks) > 0
        unknown = unknown[: len(clicked)]
        weight = np.minimum(1 / np.where(unknown, 1.0, propensities[: len(clicked)]), max_weight)
        position, sessions = log.position, log.of_results(log.sessions)
        kept = large_take(~(unknown & clicked), position)
        weighted = large_zeros(len(log.pair), np.float64)
        for some in pieces(len(weighted)):
            weighted[some] = sessions[some] * weight[position[some]]
        weighted = sum_by(log.pair, weighted, len(log.pairs.query), log.clicks & kept)
        counts.append(_count_log(log, kept, weighted=weighted))
    summed = counts[0] if len(counts) == 1 else _sum_pairs(counts, "weighted")
    relevance = large_zeros(summed.num_rows, np.float64)
    np.divide(summed["weighted"].to_numpy(), summed["impressions"].to_numpy(), out=relevance)
    return _as_labels(summed, relevance, f"ipw-{method}")


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
    return plain_labels(model_labels(model, read_click_log(sessions)))


def model_labels(model: ClickModel, log: ClickLog) -> pa.Table:
    """See `relevance_labels`; of an encoded log.

    Returns:
        The table click_labels, whose ids may be dictionary-coded.
    """
    inferred = model.inferred()
    number, _ = model.pairs_.find(log.pairs)
    counted = log.trials()
    columns = {name: large_zeros(len(model.pairs_.query), np.int64) for name in COUNTS}
    columns["impressions"][number] = counted.trials
    columns["clicks"][number] = counted.successes
    counts = _pair_table(model.pairs_, columns | inferred)
    labels = _as_labels(counts, counts["relevance"].to_numpy(), type(model).__name__)
    if "precision" in inferred:
        labels = labels.append_column("precision", counts["precision"])
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
    inferred, weighted = plain_labels(inferred), plain_labels(weighted)
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
    together = pa.concat_tables([plain_labels(table) for table in labels])
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
    counts = _sum_pairs([together], *sums)
    total = counts["weight"].to_numpy()
    relevance = counts["weighted"].to_numpy() / total
    made = _as_labels(counts, relevance, together["model"][0].as_py())
    if judged:
        seen = counts["impressions"].to_numpy() > 0
        mean = counts["precision"].to_numpy() / total
        of_mean = total**2 / counts["variance"].to_numpy()
        made = made.append_column("precision", pa.array(np.where(seen, of_mean, mean)))
    return made


def plain_labels(labels: pa.Table) -> pa.Table:
    """The table with ids and models as strings, in one piece."""
    for at, (name, kind) in enumerate(zip(labels.column_names, labels.schema.types, strict=True)):
        if pa.types.is_dictionary(kind):
            labels = labels.set_column(at, name, labels[name].cast(kind.value_type))
    return labels


def write_labels(labels: pa.Table, output: Place) -> None:
    """Writes the table click_labels: a file or, where there are many, a folder of parts."""
    if labels.num_rows <= ROWS_OF_FILE:
        write_table(plain_labels(labels), output, "click_labels")
        return
    folder = table_path(output, "click_labels")
    for number, some in enumerate(slices(labels.num_rows, ROWS_OF_PART)):
        part = plain_labels(labels.slice(some.start, some.stop - some.start))
        path = folder / f"part-{number:05d}.parquet"
        write_parquet(check_table(part, "click_labels", path), path)
        give_back_free_memory()


def _count_log(log: ClickLog, kept: NDArray[np.bool_], **further: NDArray[np.float64]) -> pa.Table:
    """Impressions and clicks of each pair, of the results that are kept; and further columns.

    Pairs without an impression are left out.
    """
    counted = log.trials(kept)
    columns = {"impressions": counted.trials, "clicks": counted.successes}
    shown = np.flatnonzero(counted.trials > 0)
    pairs = replace(
        log.pairs,
        query=large_take(log.pairs.query, shown),
        document=large_take(log.pairs.document, shown),
        grade=None,
    )
    counts = {name: large_take(values, shown, np.int64) for name, values in columns.items()}
    return _pair_table(
        pairs, counts | {name: large_take(values, shown) for name, values in further.items()}
    )


def _pair_table(pairs: Pairs, columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    """The ids of pairs, dictionary-coded, and columns, sorted by both ids."""
    rank = {}
    for name, ids in (("query_id", pairs.queries), ("doc_id", pairs.documents)):
        rank[name] = np.empty(len(ids), np.int64)
        rank[name][pc.sort_indices(ids)] = np.arange(len(ids))
    key = large_zeros(len(pairs.query), np.int64)
    for some in pieces(len(key)):
        key[some] = rank["query_id"][pairs.query[some]] * len(pairs.documents)
        key[some] += rank["doc_id"][pairs.document[some]]
    order = np.argsort(key)
    table = {
        name: pa.DictionaryArray.from_arrays(large_take(number, order, np.int32), ids)
        for name, number, ids in (
            ("query_id", pairs.query, pairs.queries),
            ("doc_id", pairs.document, pairs.documents),
        )
    }
    return pa.table(table | {name: large_take(values, order) for name, values in columns.items()})


def _sum_pairs(tables: Sequence[pa.Table], *further: str) -> pa.Table:
    """Impressions, clicks and `further` columns summed for each pair, sorted by both ids."""
    names = [*COUNTS, *further]
    summed = (
        pa.concat_tables([plain_labels(table) for table in tables])
        .group_by(PAIR, use_threads=False)
        .aggregate([(name, "sum") for name in names])
        .sort_by(SORTED)
    )
    return summed.rename_columns([*PAIR, *names])


def _as_labels(counts: pa.Table, relevance: NDArray[np.float64], model: str) -> pa.Table:
    rows = counts.num_rows
    return pa.table(
        {
            "query_id": counts["query_id"],
            "doc_id": counts["doc_id"],
            "relevance": relevance,
            "impressions": counts["impressions"],
            "clicks": counts["clicks"],
            "model": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), pa.array([model])),
        }
    )
