"""The texts of all pairs that lists hold, each once, and which of them go together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpus.texts import document_column
from rankers.data.lists import document_rows, in_lists

# Pairs that a template is tried on: at random, and of each extreme of length.
RANDOM_PAIRS, EXTREME_PAIRS = 64, 8


@dataclass(frozen=True)
class PairTexts:
    """The texts of pairs, and which go together.

    Attributes:
        queries: texts, (large) strings.
        documents: texts, (large) strings.
        query_rows: the query of each pair, int64 (pairs,).
        document_rows: the document of each pair, int64 (pairs,).
    """

    queries: pa.ChunkedArray
    documents: pa.ChunkedArray
    query_rows: NDArray[np.int64]
    document_rows: NDArray[np.int64]


def number_texts(
    lists: Sequence[pa.Table], documents: pa.Table
) -> tuple[list[pa.Table], PairTexts]:
    """Gives each query and each document that lists hold a row among the texts of their pairs.

    Args:
        lists: from `rankers.data.lists.candidate_ids`.
        documents: the table of the collection.

    Returns:
        The lists, with query_row, int64, and document_rows, lists of int64, in place of the text;
        and the texts: each query of the lists and each document that some list holds.
    """
    rows = [document_rows(table, documents) for table in lists]
    used = np.unique(np.concatenate([of_list.flatten().to_numpy() for of_list in rows]))
    numbered, query_rows, rows_of_documents, first = [], [], [], 0
    for table, in_table in zip(lists, rows, strict=True):
        query_row = np.arange(first, first + table.num_rows)
        first += table.num_rows
        document_row = np.searchsorted(used, in_table.flatten().to_numpy())
        numbered.append(
            table.drop_columns(["text"])
            .append_column("query_row", pa.array(query_row))
            .append_column("document_rows", in_lists(pa.array(document_row), in_table))
        )
        query_rows.append(np.repeat(query_row, in_table.value_lengths().to_numpy()))
        rows_of_documents.append(document_row)
    texts = PairTexts(
        pa.chunked_array([chunk for table in lists for chunk in table["text"].chunks]),
        pa.chunked_array([document_column(documents).take(pa.array(used))]),
        np.concatenate(query_rows),
        np.concatenate(rows_of_documents),
    )
    return numbered, texts


def sample_pairs(texts: PairTexts) -> tuple[list[str], list[str]]:
    """Pairs to try a template on: some at random, and those of the longest and shortest texts."""
    pairs = len(texts.query_rows)
    chosen = [np.random.default_rng(0).permutation(pairs)[:RANDOM_PAIRS]]
    for column, rows in (
        (texts.queries, texts.query_rows),
        (texts.documents, texts.document_rows),
    ):
        by_length = np.argsort(pc.binary_length(column).to_numpy()[rows], kind="stable")
        chosen += [by_length[:EXTREME_PAIRS], by_length[-EXTREME_PAIRS:]]
    sample = np.unique(np.concatenate(chosen))
    return (
        texts.queries.take(pa.array(texts.query_rows[sample])).to_pylist(),
        texts.documents.take(pa.array(texts.document_rows[sample])).to_pylist(),
    )
