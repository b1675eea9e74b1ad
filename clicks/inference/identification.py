"""Which examination probabilities a log identifies: those of slots linked to the first one.

An examination slot is what one examination probability stands for: a position in the
position-based model, a position and the position of the last click in the user browsing model.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clicks.log.click_log import ClickLog, Rows
from clicks.log.large_arrays import large_zeros
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array


@dataclass(frozen=True)
class Identified:
    """What a log identifies.

    Attributes:
        slots: whether the log identifies a slot's examination probability relative to the first
            slot's, bool, shape (slots,); true of the first slot, whose probability is 1.
        pairs: whether a pair has impressions in two or more slots that have clicks, of any pair;
            bool, shape (pairs,).
    """

    slots: NDArray[np.bool_]
    pairs: NDArray[np.bool_]


def identify_slots(
    log: ClickLog, slot: NDArray[np.int32], slots: int, pair_clicks: Array
) -> Identified:
    """Finds the slots whose examination probability, relative to the first one's, is identified.

    Clicks determine the product of examination and attractiveness. Only a clicked pair that is
    shown in two slots separates the two factors, so slots can be compared where a chain of such
    pairs connects them. For a slot without clicks only an upper bound is known.

    Args:
        log: the encoded sessions.
        slot: examination slot of each result, from 0, int32, shape (results,).
        slots: the number of slots.
        pair_clicks: clicks of each pair in the whole log, float64, shape (pairs,).
    """
    parts, pairs = len(log.parts) - 1, len(pair_clicks)
    linked = large_zeros(pairs, np.bool_)
    clicked = np.bincount(slot[log.clicks], minlength=slots) > 0
    root = np.tile(np.arange(slots, dtype=np.int32), (parts, 1))
    of_linked = np.zeros((parts, slots), dtype=np.bool_)
    before = large_zeros(pairs, np.int32)
    before[:] = -1
    found = Links(before, linked, root, of_linked)
    for_each_part(_link, parts, log.rows, slot, pair_clicks, clicked, found)
    joined = np.flatnonzero((root != np.arange(slots)).any(axis=0))
    ends = root[:, joined].ravel(), np.tile(joined, parts)
    links = coo_array((np.ones(len(ends[0]), dtype=np.bool_), ends), shape=(slots, slots))
    _, component = connected_components(links, directed=False)
    known: NDArray[np.bool_] = np.logical_or.reduce(of_linked)
    known &= known[0] & (component == component[0])
    known[0] = True
    return Identified(known, linked)


class Links(NamedTuple):
    """What `_link` finds.

    Attributes:
        before: the slot in which each pair was last shown, -1 for none, shape (pairs,).
        linked: which pairs were shown in several slots, shape (pairs,).
        root: trees of joined slots, of each part, shape (parts, slots).
        of_linked: which slots have a click of a pair that was shown in several, of each part, shape
            (parts, slots).
    """

    before: NDArray[np.int32]
    linked: NDArray[np.bool_]
    root: NDArray[np.int32]
    of_linked: NDArray[np.bool_]


@compiled()  # type: ignore[untyped-decorator]
def _link(
    part: int,
    of: Rows,
    slot: NDArray[np.int32],
    pair_clicks: Array,
    clicked: NDArray[np.bool_],
    found: Links,
) -> None:
    """Joins the slots of each clicked pair: union-find, with separate trees for each part."""
    up = found.root[part]
    first, last = of.starts[of.parts[part]], of.starts[of.parts[part + 1]]
    for at in range(first, last):
        number, here = of.pair[at], slot[at]
        there = found.before[number]
        if there == here or not clicked[here]:
            continue
        found.before[number] = here
        if there < 0:
            continue
        found.linked[number] = True
        if pair_clicks[number] == 0:
            continue
        while up[here] != here:
            up[here] = up[up[here]]
            here = up[here]
        while up[there] != there:
            up[there] = up[up[there]]
            there = up[there]
        up[max(here, there)] = min(here, there)
    for at in range(first, last):
        if of.clicks[at] and found.linked[of.pair[at]]:
            found.of_linked[part, slot[at]] = True
