"""Measures of agreement between a judge's grades and a reference's, with their intervals.

Every measure takes pairs with the columns

    query_id
    grade            the judge's, on the reference's scale
    expected_grade   the judge's, as it gave it
    grade_reference  on its own scale
    relevant         whether the reference calls the document relevant
"""

from collections.abc import Callable
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap, kendalltau, rankdata
from sklearn.metrics import cohen_kappa_score

Measure = Callable[[pd.DataFrame], float]
Interval = dict[str, float | int | None]
# Under fewer, an interval would pretend to know something.
LEAST_QUERIES = 3
ENDS = [0.025, 0.975]


def kappa(pairs: pd.DataFrame) -> float:
    """Cohen's kappa (1960); NaN where both know one and the same grade only."""
    return _kappa(pairs, None)


def quadratic_kappa(pairs: pd.DataFrame) -> float:
    """Cohen's kappa (1968) with quadratic weights; NaN as for `kappa`."""
    return _kappa(pairs, "quadratic")


def alpha(pairs: pd.DataFrame) -> float:
    """Krippendorff's alpha (2011), ordinal; NaN where there is a single grade."""
    coded = pairs[["grade", "grade_reference"]].to_numpy().T
    if len(np.unique(coded)) < 2:
        return np.nan
    return float(krippendorff.alpha(reliability_data=coded, level_of_measurement="ordinal"))


def tau(pairs: pd.DataFrame) -> float:
    """Kendall's tau-b (1945) of expected grades; NaN where either side ties all pairs."""
    if len(pairs) < 2:
        return np.nan
    return float(kendalltau(pairs["expected_grade"], pairs["grade_reference"]).statistic)


def auc(pairs: pd.DataFrame) -> float:
    """The chance that of a relevant and an irrelevant document the relevant one is graded higher.

    Ties count one half. NaN where all documents are relevant, or none. By Mann & Whitney's (1947)
    sum of ranks: a library's function would take most of its time for looking at its input, and it
    is called for each query.
    """
    relevant = pairs["relevant"].to_numpy(bool)
    count, others = relevant.sum(), (~relevant).sum()
    if count == 0 or others == 0:
        return np.nan
    ranks = rankdata(pairs["expected_grade"])[relevant]
    return float((ranks.sum() - count * (count + 1) / 2) / (count * others))


# Over all pairs, whatever their queries: a judge that is stricter with some queries loses by it.
POOLED: dict[str, Measure] = {
    "kappa": kappa,
    "quadratic_kappa": quadratic_kappa,
    "alpha": alpha,
    "tau": tau,
    "auc": auc,
}
# The mean over queries, which is what rankings live by.
WITHIN_QUERIES: dict[str, Measure] = {"mean_tau": tau, "mean_auc": auc}


def measure_agreement(pairs: pd.DataFrame, resamples: int, seed: int) -> dict[str, Interval]:
    """All measures with their intervals of 95 %, by a bootstrap over queries.

    Args:
        pairs: see this module; may be empty.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        By measure its value and its interval's ends, low and high, None where they are not defined;
        and of the means queries, the number of those that can tell: the measure is defined there.
    """
    rows = list(pairs.groupby("query_id", sort=True).indices.values())
    found = {}
    for name, measure in POOLED.items():

        def resampled(queries: NDArray[np.int64], measure: Measure = measure) -> float:
            return measure(pairs.iloc[np.concatenate([rows[query] for query in queries])])

        value = measure(pairs)
        found[name] = _with_interval(value, np.arange(len(rows)), resampled, resamples, seed)
    for name, measure in WITHIN_QUERIES.items():
        values = np.array([measure(pairs.iloc[row]) for row in rows])
        values = values[~np.isnan(values)]
        mean = float(values.mean()) if len(values) else np.nan
        found[name] = _with_interval(mean, values, np.mean, resamples, seed)
        found[name]["queries"] = len(values)
    return found


def _with_interval(
    value: float,
    samples: NDArray[Any],
    statistic: Callable[..., Any],
    resamples: int,
    seed: int,
) -> Interval:
    """The value and its 95 % interval: percentiles over resampled queries."""
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    if len(samples) < LEAST_QUERIES:
        return {"value": round(value, 4), "low": None, "high": None}
    result = bootstrap(
        (samples,),
        statistic,
        vectorized=False,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = (float(np.nanquantile(result.bootstrap_distribution, end)) for end in ENDS)
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def _kappa(pairs: pd.DataFrame, weights: str | None) -> float:
    first, second = pairs["grade"], pairs["grade_reference"]
    grades = np.unique([first, second])
    if len(grades) < 2:
        return np.nan
    # Between grades that nobody gave there is a distance too.
    labels = np.arange(grades.max() + 1)
    return float(cohen_kappa_score(first, second, labels=labels, weights=weights))
