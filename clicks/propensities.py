"""How likely each position is to be examined, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from clicks.click_log import ClickLog, read_click_log
from clicks.examination import examine
from clicks.shrinkage import Array

PropensityMethod = Literal["em", "all_pairs", "adjacent_chain", "pivot_one"]
# Fewer pairs that link a position to others say nothing that could be relied on.
LEAST_OVERLAP = 20
INTERVAL = (2.5, 97.5)


def estimate_propensities(
    sessions: pa.Table, method: PropensityMethod = "em", resamples: int = 20, seed: int = 0
) -> pa.Table:
    """Estimates the propensity of each position, relative to the first, with an interval.

    "em" fits the position-based model to all sessions (`clicks.examination.examine`); it believes
    that attractiveness is spread alike over positions where documents are shown at one position
    only. The others are intervention harvesting (Agarwal et al., WSDM 2019): they look only
    at pairs that the log shows at two positions, which differ in nothing but the position:

    - adjacent_chain: product of the ratios of click rates at neighbouring positions;
    - pivot_one: ratio of the click rates at the position and at the first one;
    - all_pairs: the propensities that make all click rates of all two positions most likely.

    Args:
        sessions: session_id, query_id, doc_ids and clicks, as in a collection.
        method: how.
        resamples: of queries, for the interval (Poisson bootstrap); 0 for none.
        seed: of the resamples.

    Returns:
        position (from 1), propensity (1 at the first position; null where fewer than 20 pairs
        link the position to those that the method compares it with), low and high (bounds of
        the 95 % interval, null where not known), linked_pairs (pairs shown there and at another
        position), impressions, clicks, method.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    log = read_click_log(sessions)
    estimate = METHODS[method]
    propensity = estimate(log)
    rng = np.random.default_rng(seed)
    query = log.pairs.query[log.pair[:, 0]]
    drawn = np.full((resamples, len(propensity)), np.nan)
    for resample in range(resamples):
        weight = rng.poisson(1.0, len(log.pairs.queries)).astype(np.float64)[query]
        if (log.sessions * weight) @ log.shown[:, 0] > 0:
            drawn[resample] = estimate(replace(log, sessions=log.sessions * weight))
    low, high = _interval(drawn)
    return pa.table(
        {
            "position": np.arange(1, len(propensity) + 1),
            "propensity": pa.array(propensity, from_pandas=True),
            "low": pa.array(low, from_pandas=True),
            "high": pa.array(high, from_pandas=True),
            "linked_pairs": _Rates.of(log).linked().sum(axis=0),
            "impressions": (log.sessions @ log.shown).astype(np.int64),
            "clicks": (log.sessions @ log.clicks).astype(np.int64),
            "method": pa.repeat(method, len(propensity)),
        }
    )


def plot_propensities(propensities: pa.Table) -> Figure:
    """Propensity by position with its interval; a line for each context, where there are some."""
    frame = propensities.to_pandas()
    if "context" not in frame:
        frame["context"] = frame["method"]
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    panel = figure.subplots()
    for name, line in frame.groupby("context", sort=False):
        [drawn] = panel.plot(line["position"], line["propensity"], marker="o", label=str(name))
        panel.fill_between(
            line["position"], line["low"], line["high"], color=drawn.get_color(), alpha=0.2
        )
    panel.set_ylim(bottom=0)
    panel.set_xlabel("position")
    panel.set_ylabel("propensity of examination")
    panel.legend()
    return figure


@dataclass(frozen=True)
class _Rates:
    """Click rates of pairs at positions, both of shape (pairs, positions)."""

    rate: Array
    shown: NDArray[np.bool_]

    @classmethod
    def of(cls, log: ClickLog) -> "_Rates":
        pairs, positions = len(log.pairs.query), log.pair.shape[1]
        cell = (log.pair.astype(np.int64) * positions + np.arange(positions))[log.shown]
        sessions = np.broadcast_to(log.sessions[:, None], log.shown.shape)[log.shown]
        counts = [
            np.bincount(cell, values, pairs * positions).reshape(pairs, positions)
            for values in (sessions, sessions * log.clicks[log.shown])
        ]
        shown = counts[0] > 0
        return cls(
            np.divide(counts[1], counts[0], out=np.zeros_like(counts[1]), where=shown), shown
        )

    def linked(self) -> NDArray[np.bool_]:
        """Which pairs are shown at a position and at another one."""
        return self.shown & (self.shown.sum(axis=1, keepdims=True) > 1)

    def overlap(self) -> Array:
        """How many pairs are shown at both of two positions, shape (positions, positions)."""
        return self.shown.T.astype(np.float64) @ self.shown

    def summed(self) -> Array:
        """[k, j]: click rates at k, summed over the pairs that are shown at k and j."""
        return self.rate.T @ self.shown


def _em(log: ClickLog) -> Array:
    positions = log.pair.shape[1]
    place = np.empty(log.pair.shape, dtype=np.int32)
    place[:] = np.arange(positions)
    return examine(log, place, positions, max_iterations=200, tolerance=1e-6).places


def _pivot_one(log: ClickLog) -> Array:
    rates = _Rates.of(log)
    summed, overlap = rates.summed(), rates.overlap()
    others = _ratio(summed[1:, 0], summed[0, 1:], overlap[0, 1:])
    return np.append(1.0, others)


def _adjacent_chain(log: ClickLog) -> Array:
    rates = _Rates.of(log)
    summed, overlap = rates.summed(), rates.overlap()
    ratio = _ratio(np.diag(summed, -1), np.diag(summed, 1), np.diag(overlap, 1))
    return np.cumprod(np.append(1.0, ratio))


def _all_pairs(log: ClickLog) -> Array:
    rates = _Rates.of(log)
    clicked, overlap = rates.summed(), rates.overlap()
    np.fill_diagonal(overlap, 0.0)
    np.fill_diagonal(clicked, 0.0)
    unclicked = overlap - clicked
    positions = len(overlap)
    above = np.triu_indices(positions, 1)
    both = np.zeros((positions, positions), dtype=np.int64)
    both[above] = np.arange(len(above[0]))
    both += both.T

    def loss(parameters: Array) -> tuple[float, Array]:
        """Propensities and the relevance of each two positions' pairs, in logits."""
        examined, relevance = np.split(parameters, [positions])
        e, r = expit(examined)[:, None], expit(relevance)[both]
        chance = np.clip(e * r, 1e-12, 1 - 1e-12)
        likelihood = np.sum(clicked * np.log(chance) + unclicked * np.log1p(-chance))
        slope = clicked - unclicked * chance / (1 - chance)
        of_relevance = np.bincount(both[above], weights=((slope + slope.T) * (1 - r))[above])
        return -likelihood, -np.append((slope * (1 - e)).sum(axis=1), of_relevance)

    start = np.zeros(positions + len(above[0]))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-15, 15)] * len(start))
    propensity = expit(found.x[:positions])
    linked = overlap.sum(axis=1) >= LEAST_OVERLAP
    return np.where(linked, propensity / propensity[0], np.nan) if linked[0] else _unknown(linked)


METHODS: dict[PropensityMethod, Callable[[ClickLog], Array]] = {
    "em": _em,
    "all_pairs": _all_pairs,
    "adjacent_chain": _adjacent_chain,
    "pivot_one": _pivot_one,
}


def _ratio(upper: Array, lower: Array, overlap: Array) -> Array:
    """upper / lower, NaN where few pairs overlap or none of them was clicked."""
    usable = (overlap >= LEAST_OVERLAP) & (lower > 0)
    return np.divide(upper, lower, out=np.full(len(upper), np.nan), where=usable)


def _unknown(positions: NDArray[np.bool_]) -> Array:
    return np.append(1.0, np.full(len(positions) - 1, np.nan))


def _interval(drawn: Array) -> tuple[Array, Array]:
    """Bounds from resamples, NaN where fewer than half of them know the position."""
    known = np.mean(~np.isnan(drawn), axis=0) if len(drawn) else np.zeros(drawn.shape[1])
    filled = np.where(known >= 0.5, drawn, 0.0) if len(drawn) else np.zeros((1, drawn.shape[1]))
    low, high = np.nanpercentile(filled, INTERVAL, axis=0)
    return np.where(known >= 0.5, low, np.nan), np.where(known >= 0.5, high, np.nan)
