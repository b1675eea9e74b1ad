"""Pages of training lists as tensors."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

PAGES = "pages"
SHORT = 16


@dataclass(frozen=True)
class Pages:
    """Pages of about the same length, of a batch of lists.

    Attributes:
        of_list: which list each row belongs to, int64 (rows,).
        document: the place in that list of the document at each position, int64 (rows, positions);
            -1 beyond a page's last candidate, and for a document that is no candidate.
        clicks: the share of the row's sessions that clicked, float32 (rows, positions).
        sessions: how many they are, float32 (rows,).
    """

    of_list: Tensor
    document: Tensor
    clicks: Tensor
    sessions: Tensor


def pad_pages(batch: pa.Table, device: torch.device) -> list[Pages]:
    """Turns the column `pages` of a batch of lists into tensors on a device.

    Pages end at their last candidate and are put together by length, up to 16 and up to each
    further power of two; so one long page costs what it shows, and not a column for each of its
    results in every row.
    """
    listed = batch[PAGES].combine_chunks()
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
                of_list=torch.tensor(of_list[rows]).to(device),
                document=torch.tensor(place).to(device),
                clicks=torch.tensor(share.astype(np.float32)).to(device),
                sessions=torch.tensor(sessions[rows].astype(np.float32)).to(device),
            )
        )
    return blocks


def _values(pages: pa.StructArray, name: str) -> NDArray[np.int64]:
    """What all pages hold, one after the other, and a 0 at the end."""
    return np.append(pages.field(name).flatten().to_numpy(zero_copy_only=False), 0)
