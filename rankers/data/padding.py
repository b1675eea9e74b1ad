"""Lists become a batch: rows of a file as the tensors of a step."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from rankers.batch import Labels, ListBatch, Pages
from rankers.data.impressions import PAGES
from rankers.data.lists import SIGNALS
from rankers.data.micro_batches import pad_micro_batches
from rankers.data.pair_template import TokenizedPairs
from rankers.data.store import ListFile
from rankers.data.token_files import PairTokens
from rankers.mixes import Traffic

SHORT = 16


@dataclass(frozen=True)
class BatchReader:
    """Reads lists of a file as batches.

    Attributes:
        lists: what is known of each list but its tokens.
        tokens: the token ids of their pairs.
        pad_token_id: the token that the tokenizer pads with.
        tokens_per_micro_batch: the most tokens, with padding, that the model reads at once.
        pinned: whether batches are read into memory that a GPU reads by itself.
    """

    lists: ListFile
    tokens: PairTokens
    pad_token_id: int
    tokens_per_micro_batch: int
    pinned: bool = False

    def read(self, rows: NDArray[np.int64]) -> ListBatch:
        """The lists of some rows, in their order; there may be none."""
        lists = self.lists.take(rows)
        documents = lists["document_rows"].combine_chunks()
        queries = np.repeat(lists["query_row"].to_numpy(), documents.value_lengths().to_numpy())
        pairs = self.tokens.take(queries, documents.flatten().to_numpy())
        batch = pad_lists(lists, pairs, self.pad_token_id, self.tokens_per_micro_batch, rows)
        return batch.pinned() if self.pinned else batch


def pad_lists(
    lists: pa.Table,
    pairs: TokenizedPairs,
    pad_token_id: int,
    tokens_per_micro_batch: int,
    rows: NDArray[np.int64] | None = None,
) -> ListBatch:
    """Turns lists into tensors, on the CPU.

    Args:
        lists: from `rankers.data.lists.candidate_ids`, with labels where there are any.
        pairs: of their queries and documents, list after list.
        pad_token_id: the token that the tokenizer pads with.
        tokens_per_micro_batch: the most tokens, with padding, that the model reads at once.
        rows: where in their file the lists are; by default they are the whole of it.
    """
    lengths = torch.tensor(lists["doc_ids"].combine_chunks().value_lengths().to_numpy())
    longest = int(lengths.max()) if len(lengths) else 0
    where = torch.arange(longest) < lengths[:, None]
    micro_batches = pad_micro_batches(pairs, pad_token_id, tokens_per_micro_batch)
    labels = None
    if all(name in lists.column_names for name in SIGNALS):
        labels = Labels(*(_pad_label(lists[name], where) for name in SIGNALS))
    return ListBatch(
        rows=np.arange(len(where)) if rows is None else rows,
        micro_batches=micro_batches,
        slots=where.flatten().nonzero()[:, 0][torch.from_numpy(micro_batches.pairs)],
        where=where,
        traffic=list_traffic(lists),
        labels=labels,
        pages=pad_pages(lists),
    )


def list_traffic(lists: pa.Table) -> Traffic:
    """What a mix may know of some lists; without labels there are no impressions."""
    frequency, bucket = (torch.tensor(lists[name].to_numpy()) for name in ("frequency", "bucket"))
    impressions = torch.zeros(len(frequency))
    if "impressions" in lists.column_names:
        impressions = torch.tensor(lists["impressions"].to_numpy(), dtype=torch.float32)
    return Traffic(frequency, bucket, impressions)


def _pad_label(column: pa.ChunkedArray, where: torch.Tensor) -> torch.Tensor:
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    label = torch.full(where.shape, torch.nan)
    label[where] = torch.tensor(values, dtype=torch.float32)
    return label


def pad_pages(lists: pa.Table) -> tuple[Pages, ...]:
    """The column `pages` of some lists as tensors.

    Pages end at their last candidate and are put together by length, up to 16 and up to each
    further power of two; so one long page costs what it shows, and not a column for each of its
    results in every row.
    """
    if PAGES not in lists.column_names:
        return ()
    listed = lists[PAGES].combine_chunks()
    pages = listed.flatten()
    document, clicks = _values(pages, "document"), _values(pages, "clicks")
    lengths = pages.field("document").value_lengths().to_numpy().astype(np.int64)
    starts = np.append(0, np.cumsum(lengths))
    width = np.ones(len(lengths), dtype=np.int64)
    candidate = np.flatnonzero(document[:-1] >= 0)
    row = np.repeat(np.arange(len(lengths)), lengths)[candidate]
    np.maximum.at(width, row, candidate - starts[row] + 1)
    sessions = pages.field("sessions").to_numpy()
    of_list = np.repeat(np.arange(len(listed)), listed.value_lengths().to_numpy())
    length_class = np.frexp(np.maximum(width, SHORT) - 1)[1]
    blocks = []
    for number in np.unique(length_class) if len(width) else [0]:
        rows = np.flatnonzero(length_class == number)
        at = np.arange(width[rows].max(initial=1))
        shown = at < np.minimum(width, lengths)[rows, None]
        at = np.where(shown, starts[rows, None] + at, 0)
        place = np.where(shown, document[at], -1).astype(np.int64)
        share = np.where(shown, clicks[at], 0) / sessions[rows, None]
        blocks.append(
            Pages(
                of_list=torch.tensor(of_list[rows]),
                document=torch.tensor(place),
                clicks=torch.tensor(share.astype(np.float32)),
                sessions=torch.tensor(sessions[rows].astype(np.float32)),
            )
        )
    return tuple(blocks)


def _values(pages: pa.StructArray, name: str) -> NDArray[np.int64]:
    """What all pages hold, one after the other, and a 0 at the end."""
    return np.append(pages.field(name).flatten().to_numpy(zero_copy_only=False), 0)
