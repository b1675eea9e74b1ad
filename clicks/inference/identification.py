"""What a log can tell of examination: which places the same documents link to the first one."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clicks.log.click_log import ClickLog
from clicks.log.trials import Array


@dataclass(frozen=True)
class Identified:
    """What a log can tell.

    Attributes:
        places: whether it tells how much a place is examined, bool, shape (places,); the first
            place always is.
        pairs: whether a pair was shown at several places that are clicked, by whatever pairs;
            shape (pairs,).
    """

    places: NDArray[np.bool_]
    pairs: NDArray[np.bool_]


def identify_places(
    log: ClickLog, place: NDArray[np.int32], places: int, pair_clicks: Array
) -> Identified:
    """Finds the places whose examination, relative to the first one's, the log can tell.

    A click tells the product of examination and attractiveness. Only a pair that is shown at two
    places tells them apart, and only if it is clicked; so places can be compared where a chain
    of such pairs leads from one to the other. Of a place that nobody ever clicked, nothing but
    an upper bound is known.

    Args:
        log: the sessions.
        place: of each result, from 0, shape of `log.pair`.
        places: how many there are.
        pair_clicks: of each pair.
    """
    parts, pairs = len(log.parts) - 1, len(pair_clicks)
    linked = np.zeros(pairs, dtype=np.bool_)
    clicked = np.bincount(place[log.clicks], minlength=places) > 0
    root = np.tile(np.arange(places, dtype=np.int32), (parts, 1))
    of_linked = np.zeros((parts, places), dtype=np.bool_)
    _link(
        *(log.parts, log.starts, log.pair, log.clicks, place, pair_clicks, clicked),
        *(np.full(pairs, np.int32(-1)), linked, root, of_linked),
    )
    joined = np.flatnonzero((root != np.arange(places)).any(axis=0))
    ends = root[:, joined].ravel(), np.tile(joined, parts)
    links = coo_array((np.ones(len(ends[0]), dtype=np.bool_), ends), shape=(places, places))
    _, component = connected_components(links, directed=False)
    known: NDArray[np.bool_] = np.logical_or.reduce(of_linked)
    known &= known[0] & (component == component[0])
    known[0] = True
    return Identified(known, linked)


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _link(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    place: NDArray[np.int32],
    pair_clicks: Array,
    clicked: NDArray[np.bool_],
    before: NDArray[np.int32],
    linked: NDArray[np.bool_],
    root: NDArray[np.int32],
    of_linked: NDArray[np.bool_],
) -> None:
    """Joins the places of each clicked pair, for each part in trees of its own.

    `before` holds the place that each pair was last seen at; `of_linked` says which places got a
    click of a pair that was seen at several.
    """
    for part in prange(len(parts) - 1):
        up = root[part]
        first, last = starts[parts[part]], starts[parts[part + 1]]
        for at in range(first, last):
            number, here = pair[at], place[at]
            there = before[number]
            if there == here or not clicked[here]:
                continue
            before[number] = here
            if there < 0:
                continue
            linked[number] = True
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
            if clicks[at] and linked[pair[at]]:
                of_linked[part, place[at]] = True
