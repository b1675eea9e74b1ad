"""Measures of agreement between a judge's grades and a reference's, with their intervals.

Every measure takes pairs with the columns

    query_id
    grade            grade of the judge on the reference's scale, int
    expected_grade   expected grade of the judge on its own scale, 0 to 3, float
    grade_reference  grade of the reference on its own scale, int
    relevant         whether the reference calls the document relevant, bool
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
LEAST_QUERIES = 3  # for an interval
ENDS = [0.025, 0.975]


def kappa(pairs: pd.DataFrame) -> float:
    """Cohen's kappa (1960), at most 1; NaN if judge and reference give a single grade."""
    return _kappa(pairs, None)


def quadratic_kappa(pairs: pd.DataFrame) -> float:
    """Cohen's kappa with quadratic weights (1968), at most 1; NaN if there is a single grade."""
    return _kappa(pairs, "quadratic")


def alpha(pairs: pd.DataFrame) -> float:
    """Krippendorff's ordinal alpha (2011), at most 1; NaN if there is a single grade."""
    coded = pairs[["grade", "grade_reference"]].to_numpy().T
    if len(np.unique(coded)) < 2:
        return np.nan
    return float(krippendorff.alpha(reliability_data=coded, level_of_measurement="ordinal"))


def tau(pairs: pd.DataFrame) -> float:
    """Kendall's tau-b (1945) of expected grades, in [-1, 1]; NaN if one side ties all pairs."""
    if len(pairs) < 2:
        return np.nan
    return float(kendalltau(pairs["expected_grade"], pairs["grade_reference"]).statistic)


def auc(pairs: pd.DataFrame) -> float:
    """The probability that a relevant document is graded higher than an irrelevant one.

    Ties count one half. NaN if all documents are relevant, or none. Computed by Mann & Whitney's
    (1947) sum of ranks; it is called for each query, and the checks of a library's function would
    take most of the time.
    """
    relevant = pairs["relevant"].to_numpy(bool)
    count, others = relevant.sum(), (~relevant).sum()
    if count == 0 or others == 0:
        return np.nan
    ranks = rankdata(pairs["expected_grade"])[relevant]
    return float((ranks.sum() - count * (count + 1) / 2) / (count * others))


# Over all pairs of all queries: a judge that is stricter with some queries loses by it.
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
        pairs: graded pairs with the columns that this module names; may be empty.
        resamples: the number of bootstrap resamples, at least 1.
        seed: seed of the bootstrap.

    Returns:
        For each measure its value and the bounds low and high of its interval, None where they are
        not defined; and for means over queries the number of queries on which the measure is
        defined.
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
    # Grades that nobody gave are labels too: the weights depend on the distance of grades.
    labels = np.arange(grades.max() + 1)
    return float(cohen_kappa_score(first, second, labels=labels, weights=weights))
