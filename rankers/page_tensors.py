"""Pages of training lists as tensors."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

PAGES = "pages"


@dataclass(frozen=True)
class Pages:
    """The pages of a batch of lists.

    Attributes:
        of_list: which list each row belongs to, int64 (rows,).
        document: the place in that list of the document at each position, int64 (rows, positions);
            -1 beyond a page's end, and for a document that is no candidate.
        clicks: the share of the row's sessions that clicked, float32 (rows, positions).
        sessions: how many they are, float32 (rows,).
    """

    of_list: Tensor
    document: Tensor
    clicks: Tensor
    sessions: Tensor


def pad_pages(batch: pa.Table, device: torch.device) -> Pages:
    """Turns the column `pages` of a batch of lists into tensors on a device."""
    listed = batch[PAGES].combine_chunks()
    pages = listed.flatten()
    lengths = torch.tensor(pages.field("document").value_lengths().to_numpy())
    where = torch.arange(int(lengths.max()) if len(lengths) else 0) < lengths[:, None]
    document = torch.full(where.shape, -1)
    document[where] = torch.tensor(_values(pages, "document"), dtype=torch.int64)
    clicks = torch.zeros(where.shape)
    clicks[where] = torch.tensor(_values(pages, "clicks"), dtype=torch.float32)
    sessions = torch.tensor(pages.field("sessions").to_numpy(), dtype=torch.float32)
    rows = torch.tensor(listed.value_lengths().to_numpy())
    return Pages(
        of_list=torch.arange(len(rows)).repeat_interleave(rows).to(device),
        document=document.to(device),
        clicks=(clicks / sessions[:, None]).to(device),
        sessions=sessions.to(device),
    )


def _values(pages: pa.StructArray, name: str) -> NDArray[np.int64]:
    return np.array(pages.field(name).flatten().to_numpy(zero_copy_only=False))
