"""The counts that examination is learned from: pairs with equal counts stand side by side."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clicks.inference.identification import Identified
from clicks.log.click_log import ClickLog
from clicks.log.pair_counts import PairCounts, count_places
from clicks.log.trials import Array

# Examination is learned from the pairs with the most impressions, so many and all with as many;
# and from further ones, as many at a time, until every place has half of its impressions, or so
# many, of pairs that link it to others. Which pairs they are does not depend on how much they are
# clicked, so that this loses precision, but does not bias.
MOST_PAIRS = 25_000
ENOUGH_IMPRESSIONS = 50_000
CHOSEN, LINKED = 1, 2  # bits of the kind of a pair


@dataclass(frozen=True)
class Evidence:
    """Distinct counts of pairs.

    The non-clicks of evidence n are the rows first[n] to last[n].

    Attributes:
        first: shape (evidence,), int64.
        last: shape (evidence,), int64.
        clicks: of a pair, shape (evidence,).
        impressions: of a pair, shape (evidence,).
        pairs: how many have these counts.
        place: of each row, int32; the places that the log tells of are numbered from 1, and 0 is
            the first place.
        non_clicks: of each row.
        place_clicks: of all chosen pairs, by place that the log tells of.
        place_impressions: of all chosen pairs, by place that the log tells of.
        chosen: the pairs that were chosen.
        number: which evidence each of them is.
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
    chosen: NDArray[np.int64]
    number: NDArray[np.int64]


def gather_evidence(
    log: ClickLog, counts: PairCounts, place: NDArray[np.int32], identified: Identified
) -> Evidence:
    """The evidence of the pairs that tell most of the places that the log tells of.

    Args:
        log: the sessions.
        counts: clicks and impressions of each pair in these sessions.
        place: of each result, from 0, shape of `log.pair`.
        identified: what the log tells.
    """
    told, places = identified.places, len(identified.places)
    clicks, impressions = counts.pair_clicks, counts.pair_impressions
    if not told.all():
        of_told = log.trials(told[place])
        clicks, impressions = of_told.successes, of_told.trials
    chosen, place_clicks, place_impressions = _choose(log, place, identified, impressions)
    pairs = np.flatnonzero(chosen)
    # Evidence is told apart by a random 64-bit number for each click, and each place's non-click.
    random = np.random.default_rng(0).integers(1, 2**63, places + 1, np.uint64)
    random[:-1][~told] = 0
    key = _keys(
        *(pairs, counts.first, counts.last, clicks, counts.place, counts.non_clicks, random)
    )
    _, example, kind, multiplicity = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    example = pairs[example]
    first, last = counts.first[example], counts.last[example]
    row = np.repeat(first - np.append(0, np.cumsum(last - first)[:-1]), last - first)
    row += np.arange(len(row))
    ends = np.cumsum(last - first)
    if not told.all():
        kept = told[counts.place[row]]
        ends = np.append(0, np.cumsum(kept))[ends]
        row = row[kept]
    return Evidence(
        first=np.append(0, ends[:-1]),
        last=ends,
        clicks=clicks[example],
        impressions=impressions[example],
        pairs=multiplicity.astype(np.float64),
        place=(np.cumsum(told, dtype=np.int32) - 1)[counts.place[row]],
        non_clicks=counts.non_clicks[row],
        place_clicks=place_clicks[told],
        place_impressions=place_impressions[told],
        chosen=pairs,
        number=kind,
    )


def _choose(
    log: ClickLog, place: NDArray[np.int32], identified: Identified, impressions: Array
) -> tuple[NDArray[np.bool_], Array, Array]:
    """The pairs to learn from, and their clicks and impressions by place.

    Args:
        log: the sessions.
        place: of each result.
        identified: what the log tells.
        impressions: of each pair at the places that the log tells of.
    """
    told = identified.places
    linked = np.where(identified.pairs, np.uint8(LINKED), np.uint8(0))
    chosen = _most(impressions)
    while True:
        kind = np.asarray(linked | chosen, dtype=np.uint8)
        clicks, shown = count_places(log, place, len(told), kind, CHOSEN + LINKED + 1)
        of_linked = shown[LINKED | CHOSEN]
        enough = np.minimum((of_linked + shown[LINKED]) / 2, ENOUGH_IMPRESSIONS)
        short = told & (of_linked < enough)
        if not short.any():
            taken = [CHOSEN, CHOSEN | LINKED]
            return chosen, clicks[taken].sum(axis=0), shown[taken].sum(axis=0)
        further = log.trials(short[place]).trials
        further[chosen | ~identified.pairs] = 0
        chosen |= _most(further)


def _most(impressions: Array) -> NDArray[np.bool_]:
    """The pairs with the most impressions, 25,000 and all with as many."""
    least = 0.0
    if len(impressions) > MOST_PAIRS:
        least = np.partition(impressions, -MOST_PAIRS)[-MOST_PAIRS]
    return (impressions >= least) & (impressions > 0)


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
