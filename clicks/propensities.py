"""Propensities: the examination probability of each position, with confidence intervals."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.sparse import csr_array

from clicks.inference.examination_counts import DistinctCounts
from clicks.inference.examination_em import maximize_marginal_likelihood
from clicks.inference.harvesting import (
    Links,
    adjacent_chain,
    all_pairs,
    link_positions,
    pivot_one,
)
from clicks.log.click_log import ClickLog, read_click_log
from clicks.log.large_arrays import large_zeros, pieces
from clicks.log.trials import Array
from clicks.models.base import BLAS
from clicks.models.examination import learn_examination

PropensityMethod = Literal["em", "all_pairs", "adjacent_chain", "pivot_one"]
INTERVAL = (2.5, 97.5)  # percentiles of the resamples
GROUPS = 1_000  # of queries, which are resampled as a whole
MOST_SUMS = 20_000_000  # numbers that are kept of all groups together
# A tenth of the tolerance of the position-based model: resamples start from the estimate, and would
# lie to one side of it if that were short of the maximum.
MAX_ITERATIONS, TOLERANCE = 200, 1e-7


@dataclass(frozen=True)
class Estimate:
    """Propensities, and how to estimate them again from a resample of the queries.

    Attributes:
        method: the method of estimation.
        propensity: propensity of each position relative to the first, float64 above 0, shape
            (positions,); NaN where the log does not identify it.
        linked_pairs: how many pairs are shown at each position and at another one, int64, shape
            (positions,).
        impressions: impressions of each position, int64, shape (positions,).
        clicks: clicks at each position, int64, shape (positions,).
        groups: the number of groups of queries that are resampled as a whole.
        resample: the function from the weight of each group, float64, shape (groups,), to the
            propensities, shape (positions,), of the log with so many copies of each group.
    """

    method: PropensityMethod
    propensity: Array
    linked_pairs: NDArray[np.int64]
    impressions: NDArray[np.int64]
    clicks: NDArray[np.int64]
    groups: int
    resample: Callable[[Array], Array]

    @property
    def unidentified_positions(self) -> NDArray[np.int64]:
        """The positions, from 1, whose propensity the log does not identify; sorted."""
        return np.flatnonzero(np.isnan(self.propensity)) + 1


def estimate_propensities(
    sessions: pa.Table, method: PropensityMethod = "em", resamples: int = 200, seed: int = 0
) -> pa.Table:
    """Estimates the propensity of each position, relative to the first, with a confidence interval.

    "em" fits the position-based model to all sessions (`clicks.models.examination`); for documents
    that are shown at one position only it assumes the same distribution of attractiveness at all
    positions. The other methods are intervention harvesting (Agarwal et al., WSDM 2019): they use
    only pairs that the log shows at two positions, whose click-through rates differ only by the
    position (`clicks.inference.harvesting`):

    - adjacent_chain: product of the ratios of click-through rates at neighbouring positions;
    - pivot_one: ratio of the click-through rates at the position and at the first one;
    - all_pairs: maximum of the likelihood of the click-through rates at all pairs of positions.

    With every method, a propensity is null where the log does not identify it: where no pairs that
    are shown at several positions link the position to the first one (at least 20 pairs a link in
    harvesting, any in em), or where the linking pairs have no clicks.

    Args:
        sessions: the table sessions of a collection (session_id, query_id, doc_ids, clicks).
        method: the method of estimation.
        resamples: the number of bootstrap resamples of queries (Poisson bootstrap) for the
            interval, at least 0; 0 gives no interval.
        seed: seed of the resamples.

    Returns:
        position (int64, from 1), propensity (float64 above 0, 1 at the first position, null where
        not identified), low and high (bounds of the 95 % interval, null where unknown),
        linked_pairs (pairs shown at the position and at another one), impressions, clicks (int64),
        method (string); one row for each position.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    return tabulate(estimate(read_click_log(sessions), method), resamples, seed)


def estimate(log: ClickLog, method: PropensityMethod) -> Estimate:
    """Estimates propensities without an interval; see `estimate_propensities`.

    Args:
        log: the encoded sessions.
        method: the method of estimation.
    """
    groups = min(len(log.pairs.queries), GROUPS)
    with BLAS.limit(limits=1):
        if method == "em":
            propensity, groups, resample = _em(log, groups)
        else:
            propensity, groups, resample = _harvest(log, HARVESTS[method], groups)
    return Estimate(
        method=method,
        propensity=propensity,
        linked_pairs=_count_linked(log),
        impressions=log.by_position().astype(np.int64),
        clicks=log.by_position(log.clicks).astype(np.int64),
        groups=groups,
        resample=resample,
    )


def tabulate(found: Estimate, resamples: int, seed: int = 0) -> pa.Table:
    """Adds intervals to an estimate.

    Args:
        found: the estimate.
        resamples: the number of bootstrap resamples, at least 0.
        seed: seed of the resamples.

    Returns:
        The table that `estimate_propensities` returns.
    """
    rng = np.random.default_rng(seed)
    weights = rng.poisson(1.0, (resamples, found.groups)).astype(np.float64)
    with BLAS.limit(limits=1):
        drawn = [found.resample(weight) for weight in weights if weight.any()]
    low, high = _interval(found.propensity, np.array(drawn))
    return pa.table(
        {
            "position": np.arange(1, len(found.propensity) + 1),
            "propensity": pa.array(found.propensity, from_pandas=True),
            "low": pa.array(low, from_pandas=True),
            "high": pa.array(high, from_pandas=True),
            "linked_pairs": found.linked_pairs,
            "impressions": found.impressions,
            "clicks": found.clicks,
            "method": pa.repeat(found.method, len(found.propensity)),
        }
    )


def plot_propensities(propensities: pa.Table) -> Figure:
    """Plots propensity by position with its interval, one line for each context.

    Args:
        propensities: the table that `estimate_propensities` returns; a column `context` names the
            context of each row.

    Returns:
        The figure. Its legend says how many positions of a line are unknown.
    """
    frame = propensities.to_pandas()
    if "context" not in frame:
        frame["context"] = frame["method"]
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    panel = figure.subplots()
    for name, line in frame.groupby("context", sort=False):
        unknown = int(line["propensity"].isna().sum())
        label = f"{name} ({unknown} unknown)" if unknown else str(name)
        [drawn] = panel.plot(line["position"], line["propensity"], marker="o", label=label)
        panel.fill_between(
            line["position"], line["low"], line["high"], color=drawn.get_color(), alpha=0.2
        )
    panel.set_ylim(bottom=0)
    panel.set_xlabel("position")
    panel.set_ylabel("propensity of examination")
    panel.legend()
    return figure


def name_positions(positions: NDArray[np.int64]) -> str:
    """Positions in words, with ranges of three or more as "a to b".

    Args:
        positions: positions in ascending order, shape (positions,).

    >>> name_positions(np.array([2, 4, 5, 6, 9, 10]))
    '2, 4 to 6, 9, 10'
    """
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    named = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(named)


def _count_linked(log: ClickLog) -> NDArray[np.int64]:
    """How many pairs are shown at each position and at another one, int64, shape (positions,)."""
    linked, place = np.zeros(log.positions, dtype=np.int64), log.position
    # A part has all results of its pairs.
    for begin, end in pairwise(log.starts[log.parts].tolist()):
        shown = log.pair[begin:end] * np.int64(log.positions) + place[begin:end]
        pair, position = np.divmod(np.unique(shown), log.positions)
        _, code = np.unique(pair, return_inverse=True)
        several = np.bincount(code) > 1
        linked += np.bincount(position[several[code]], minlength=log.positions)
    return linked


def _em(log: ClickLog, groups: int) -> tuple[Array, int, Callable[[Array], Array]]:
    found = learn_examination(log, log.position, log.positions, MAX_ITERATIONS, TOLERANCE)
    distinct, known = found.distinct, found.identified.slots
    chosen = large_zeros(len(log.pairs.query), np.bool_)
    chosen[distinct.chosen] = True
    groups = min(groups, max(MOST_SUMS // int(known.sum()), 50))
    position, sessions = log.position, log.of_results(log.sessions)
    number = np.cumsum(known) - 1
    clicks = np.zeros((groups, int(known.sum())))
    for some in pieces(len(log.pair)):
        counted = log.clicks[some] & chosen[log.pair[some]] & known[position[some]]
        group = log.pairs.query[log.pair[some][counted]] % groups
        cell = group * clicks.shape[1] + number[position[some][counted]]
        of_cells = np.bincount(cell, sessions[some][counted], clicks.size)
        clicks += of_cells.reshape(clicks.shape)
    pairs_of = _pairs_of_groups(log, distinct, groups)
    start = found.parameters

    def resample(weight: Array) -> Array:
        drawn = replace(distinct, pairs=pairs_of @ weight, slot_clicks=weight @ clicks)
        parameters, _, _ = maximize_marginal_likelihood(drawn, MAX_ITERATIONS, TOLERANCE, start)
        propensity = np.full(len(known), np.nan)
        propensity[known] = parameters.examination
        return propensity

    return found.examination, groups, resample


def _pairs_of_groups(log: ClickLog, distinct: DistinctCounts, groups: int) -> csr_array:
    """How many of the chosen pairs of each group have each of the distinct counts.

    Returns:
        The numbers, float64, shape (distinct, groups).
    """
    shape = len(distinct.pairs), groups
    sums = csr_array(shape, dtype=np.float64)
    for some in pieces(len(distinct.chosen)):
        at = distinct.value_of_chosen[some], log.pairs.query[distinct.chosen[some]] % groups
        sums += csr_array((np.ones(len(at[0])), at), shape)
    return sums


HARVESTS = {"all_pairs": all_pairs, "adjacent_chain": adjacent_chain, "pivot_one": pivot_one}


def _harvest(
    log: ClickLog,
    method: Callable[[Links], Callable[[Array], Array]],
    groups: int,
) -> tuple[Array, int, Callable[[Array], Array]]:
    links = link_positions(log, groups, MOST_SUMS)
    estimator = method(links)
    propensity = estimator(links.sums.sum(axis=0))
    # A position without clicks has a ratio of 0, which says nothing.
    with np.errstate(invalid="ignore"):
        propensity[~(propensity > 0)] = np.nan
    known = ~np.isnan(propensity)

    def resample(weight: Array) -> Array:
        return np.where(known, estimator(np.einsum("g,gsl->sl", weight, links.sums)), np.nan)

    return propensity, len(links.sums), resample


def _interval(propensity: Array, drawn: Array) -> tuple[Array, Array]:
    """Bounds from resamples, NaN where fewer than half of them identify the position.

    They include the estimate, even where all resamples lie to one side of it.
    """
    low, high = np.full((2, len(propensity)), np.nan)
    if len(drawn):
        known = ~np.isnan(propensity) & (np.mean(~np.isnan(drawn), axis=0) >= 0.5)
        bounds = np.nanpercentile(drawn[:, known], INTERVAL, axis=0)
        low[known] = np.minimum(bounds[0], propensity[known])
        high[known] = np.maximum(bounds[1], propensity[known])
    return low, high
