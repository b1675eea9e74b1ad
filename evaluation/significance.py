"""Whether a ranker differs from a baseline: paired tests over queries, intervals, power."""

import warnings
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from corpus.errors import InputError
from evaluation.means import bootstrap_interval, values_by_group

WINS, LOSES, NOT_SHOWN = "wins", "loses", "no difference shown"
LEVEL = 0.05  # of p after Holm's correction, below which a difference counts as shown
POWER = 0.8
TIE = 1e-9  # values that differ by less are equal but for rounding
COLUMNS = [
    *("ranker", "measure", "group", "queries", "baseline_value", "value", "difference"),
    *("low", "high", "effect_size", "p", "p_holm", "wins", "ties", "losses"),
    *("detectable", "verdict"),
]


def compare(values: pd.DataFrame, groups: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Compares each ranker with a baseline on each measure and group of queries.

    The test is the paired t-test over queries, two-sided: of the tests in use it keeps its level
    best and finds most (Urbano, Lima & Hanjalic, SIGIR 2019), it agrees with the randomization test
    (Smucker, Allan & Carterette, CIKM 2007), and its p can be as small as the correction of a
    large family asks. p is never below 2^(1 - n), the least that a randomization test of n queries
    can give: a few equal differences prove nothing. All p are corrected together (Holm, 1979):
    the family is rankers x groups x measures of `values`, so hand in what is shown and no more.
    Where there are seeds, a query's value is its mean over those in which it was measured.

    Args:
        values: ranker, query_id, measure and value; and seed (int) where rankers were trained
            more than once. A value that is not a number counts as absent.
        groups: query_id and group; a query may be in several groups.
        baseline: the ranker that the others are compared with.

    Returns:
        A row for each measure, group and ranker but the baseline, in the order of their coming:
        ranker, measure, group, queries (their number, n), baseline_value and value (means),
        difference (value - baseline_value), low and high (its 95 % percentile bootstrap interval),
        effect_size (mean of the differences by their standard deviation, with Hedges'
        correction), p, p_holm, wins, ties and losses (queries), detectable (the least true
        difference that is shown in 80 % of such experiments at Holm's strictest step; infinite if
        there are too few queries to show any), verdict ("wins", "loses", "no difference shown").
        With fewer than two queries there is no test, and what follows from it is NaN; so are
        effect_size and detectable where all differences are equal, unless they are 0 (effect 0).

    Raises:
        InputError: no ranker has the name of the baseline, two values of one ranker, query,
            measure and seed, a value that is infinite or that a ranker or seed lacks, or a query
            without a group.
    """
    names = [str(name) for name in values["ranker"].unique()]
    if baseline not in names:
        raise InputError(
            f"the baseline {baseline!r} is not among {', '.join(names) or 'no ranker'}"
        )
    others = [name for name in names if name != baseline]
    return _correct(_tests(values, groups, {baseline: others}))[COLUMNS]


def compare_all(values: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Compares each ranker with each other one, for a matrix of wins and losses.

    As `compare`, with all pairs of rankers in one family; each pair is tested once.

    Args:
        values: as `compare` takes them.
        groups: query_id and group; a query may be in several groups.

    Returns:
        The columns of `compare` and `baseline`, a row for each measure, group and ordered pair.

    Raises:
        InputError: as `compare`.
    """
    names = [str(name) for name in values["ranker"].unique()]
    later = {name: names[place + 1 :] for place, name in enumerate(names[:-1])}
    found = _correct(_tests(values, groups, later))[[*COLUMNS, "baseline"]]
    swapped = {"ranker": "baseline", "value": "baseline_value", "wins": "losses"}
    swapped |= {new: old for old, new in swapped.items()}
    mirrored = found.rename(columns=swapped)
    for column in ("difference", "effect_size"):
        mirrored[column] = -found[column]
    mirrored["low"], mirrored["high"] = -found["high"], -found["low"]
    mirrored["verdict"] = found["verdict"].replace({WINS: LOSES, LOSES: WINS})
    return pd.concat([found, mirrored[found.columns]], ignore_index=True)


def _tests(
    values: pd.DataFrame, groups: pd.DataFrame, against: dict[str, list[str]]
) -> pd.DataFrame:
    """The tests of each measure and group: of the rankers in `against` with the baseline before.

    Returns:
        The rows of `_differences`, with measure, group and baseline.
    """
    rows = []
    for measure, group, of_group in values_by_group(values, groups):
        for baseline, names in against.items():
            if baseline not in of_group:
                raise InputError(
                    f"the baseline {baseline!r} has no value of {measure}; take another one, "
                    "or leave out this measure"
                )
            columns = [baseline, *(name for name in names if name in of_group)]
            found = _differences(of_group[columns], baseline)
            rows.append(found.assign(measure=measure, group=group, baseline=baseline))
    return pd.concat(rows, ignore_index=True)


def _correct(tests: pd.DataFrame) -> pd.DataFrame:
    """Adds p_holm, detectable and verdict to the rows of one family of tests."""
    tested = tests["p"].notna()
    p_holm = np.full(len(tests), np.nan)
    effects = np.full(len(tests), np.nan)
    if tested.any():
        p_holm[tested] = multipletests(tests["p"][tested], method="holm")[1]
        level = LEVEL / tested.sum()
        effects[tested] = [detectable_effect(int(n), level) for n in tests["queries"][tested]]
    shown = p_holm < LEVEL
    difference = tests["difference"].to_numpy()
    verdict = np.select(
        [shown & (difference > 0), shown & (difference < 0)], [WINS, LOSES], NOT_SHOWN
    )
    detectable = effects * tests["spread"].replace(0.0, np.nan)
    return tests.assign(p_holm=p_holm, detectable=detectable, verdict=verdict)


def _differences(block: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The test of each ranker against the baseline, without what needs the whole family.

    Args:
        block: values, a row a query, a column a ranker.
        baseline: one of its columns.

    Returns:
        A row for each other ranker, with the columns of `compare` but p_holm, detectable, verdict,
        and with `spread`, the standard deviation of the differences.
    """
    others = block.drop(columns=baseline)
    differences = others.sub(block[baseline], axis=0).to_numpy(dtype=np.float64, copy=True)
    differences[np.abs(differences) < TIE] = 0.0
    n = len(differences)
    low, high = bootstrap_interval(differences)
    p = spread = effect_size = np.full(differences.shape[1], np.nan)
    if n > 1:
        equal = np.ptp(differences, axis=0) < TIE
        spread = np.where(equal, 0.0, differences.std(axis=0, ddof=1))
        with warnings.catch_warnings():  # of equal differences, whose t is infinite or 0 / 0
            warnings.simplefilter("ignore", RuntimeWarning)
            p = stats.ttest_1samp(differences, 0.0, axis=0).pvalue
        p = np.where((differences == 0).all(axis=0), 1.0, np.maximum(p, 2.0 ** (1 - n)))
        means = differences.mean(axis=0)
        hedges = 1 - 3 / (4 * (n - 1) - 1)
        effect_size = np.full(len(means), np.nan)
        np.divide(means * hedges, spread, out=effect_size, where=spread > 0)
        effect_size[(differences == 0).all(axis=0)] = 0.0
    return pd.DataFrame(
        {
            "ranker": others.columns,
            "queries": n,
            "baseline_value": block[baseline].mean(),
            "value": others.mean().to_numpy(),
            "difference": differences.mean(axis=0) if n else np.nan,
            "low": low,
            "high": high,
            "effect_size": effect_size,
            "spread": spread,
            "p": p,
            "wins": (differences > 0).sum(axis=0),
            "ties": (differences == 0).sum(axis=0),
            "losses": (differences < 0).sum(axis=0),
        }
    )


@lru_cache(maxsize=1024)
def detectable_effect(queries: int, level: float) -> float:
    """The least true effect that a paired t-test finds in 80 % of experiments.

    Args:
        queries: their number, at least 1.
        level: of the test, two-sided, in (0, 1).

    Returns:
        In standard deviations of the differences, above 0; infinite where so few queries show none.
    """
    if 2.0 ** (1 - queries) >= level:
        return np.inf
    freedom = queries - 1
    critical = stats.t.isf(level / 2, freedom)

    def lacking_power(effect: float) -> float:
        # The other tail is beyond what counts: it has less than half of `level`.
        return stats.nct.sf(critical, freedom, effect * np.sqrt(queries)) - POWER

    # With twice the critical value, the power is beyond any that is asked for.
    return float(optimize.brentq(lacking_power, 0.0, 2 * critical / np.sqrt(queries) + 1))
