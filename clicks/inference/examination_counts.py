"""The counts that examination is learned from: chosen pairs, those with equal counts as one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clicks.inference.identification import Identified
from clicks.log.click_log import ClickLog
from clicks.log.large_arrays import large_take, large_zeros, pieces
from clicks.log.pair_counts import PairCounts, count_by_slot
from clicks.log.trials import Array

# Examination is learned from the MOST_PAIRS pairs with the most impressions (and from all that tie
# with the last of them). More pairs are added, MOST_PAIRS at a time, until every slot has half of
# the impressions of the pairs that link it to other slots, or ENOUGH_IMPRESSIONS of these. The
# choice does not depend on clicks, so that it costs precision, but adds no bias.
MOST_PAIRS = 25_000
ENOUGH_IMPRESSIONS = 50_000
CHOSEN, LINKED = 1, 2  # bits of the kind of a pair


@dataclass(frozen=True)
class DistinctCounts:
    """The distinct values of (clicks, non-clicks by slot) among the chosen pairs.

    Value n has the non-clicks of the rows first[n] to last[n] - 1 of `slot` and `non_clicks`. Only
    identified slots are kept; they are renumbered from 0 in their order.

    Attributes:
        first: first row of each value, int64, shape (distinct,).
        last: the row behind the last one of each value, int64, shape (distinct,).
        clicks: clicks of one pair with this value, float64, shape (distinct,).
        impressions: impressions of one such pair, float64, shape (distinct,).
        pairs: how many pairs have this value, float64, shape (distinct,).
        slot: renumbered slot of each row, int32, shape (rows,).
        non_clicks: impressions without a click in each row, float64, shape (rows,).
        slot_clicks: clicks of all chosen pairs by renumbered slot, float64, shape (slots,).
        slot_impressions: impressions of all chosen pairs by renumbered slot, float64, shape
            (slots,).
        chosen: the chosen pairs, as numbers of the log's pairs; int64, shape (chosen,).
        value_of_chosen: which distinct value each chosen pair has, int32, shape (chosen,).
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    clicks: Array
    impressions: Array
    pairs: Array
    slot: NDArray[np.int32]
    non_clicks: Array
    slot_clicks: Array
    slot_impressions: Array
    chosen: NDArray[np.int64]
    value_of_chosen: NDArray[np.int32]


def gather_counts(
    log: ClickLog, counts: PairCounts, slot: NDArray[np.int32], identified: Identified
) -> DistinctCounts:
    """Chooses the pairs to learn examination from, and collects their distinct counts.

    Args:
        log: the encoded sessions.
        counts: clicks and non-clicks of each pair of the log, from `count_pairs`.
        slot: examination slot of each result, from 0, int32, shape (results,).
        identified: which slots the log identifies, from `identify_slots`.
    """
    known, slots = identified.slots, len(identified.slots)
    clicks, impressions = counts.pair_clicks, counts.pair_impressions
    if not known.all():
        at_known = log.trials(known[slot])
        clicks, impressions = at_known.successes, at_known.trials
    chosen, slot_clicks, slot_impressions = _choose(log, slot, identified, impressions)
    pairs = np.flatnonzero(chosen)
    # Values are told apart by a sum of random 64-bit numbers: one for each click, and one for each
    # non-click at a slot.
    random = np.random.default_rng(0).integers(1, 2**63, slots + 1, np.uint64)
    random[:-1][~known] = 0
    # Sums are modulo 2^64, so that they are exact as differences of running sums.
    known_rows = large_zeros(len(counts.slot) + 1, np.uint64)
    for some in pieces(len(counts.slot)):
        rows = counts.non_clicks[some].astype(np.uint64) * random[counts.slot[some]]
        sums = known_rows[some.start + 1 : some.stop + 1]
        np.cumsum(rows, out=sums)
        sums += known_rows[some.start]
    key = large_zeros(len(pairs), np.uint64)
    for some in pieces(len(pairs)):
        here = pairs[some]
        key[some] = clicks[here].astype(np.uint64) * random[-1]
        key[some] += known_rows[counts.last[here]] - known_rows[counts.first[here]]
    example, value_of_chosen, multiplicity = _distinct(key)
    example = pairs[example]
    first, last = counts.first[example], counts.last[example]
    row = np.repeat(first - np.append(0, np.cumsum(last - first)[:-1]), last - first)
    row += np.arange(len(row))
    ends = np.cumsum(last - first)
    if not known.all():
        kept = known[counts.slot[row]]
        ends = np.append(0, np.cumsum(kept))[ends]
        row = row[kept]
    return DistinctCounts(
        first=np.append(0, ends[:-1]),
        last=ends,
        clicks=clicks[example],
        impressions=impressions[example],
        pairs=multiplicity.astype(np.float64),
        slot=(np.cumsum(known, dtype=np.int32) - 1)[counts.slot[row]],
        non_clicks=counts.non_clicks[row],
        slot_clicks=slot_clicks[known],
        slot_impressions=slot_impressions[known],
        chosen=pairs,
        value_of_chosen=value_of_chosen,
    )


def _distinct(
    key: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The first of each value, the number of each key's value, and how often each value is there.

    As `np.unique` has them, without sorting all keys.
    """
    code, values = pd.factorize(key)
    order = np.argsort(values)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    value_of = large_take(rank, code)
    first = np.empty(len(order), dtype=np.int64)
    for some in reversed(list(pieces(len(key)))):
        first[value_of[some][::-1]] = np.arange(some.stop - 1, some.start - 1, -1)
    return first, value_of, np.bincount(code, minlength=len(order))[order]


def _choose(
    log: ClickLog, slot: NDArray[np.int32], identified: Identified, impressions: Array
) -> tuple[NDArray[np.bool_], Array, Array]:
    """The pairs to learn from, bool, shape (pairs,); their clicks and impressions by slot.

    Args:
        log: the encoded sessions.
        slot: examination slot of each result, from 0, shape (results,).
        identified: which slots the log identifies.
        impressions: impressions of each pair at identified slots, shape (pairs,).
    """
    known = identified.slots
    linked = np.where(identified.pairs, np.uint8(LINKED), np.uint8(0))
    chosen = _most(impressions)
    while True:
        kind = np.asarray(linked | chosen, dtype=np.uint8)
        clicks, shown = count_by_slot(log, slot, len(known), kind, CHOSEN + LINKED + 1)
        of_linked = shown[LINKED | CHOSEN]
        enough = np.minimum((of_linked + shown[LINKED]) / 2, ENOUGH_IMPRESSIONS)
        short = known & (of_linked < enough)
        if not short.any():
            taken = [CHOSEN, CHOSEN | LINKED]
            return chosen, clicks[taken].sum(axis=0), shown[taken].sum(axis=0)
        further = log.trials(short[slot]).trials
        further[chosen | ~identified.pairs] = 0
        chosen |= _most(further)


def _most(impressions: Array) -> NDArray[np.bool_]:
    """The MOST_PAIRS pairs with the most impressions and those that tie, bool, shape (pairs,)."""
    least = 0.0
    if len(impressions) > MOST_PAIRS:
        least = np.partition(impressions, -MOST_PAIRS)[-MOST_PAIRS]
    return (impressions >= least) & (impressions > 0)
