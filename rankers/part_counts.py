"""What the driver of a preparation is told: counts of each part of the queries, and of all.

Lists and token ids stay in files where tasks wrote them.
"""

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.places import Place, write_whole
from rankers.data.bucket_floors import FrequencyRanges
from rankers.data.store import write_counts
from rankers.data.token_files import TEMPLATE, part_name
from rankers.mixes import TrainingLog
from rankers.supervision import Told

TRAINING, VALIDATION = "training", "validation"


@dataclass(frozen=True)
class Counted:
    """What the driver is told of a part, or of all parts.

    Attributes:
        lists: of training and of validation, how many each part has, by its number.
        told: what the lists tell of whether they can be learned from.
        templates: how pairs are put together, see `template_content`; more than one where parts
            differ.
        longest_page: positions of the longest page of sessions.
        used: rows of the documents that lists hold, int64, ascending.
        log: of the training queries, or of a sample of them.
        ranges: of frequency, of each bucket.
    """

    lists: dict[str, dict[int, int]]
    told: Told
    templates: frozenset[str]
    longest_page: int
    used: NDArray[np.int64]
    log: TrainingLog
    ranges: FrequencyRanges


def count_parts(tables: Iterable[pa.Table], documents: int) -> tuple[Counted, NDArray[np.bool_]]:
    """What all parts tell together, and which documents their lists hold, bool (documents,).

    Args:
        tables: from `PartTask`, in any order.
        documents: how many the collection has.
    """
    used = np.zeros(documents, np.bool_)
    counted: list[Counted] = []
    for table in tables:
        for content in table["counted"].to_pylist():
            part: Counted = pickle.loads(content)
            used[part.used] = True
            counted.append(replace(part, used=part.used[:0]))
    counted.sort(key=lambda part: min(part.lists[TRAINING]))
    return reduce(_together, counted), used


def list_file(part: int) -> str:
    """The name of the file of a part's lists."""
    return f"{part_name(part)}.arrow"


def write_contents(counted: Counted, lists: Place, tokens: Place) -> None:
    """Writes which parts there are, by which the folders of lists and of token ids are whole.

    Args:
        counted: of all parts.
        lists: folder of the lists.
        tokens: folder of the token ids.
    """
    for name, of_parts in counted.lists.items():
        files = {list_file(part): of_parts[part] for part in sorted(of_parts) if of_parts[part]}
        write_counts(files, lists / name)
    for template in counted.templates:
        write_whole(tokens / TEMPLATE, template)


def _together(one: Counted, other: Counted) -> Counted:
    return Counted(
        lists={name: lists | other.lists[name] for name, lists in one.lists.items()},
        told=one.told.with_others(other.told),
        templates=one.templates | other.templates,
        longest_page=max(one.longest_page, other.longest_page),
        used=one.used,
        log=TrainingLog(
            np.append(one.log.frequency, other.log.frequency),
            np.append(one.log.impressions, other.log.impressions),
        ),
        ranges=one.ranges.with_others(other.ranges),
    )
