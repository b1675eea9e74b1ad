"""Intervention harvesting: propensities from pairs that a log shows at several positions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array, csr_array, triu
from scipy.sparse.csgraph import connected_components

from clicks.log.click_log import ClickLog
from clicks.log.pair_counts import count_pairs
from clicks.log.threads import compiled
from clicks.log.trials import Array

Estimator = Callable[[Array], Array]  # propensities (positions,) from sums (3, links)
LEAST_OVERLAP = 20  # pairs that link two positions; fewer are too noisy


@dataclass(frozen=True)
class Links:
    """Links of positions: two positions are linked if at least 20 pairs are shown at both.

    Attributes:
        positions: the number of positions.
        upper: upper position of each link, from 0, int64, shape (links,).
        lower: lower position of each link, from 0, int64, shape (links,).
        sums: for each link, the number of pairs shown at both positions, and the sums of their
            click-through rates at the upper and at the lower position; summed over the queries of
            each group. Float64, shape (groups, 3, links).
    """

    positions: int
    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    sums: Array


def link_positions(log: ClickLog, groups: int, most_sums: int) -> Links:
    """Finds the links between positions.

    Args:
        log: the encoded sessions.
        groups: the number of groups of queries to sum over separately; reduced, to 50 at least,
            where there are many links.
        most_sums: the largest size of `Links.sums`, unless 50 groups exceed it.
    """
    counts = count_by_position(log)
    several = np.flatnonzero(np.diff(counts.indptr) > 1)
    counts = counts[several]
    rate = counts.data.imag / (counts.data.real + counts.data.imag)
    shown = csr_array((np.ones(counts.nnz), counts.indices, counts.indptr), counts.shape)
    overlap = triu(shown.T @ shown, 1).tocoo()
    usable = overlap.data >= LEAST_OVERLAP
    key = np.sort(overlap.row[usable].astype(np.int64) * log.positions + overlap.col[usable])
    groups = min(groups, max(most_sums // max(3 * len(key), 1), 50))
    group = log.pairs.query[several] % groups
    sums = np.zeros((groups, 3, len(key)))
    _sum_links(shown.indptr, shown.indices, rate, group, key, log.positions, sums)
    return Links(log.positions, key // log.positions, key % log.positions, sums)


def count_by_position(log: ClickLog) -> csr_array:
    """Counts the clicks and non-clicks of each pair at each position.

    Returns:
        A sparse complex matrix, shape (pairs, positions): impressions without a click in the real
        part, clicks in the imaginary part.
    """
    counted = []
    for clicks in (log.clicks, ~log.clicks):
        counts = count_pairs(replace(log, clicks=clicks), log.position, log.positions)
        sizes = counts.last - counts.first
        starts = np.append(0, np.cumsum(sizes))
        row = np.repeat(counts.first - starts[:-1], sizes) + np.arange(starts[-1])
        content = counts.non_clicks[row], counts.slot[row], starts
        matrix = csr_array(content, (len(sizes), log.positions))
        matrix.sort_indices()
        counted.append(matrix)
    non_clicks, clicked = counted
    return non_clicks + 1j * clicked


def pivot_one(links: Links) -> Estimator:
    """Propensity as the ratio of click-through rates at the position and at the first one."""
    link = np.flatnonzero(links.upper == 0)

    def estimate(sums: Array) -> Array:
        propensity = np.append(1.0, np.full(links.positions - 1, np.nan))
        propensity[links.lower[link]] = _ratios(sums[:, link])
        return propensity

    return estimate


def adjacent_chain(links: Links) -> Estimator:
    """Propensity as the product of ratios of click-through rates at neighbouring positions."""
    link = np.flatnonzero(links.lower == links.upper + 1)

    def estimate(sums: Array) -> Array:
        ratio = np.append(1.0, np.full(links.positions - 1, np.nan))
        ratio[links.lower[link]] = _ratios(sums[:, link])
        return np.cumprod(ratio)

    return estimate


def all_pairs(links: Links) -> Estimator:
    """Propensities as the maximum of the likelihood of the click-through rates of all links.

    The pairs of each link have a relevance of their own. The ratio of two positions has a unique
    maximum only if a path of links with clicks leads from each to the other (the condition of Ford,
    American Mathematical Monthly 1957, for paired comparisons); other positions than those so
    connected with the first get NaN.
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
            """The negative log-likelihood of log propensities, and its gradient."""
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
    """The negative log-likelihood of the click-through rates of links, and its slopes by log ratio.

    The click-through rate of a link's pairs at the upper position is the most likely one for its
    ratio of propensities: the root of a quadratic equation.
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
    """Rate at the lower position over that at the upper one, NaN without clicks there."""
    _, upper, lower = sums
    return np.divide(lower, upper, out=np.full(len(upper), np.nan), where=upper > 0)


@compiled()  # type: ignore[untyped-decorator]
def _sum_links(
    starts: NDArray[np.int32],
    position: NDArray[np.int32],
    rate: Array,
    group: NDArray[np.int64],
    key: NDArray[np.int64],
    positions: int,
    sums: Array,
) -> None:
    """Adds each pair to its links; the positions of a pair are in ascending order."""
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
