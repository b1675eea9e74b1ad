"""How likely each position is to be examined, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clicks.inference.examination_em import learn_examination
from clicks.inference.harvesting import (
    Links,
    adjacent_chain,
    all_pairs,
    count_by_position,
    link_positions,
    pivot_one,
)
from clicks.log.click_log import ClickLog, read_click_log
from clicks.log.trials import Array
from clicks.models.base import BLAS
from clicks.models.examined import learn_places

PropensityMethod = Literal["em", "all_pairs", "adjacent_chain", "pivot_one"]
INTERVAL = (2.5, 97.5)
GROUPS = 1_000  # of queries, that are drawn together
NUMBERS = 20_000_000  # that are kept of all groups together
# Ten times as near to the maximum as the position-based model, so that resamples, which start from
# the estimate, do not lie to one side of it.
MAX_ITERATIONS, TOLERANCE = 200, 1e-7


@dataclass(frozen=True)
class Estimate:
    """Propensities, and how to estimate them from other draws of the queries.

    Attributes:
        method: of estimation.
        propensity: of each position, relative to the first; NaN where the log does not tell it.
        linked_pairs: pairs that are shown at the position and at another one.
        impressions: of each position.
        clicks: likewise.
        groups: of queries, that are drawn together.
        resample: the propensities if each group, float64 (groups,), had come so many times.
    """

    method: PropensityMethod
    propensity: Array
    linked_pairs: NDArray[np.int64]
    impressions: NDArray[np.int64]
    clicks: NDArray[np.int64]
    groups: int
    resample: Callable[[Array], Array]

    @property
    def unknown(self) -> NDArray[np.int64]:
        """The positions, from 1, whose propensity the log does not tell."""
        return np.flatnonzero(np.isnan(self.propensity)) + 1


def estimate_propensities(
    sessions: pa.Table, method: PropensityMethod = "em", resamples: int = 200, seed: int = 0
) -> pa.Table:
    """Estimates the propensity of each position, relative to the first, with an interval.

    "em" fits the position-based model to all sessions (`clicks.models.examined.examine`); it
    believes that attractiveness is spread alike over positions where documents are shown at one
    position only. The others are intervention harvesting (Agarwal et al., WSDM 2019): they look
    only at pairs that the log shows at two positions, which differ in nothing but the position
    (`clicks.inference.harvesting`):

    - adjacent_chain: product of the ratios of click rates at neighbouring positions;
    - pivot_one: ratio of the click rates at the position and at the first one;
    - all_pairs: the propensities that make all click rates of all two positions most likely.

    Whatever the method, a propensity is null where the log does not tell it: where pairs that
    change places do not link the position to the first one (by 20 pairs a link in harvesting, by
    any in em), or where these pairs were never clicked there.

    Args:
        sessions: session_id, query_id, doc_ids and clicks, as in a collection.
        method: how.
        resamples: of queries, for the interval (Poisson bootstrap); 0 for none.
        seed: of the resamples.

    Returns:
        position (from 1), propensity (1 at the first position; null where not known), low and
        high (bounds of the 95 % interval, null where not known), linked_pairs (pairs shown there
        and at another position), impressions, clicks, method.

    Raises:
        InputError: there are no sessions, they show no documents, or they break the schema.
    """
    return tabulate(estimate(read_click_log(sessions), method), resamples, seed)


def estimate(log: ClickLog, method: PropensityMethod) -> Estimate:
    """Estimates propensities without an interval; see `estimate_propensities`."""
    groups = min(len(log.pairs.queries), GROUPS)
    with BLAS.limit(limits=1):
        if method == "em":
            propensity, groups, resample = _em(log, groups)
        else:
            propensity, groups, resample = _harvest(log, HARVESTS[method], groups)
    by_position = count_by_position(log)
    several = by_position[np.flatnonzero(np.diff(by_position.indptr) > 1)]
    return Estimate(
        method=method,
        propensity=propensity,
        linked_pairs=np.bincount(several.indices, minlength=log.positions),
        impressions=log.by_position().astype(np.int64),
        clicks=log.by_position(log.clicks.astype(np.float64)).astype(np.int64),
        groups=groups,
        resample=resample,
    )


def tabulate(found: Estimate, resamples: int, seed: int = 0) -> pa.Table:
    """The table that `estimate_propensities` returns."""
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
    """Propensity by position with its interval; a line for each context, where there are some.

    The legend says how many positions of a line are missing, as the log does not tell of them.
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
    """Positions in words.

    >>> name_positions(np.array([2, 4, 5, 6, 9, 10]))
    '2, 4 to 6, 9, 10'
    """
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    named = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(named)


def _em(log: ClickLog, groups: int) -> tuple[Array, int, Callable[[Array], Array]]:
    found = learn_places(log, log.position, log.positions, MAX_ITERATIONS, TOLERANCE)
    evidence, told = found.evidence, found.identified.places
    chosen = np.zeros(len(log.pairs.query), dtype=np.bool_)
    chosen[evidence.chosen] = True
    groups = min(groups, max(NUMBERS // int(told.sum()), 50))
    of_pair = log.pairs.query % groups
    position = log.position
    counted = log.clicks & chosen[log.pair] & told[position]
    number = np.cumsum(told) - 1
    clicks = np.bincount(
        of_pair[log.pair[counted]] * told.sum() + number[position[counted]],
        log.of_results(log.sessions)[counted],
        groups * told.sum(),
    ).reshape(groups, -1)
    of_chosen = of_pair[evidence.chosen]

    def resample(weight: Array) -> Array:
        pairs = np.bincount(evidence.number, weight[of_chosen], len(evidence.pairs))
        drawn = replace(
            evidence,
            pairs=np.asarray(pairs, dtype=np.float64),
            place_clicks=weight @ clicks,
        )
        spread, _, _ = learn_examination(drawn, MAX_ITERATIONS, TOLERANCE, found.spread)
        propensity = np.full(len(told), np.nan)
        propensity[told] = spread.places
        return propensity

    return found.places, groups, resample


HARVESTS = {"all_pairs": all_pairs, "adjacent_chain": adjacent_chain, "pivot_one": pivot_one}


def _harvest(
    log: ClickLog,
    method: Callable[[Links], Callable[[Array], Array]],
    groups: int,
) -> tuple[Array, int, Callable[[Array], Array]]:
    links = link_positions(log, groups, NUMBERS)
    estimator = method(links)
    propensity = estimator(links.sums.sum(axis=0))
    # Without a click there is no telling how rare they are.
    with np.errstate(invalid="ignore"):
        propensity[~(propensity > 0)] = np.nan
    known = ~np.isnan(propensity)

    def resample(weight: Array) -> Array:
        return np.where(known, estimator(np.einsum("g,gsl->sl", weight, links.sums)), np.nan)

    return propensity, len(links.sums), resample


def _interval(propensity: Array, drawn: Array) -> tuple[Array, Array]:
    """Bounds from resamples, NaN where fewer than half of them know the position.

    Where the resamples lie to one side of the estimate, the bound on the other side is the
    estimate itself.
    """
    low, high = np.full((2, len(propensity)), np.nan)
    if len(drawn):
        known = ~np.isnan(propensity) & (np.mean(~np.isnan(drawn), axis=0) >= 0.5)
        bounds = np.nanpercentile(drawn[:, known], INTERVAL, axis=0)
        low[known] = np.minimum(bounds[0], propensity[known])
        high[known] = np.maximum(bounds[1], propensity[known])
    return low, high
