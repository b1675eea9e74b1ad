"""The counts that examination is learned from: pairs with equal counts stand side by side."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clicks.click_log import ClickLog
from clicks.pair_counts import PairCounts, count_places
from clicks.shrinkage import Array

# Examination is learned from the pairs with the most impressions, at least so many. Which pairs
# they are does not depend on clicks, so that this loses precision, but does not bias; the pairs
# that are left out have few impressions each, which say little of examination.
MOST_PAIRS = 25_000


@dataclass(frozen=True)
class Evidence:
    """Distinct counts of pairs.

    The non-clicks of evidence n are the rows first[n] to last[n].

    Attributes:
        first: shape (evidence,), int64.
        last: likewise.
        clicks: of a pair, shape (evidence,).
        impressions: likewise.
        pairs: how many have these counts.
        place: of each row, int32; places that occur are numbered from 1, and 0 is the first place.
        non_clicks: of each row.
        place_clicks: of all pairs, by place that occurs.
        place_impressions: likewise.
        occurring: which places these are.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    clicks: Array
    impressions: Array
    pairs: Array
    place: NDArray[np.int32]
    non_clicks: Array
    place_clicks: Array
    place_impressions: Array
    occurring: NDArray[np.int64]


def gather_evidence(
    log: ClickLog, counts: PairCounts, place: NDArray[np.int32], places: int
) -> Evidence:
    """The evidence of the pairs that are shown most.

    Args:
        log: the sessions.
        counts: of it.
        place: of each position, from 0, shape of `log.pair`.
        places: how many there are.
    """
    impressions = counts.pair_impressions
    if len(impressions) > MOST_PAIRS:
        least = np.partition(impressions, -MOST_PAIRS)[-MOST_PAIRS]
    else:
        least = 0.0
    chosen = impressions >= least
    place_clicks, place_impressions = count_places(log, place, places, chosen)
    # Only places that occur are worked on: few of the many that long pages could have.
    occurring = np.union1d(0, np.flatnonzero(place_impressions))
    number = np.zeros(places, dtype=np.int32)
    number[occurring] = np.arange(len(occurring))
    pairs = np.flatnonzero(chosen)
    # Evidence is told apart by a random 64-bit number for each click, and each place's non-click.
    random = np.random.default_rng(0).integers(1, 2**63, places + 1, np.uint64)
    key = _keys(
        *(pairs, counts.first, counts.last, counts.pair_clicks),
        *(counts.place, counts.non_clicks, random),
    )
    _, example, multiplicity = np.unique(key, return_index=True, return_counts=True)
    example = pairs[example]
    first, last = counts.first[example], counts.last[example]
    row = np.repeat(first - np.append(0, np.cumsum(last - first)[:-1]), last - first)
    row += np.arange(len(row))
    ends = np.cumsum(last - first)
    return Evidence(
        first=ends - (last - first),
        last=ends,
        clicks=counts.pair_clicks[example],
        impressions=impressions[example],
        pairs=multiplicity.astype(np.float64),
        place=number[counts.place[row]],
        non_clicks=counts.non_clicks[row],
        place_clicks=place_clicks[occurring],
        place_impressions=place_impressions[occurring],
        occurring=occurring,
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _keys(
    pairs: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    clicks: Array,
    place: NDArray[np.int32],
    non_clicks: Array,
    random: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """A number for each pair; pairs with equal counts have the same one."""
    keys = np.empty(len(pairs), dtype=np.uint64)
    for item in range(len(pairs)):
        pair = pairs[item]
        key = np.uint64(clicks[pair]) * random[-1]
        for row in range(first[pair], last[pair]):
            key += np.uint64(non_clicks[row]) * random[place[row]]
        keys[item] = key
    return keys
