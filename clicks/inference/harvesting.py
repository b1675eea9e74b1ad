"""Intervention harvesting: what pairs that a log shows at two positions say of these positions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array, csr_array, triu
from scipy.sparse.csgraph import connected_components

from clicks.log.click_log import ClickLog
from clicks.log.pair_counts import count_pairs
from clicks.log.trials import Array

Estimator = Callable[[Array], Array]  # propensities, from the sums over all groups of `Links`
# Fewer pairs that link two positions say nothing that could be relied on.
LEAST_OVERLAP = 20


@dataclass(frozen=True)
class Links:
    """Two positions are linked where at least 20 pairs are shown at both.

    Attributes:
        positions: how many there are.
        upper: the one nearer to the top, from 0, int64, shape (links,).
        lower: the other one, likewise.
        sums: of the pairs of each link their number, and their click rates at the upper and at the
            lower position, summed; by group of queries, float64, shape (groups, 3, links).
    """

    positions: int
    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    sums: Array


def link_positions(log: ClickLog, groups: int, numbers: int) -> Links:
    """Finds the links between positions.

    Args:
        log: the sessions.
        groups: to put queries into and to sum over, one by one; fewer, but at least 50, where
            there are many links.
        numbers: the most to keep of all groups, unless they are 50.
    """
    counts = count_by_position(log)
    several = np.flatnonzero(np.diff(counts.indptr) > 1)
    counts = counts[several]
    rate = counts.data.imag / (counts.data.real + counts.data.imag)
    shown = csr_array((np.ones(counts.nnz), counts.indices, counts.indptr), counts.shape)
    overlap = triu(shown.T @ shown, 1).tocoo()
    usable = overlap.data >= LEAST_OVERLAP
    key = np.sort(overlap.row[usable].astype(np.int64) * log.positions + overlap.col[usable])
    groups = min(groups, max(numbers // max(3 * len(key), 1), 50))
    group = log.pairs.query[several] % groups
    sums = np.zeros((groups, 3, len(key)))
    _sum_links(shown.indptr, shown.indices, rate, group, key, log.positions, sums)
    return Links(log.positions, key // log.positions, key % log.positions, sums)


def count_by_position(log: ClickLog) -> csr_array:
    """Of pairs by position, the non-clicks and, as imaginary parts, the clicks."""
    counted = []
    for clicks in (log.clicks, ~log.clicks):
        counts = count_pairs(replace(log, clicks=clicks), log.position, log.positions)
        sizes = counts.last - counts.first
        starts = np.append(0, np.cumsum(sizes))
        row = np.repeat(counts.first - starts[:-1], sizes) + np.arange(starts[-1])
        content = counts.non_clicks[row], counts.place[row], starts
        matrix = csr_array(content, (len(sizes), log.positions))
        matrix.sort_indices()
        counted.append(matrix)
    non_clicks, clicked = counted
    return non_clicks + 1j * clicked


def pivot_one(links: Links) -> Estimator:
    """The ratio of the click rates at the position and at the first one."""
    link = np.flatnonzero(links.upper == 0)

    def estimate(sums: Array) -> Array:
        propensity = np.append(1.0, np.full(links.positions - 1, np.nan))
        propensity[links.lower[link]] = _ratios(sums[:, link])
        return propensity

    return estimate


def adjacent_chain(links: Links) -> Estimator:
    """The product of the ratios of click rates at neighbouring positions."""
    link = np.flatnonzero(links.lower == links.upper + 1)

    def estimate(sums: Array) -> Array:
        ratio = np.append(1.0, np.full(links.positions - 1, np.nan))
        ratio[links.lower[link]] = _ratios(sums[:, link])
        return np.cumprod(ratio)

    return estimate


def all_pairs(links: Links) -> Estimator:
    """The propensities that make the click rates at both ends of all links most likely.

    Each link's pairs have a relevance of their own. There is one best ratio of two positions only
    if, over links, there are clicks on the way from each to the other (the condition of Ford,
    American Mathematical Monthly 1957, for paired comparisons): those that are so connected with
    the first one are known.
    """
    _, at_upper, at_lower = links.sums.sum(axis=0)
    arcs = np.concatenate(
        [
            np.stack([links.upper, links.lower])[:, at_lower > 0],
            np.stack([links.lower, links.upper])[:, at_upper > 0],
        ],
        axis=1,
    )
    size = (links.positions, links.positions)
    graph = coo_array((np.ones(arcs.shape[1]), tuple(arcs)), shape=size)
    _, component = connected_components(graph, connection="strong")
    known = component == component[0]
    link = np.flatnonzero(known[links.upper] & known[links.lower])
    number = np.cumsum(known) - 1
    upper, lower, positions = number[links.upper[link]], number[links.lower[link]], known.sum()
    start = np.zeros(positions)

    def estimate(sums: Array) -> Array:
        overlap, *clicked = sums[:, link]

        def loss(logs: Array) -> tuple[float, Array]:
            """Of the logarithms of propensities, and its slopes."""
            value, slope = _link_loss(np.exp(logs[lower] - logs[upper]), overlap, *clicked)
            slopes = np.bincount(lower, slope, positions) - np.bincount(upper, slope, positions)
            return value, np.asarray(slopes, dtype=np.float64)

        nonlocal start
        bounds = [(0.0, 0.0)] + [(-15.0, 15.0)] * (positions - 1)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        start = found.x
        propensity = np.full(links.positions, np.nan)
        propensity[known] = np.exp(found.x)
        return propensity

    return estimate


def _link_loss(ratio: Array, pairs: Array, at_upper: Array, at_lower: Array) -> tuple[float, Array]:
    """The negative log-likelihood of the click rates of links, and its slopes by log ratio.

    Each link's pairs have the click rate at the upper position that is most likely for its ratio
    of propensities: where the slope by that rate is 0, a quadratic equation.
    """
    square, linear = 2 * pairs * ratio, pairs + at_lower + ratio * (pairs + at_upper)
    clicks = at_upper + at_lower
    root = np.sqrt(np.maximum(linear**2 - 4 * square * clicks, 0))
    upper = np.divide(2 * clicks, linear + root, out=np.zeros(len(pairs)), where=pairs > 0)
    lower = np.clip(ratio * upper, 1e-12, 1 - 1e-12)
    upper = np.clip(upper, 1e-12, 1 - 1e-12)
    likelihood = at_upper @ np.log(upper) + (pairs - at_upper) @ np.log1p(-upper)
    likelihood += at_lower @ np.log(lower) + (pairs - at_lower) @ np.log1p(-lower)
    return -float(likelihood), (pairs - at_lower) * lower / (1 - lower) - at_lower


def _ratios(sums: Array) -> Array:
    """The rate at the lower position by that at the upper one, NaN where nothing was clicked."""
    _, upper, lower = sums
    return np.divide(lower, upper, out=np.full(len(upper), np.nan), where=upper > 0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sum_links(
    starts: NDArray[np.int32],
    position: NDArray[np.int32],
    rate: Array,
    group: NDArray[np.int64],
    key: NDArray[np.int64],
    positions: int,
    sums: Array,
) -> None:
    """Adds each pair to its links; positions are in ascending order within a pair."""
    for pair in range(len(group)):
        of_group = sums[group[pair]]
        for upper in range(starts[pair], starts[pair + 1]):
            for lower in range(upper + 1, starts[pair + 1]):
                wanted = np.int64(position[upper]) * positions + position[lower]
                link = np.searchsorted(key, wanted)
                if link < len(key) and key[link] == wanted:
                    of_group[0, link] += 1
                    of_group[1, link] += rate[upper]
                    of_group[2, link] += rate[lower]
