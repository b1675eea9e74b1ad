"""Supervised lists: each query with its candidates and what both signals say of them."""

from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.groups import query_groups
from corpus.tables import Collection
from corpus.texts import document_column
from rankers.settings import AnnotationLabel

SUPERVISED, VALIDATION = "supervised", "validation"
LIST_IDS = pa.schema(
    [
        ("query_id", pa.string()),
        ("text", pa.string()),
        ("frequency", pa.int64()),
        ("bucket", pa.int64()),
    ]
)
SIGNALS = ("click_label", "annotation_label", "annotation_weight")


def candidate_lists(collection: Collection, split: str | None) -> pa.Table:
    """The candidate list of each query of a split, with its texts.

    Args:
        collection: with candidates.
        split: as of `candidate_ids`.

    Returns:
        What `candidate_ids` returns and documents, lists of their texts.

    Raises:
        InputError: no query of the split has candidates.
    """
    lists = candidate_ids(collection, split)
    rows = document_rows(lists, collection.documents)
    texts = document_column(collection.documents).take(rows.flatten())
    return lists.append_column("documents", in_lists(texts, rows))


def candidate_ids(collection: Collection, split: str | None) -> pa.Table:
    """The candidate list of each query of a split, without the texts of its documents.

    Args:
        collection: with candidates.
        split: train, validation or test; `SUPERVISED` for the queries that training may read, which
            under the protocol "production" are also judged ones; None for every query.

    Returns:
        query_id, text, frequency, bucket (its number among `BUCKETS`) and doc_ids (a list of
        strings, by rank), in the order of `collection.queries`. Queries without candidates have
        no row.

    Raises:
        InputError: no query of the split has candidates.
    """
    lists = ids_of_split(collection, split)
    if lists.num_rows == 0:
        refuse_no_lists(split)
    return lists


def ids_of_split(collection: Collection, split: str | None) -> pa.Table:
    """As `candidate_ids`, but where no query has candidates there are no rows."""
    pairs = collection.candidates.to_pandas().sort_values(["query_id", "rank"], kind="stable")
    grouped = pairs.groupby("query_id", sort=False)["doc_id"].agg(list)
    groups = query_groups(collection).to_pandas()
    queries = collection.queries.select(["query_id", "text", "frequency"]).to_pandas()
    queries["bucket"] = pd.Categorical(groups["bucket"], BUCKETS).codes.astype(np.int64)
    if split == SUPERVISED:
        queries = queries[groups["supervised"]]
    elif split is not None:
        queries = queries[groups["split"] == split]
    queries = queries[queries["query_id"].isin(grouped.index)]
    doc_ids = [grouped[query_id] for query_id in queries["query_id"]]
    lists = pa.Table.from_pandas(queries, LIST_IDS, preserve_index=False)
    return lists.append_column("doc_ids", pa.array(doc_ids, pa.list_(pa.string())))


def refuse_no_lists(split: str | None) -> NoReturn:
    """Refuses a split none of whose queries has candidates.

    Raises:
        InputError: saying so.
    """
    raise InputError(_none_in(split))


def _none_in(split: str | None) -> str:
    if split == SUPERVISED:
        return (
            "no query that training may read has candidates to rank; look at the columns split and "
            "supervised of splits.parquet"
        )
    return f"no query of the split {split or 'all'!r} has candidates to rank"


def document_rows(lists: pa.Table, documents: pa.Table) -> pa.ListArray:
    """Where the documents of each list stand in the table `documents`, as lists of int64."""
    doc_ids = lists["doc_ids"].combine_chunks()
    rows = pc.index_in(doc_ids.flatten(), value_set=documents["doc_id"].combine_chunks())
    return in_lists(rows.cast(pa.int64()), doc_ids)


def in_lists(values: pa.Array, like: pa.ListArray) -> pa.ListArray:
    """Deals values into lists as long as those of `like`, which may be a slice."""
    offsets = np.append(0, np.cumsum(like.value_lengths().to_numpy()))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def add_labels(
    lists: pa.Table,
    click_labels: pa.Table | None,
    annotations: pa.Table | None,
    annotation_label: AnnotationLabel,
) -> pa.Table:
    """Adds what clicks and annotations say of each document of each list.

    Args:
        lists: from `candidate_lists`.
        click_labels: the table `click_labels`; None where clicks are not used.
        annotations: the table `annotations`, of one annotator, strategy and prompt; None where
            annotations are not used. Rows with an error count as missing.
        annotation_label: the column to learn from; "confident_grade" is the expected grade,
            weighted by the annotator's confidence (1 where it tells none).

    Returns:
        `lists` with click_label, annotation_label and annotation_weight, lists of doubles aligned
        with doc_ids, null where the signal says nothing; and impressions, double, how often a
        document of the list was shown, on average, as the click labels count it.

    Raises:
        InputError: a pair has two labels of one kind, as when annotators are mixed.
    """
    labels = {name: pd.Series(dtype=float) for name in SIGNALS}
    impressions = pd.Series(dtype=float)
    if click_labels is not None:
        impressions = _label_by_pair(click_labels, "impressions", "click_labels")
        labels["click_label"] = _label_by_pair(click_labels, "relevance", "click_labels")
    if annotations is not None:
        column = "grade" if annotation_label == "grade" else "expected_grade"
        grades = _label_by_pair(annotations, column, "annotations")
        labels["annotation_label"], labels["annotation_weight"] = grades, grades * 0 + 1
        if annotation_label == "confident_grade":
            confidence = _label_by_pair(annotations, "confidence", "annotations")
            labels["annotation_weight"] = confidence.reindex(grades.index).fillna(1.0)
    query_ids = np.repeat(
        lists["query_id"].to_numpy(), [len(ids) for ids in lists["doc_ids"].to_pylist()]
    )
    doc_ids = lists["doc_ids"].combine_chunks()
    pairs = pd.MultiIndex.from_arrays([query_ids, doc_ids.flatten().to_numpy(False)])
    for name, label in labels.items():
        values = label.reindex(pairs).to_numpy() if len(label) else np.full(len(pairs), np.nan)
        column = pa.array(values, type=pa.float64(), from_pandas=True)
        lists = lists.append_column(name, pa.ListArray.from_arrays(doc_ids.offsets, column))
    shown = impressions.reindex(pairs).fillna(0.0).to_numpy()
    length = np.diff(doc_ids.offsets.to_numpy())
    of_list = np.repeat(np.arange(len(length)), length)
    mean = np.bincount(of_list, shown, len(length)) / np.maximum(length, 1)
    return lists.append_column("impressions", pa.array(mean))


def _label_by_pair(table: pa.Table, column: str, name: str) -> "pd.Series[float]":
    frame = table.select(["query_id", "doc_id", column]).to_pandas().dropna()
    label = frame.set_index(["query_id", "doc_id"])[column].astype(float)
    if label.index.has_duplicates:
        pair = label.index[label.index.duplicated()][0]
        raise InputError(
            f"{name}: query {pair[0]!r} and document {pair[1]!r} have more than one label; keep "
            "the rows of one annotator and prompt, or of one click model"
        )
    return label
