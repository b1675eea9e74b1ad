"""Means of rankers over groups of queries, with their intervals."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from corpus.errors import InputError

COVERAGE = 0.95
RESAMPLES = 2000
CELLS_AT_ONCE = 2_000_000  # of resampled values in memory


def group_means(values: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """The mean of each ranker's measures over each group of queries, with its interval.

    Args:
        values: as `evaluation.significance.compare` takes them.
        groups: query_id and group; a query may be in several groups.

    Returns:
        ranker, measure, group, value (mean over queries), low and high (its 95 % percentile
        bootstrap interval over queries; NaN with fewer than two), queries (their number); a row
        with 0 queries and no value for a group without any.

    Raises:
        InputError: as `evaluation.significance.compare`, but for the baseline.
    """
    rows = []
    for measure, group, of_group in values_by_group(values, groups):
        low, high = bootstrap_interval(of_group.to_numpy())
        means = pd.DataFrame({"value": of_group.mean(), "low": low, "high": high})
        means = means.rename_axis("ranker").reset_index()
        rows.append(means.assign(measure=measure, group=group, queries=len(of_group)))
    columns = ["ranker", "measure", "group", "value", "low", "high", "queries"]
    return pd.concat(rows, ignore_index=True)[columns]


def values_by_group(
    values: pd.DataFrame, groups: pd.DataFrame
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Each measure and group with its table: a row a query, a column a ranker; means over seeds.

    Args:
        values: as `evaluation.significance.compare` takes them.
        groups: query_id and group; a query may be in several groups.

    Raises:
        InputError: as `evaluation.significance.compare`, but for the baseline.
    """
    blocks = _query_values(values)
    members = _members(blocks, groups)
    for measure, block in blocks.items():
        for group, query_ids in members.items():
            yield measure, group, block.loc[block.index.intersection(query_ids)]


def _query_values(values: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The table of each measure: a row a query, a column a ranker; means over seeds.

    A ranker without any value of a measure has no column in its table.

    Raises:
        InputError: as `evaluation.significance.compare` says of values.
    """
    once = ["measure", "ranker", *(["seed"] if "seed" in values else []), "query_id"]
    if len(values) == 0:
        raise InputError("there are no values to compare; measure a ranker on some query")
    twice = values.duplicated(once)
    if twice.any():
        first = values[twice].iloc[0]
        raise InputError(
            f"the ranker {first['ranker']!r} has two values of {first['measure']} for the query "
            f"{first['query_id']!r}; give two runs two names, or a column seed"
        )
    given = values.dropna(subset="value")
    if np.isinf(given["value"]).any():
        first = given[np.isinf(given["value"])].iloc[0]
        raise InputError(
            f"{first['measure']} of the ranker {first['ranker']!r} for the query "
            f"{first['query_id']!r} is infinite; mend or leave out this measure"
        )
    by_ranker = given.astype({"ranker": str})
    wide = by_ranker.pivot_table("value", once[:-1], "query_id", aggfunc="first")
    tables = {}
    for measure in values["measure"].unique():
        if measure not in wide.index:
            raise InputError(f"{measure} has no value that is a number; leave it out")
        table = wide.loc[[measure]].droplevel("measure").dropna(axis="columns", how="all")
        _refuse_lacking(table, str(measure))
        of_ranker = table.groupby(level="ranker").mean()
        _refuse_lacking(of_ranker, str(measure))
        order = [str(n) for n in values["ranker"].unique() if str(n) in of_ranker.index]
        tables[str(measure)] = of_ranker.loc[order].T
    return tables


def _refuse_lacking(table: pd.DataFrame, measure: str) -> None:
    """Refuses a table where a ranker lacks the value of a query that another one has.

    Args:
        table: a row a ranker, or a ranker and seed; a column a query. A seed that all rankers have
            may have queries of its own, as where each is another log with other test queries.
        measure: its name.

    Raises:
        InputError: naming the ranker and the query.
    """
    lacking = table.isna()
    if table.index.nlevels > 1:
        of_seed = table.notna().groupby(level="seed")
        rankers = table.index.unique("ranker").size
        of_all = of_seed.size() == rankers
        shared = of_all.loc[table.index.get_level_values("seed")].to_numpy()
        lacking &= of_seed.transform("any") | ~shared[:, None]
    if not lacking.to_numpy().any():
        return
    row = table.index[lacking.any(axis="columns")][0]
    query_id = table.columns[lacking.loc[row].to_numpy().ravel()][0]
    name = f"{row[0]}, seed {row[1]}" if isinstance(row, tuple) else row
    raise InputError(
        f"the ranker {name} has no value of {measure} for the query {query_id!r}, which "
        "another one has; a query that a ranker finds nothing for counts 0"
    )


def bootstrap_interval(sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The 95 % percentile bootstrap interval of the mean of each column (Efron, 1979).

    Args:
        sample: shape (queries, columns); rows are drawn, the same ones for all columns.

    Returns:
        Its ends, each of shape (columns,); NaN with fewer than two rows.
    """
    if len(sample) < 2:
        nothing = np.full(sample.shape[1], np.nan)
        return nothing, nothing
    interval = stats.bootstrap(
        (sample.T,),
        np.mean,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=max(1, CELLS_AT_ONCE // sample.size),
        confidence_level=COVERAGE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return interval.low, interval.high


def _members(blocks: dict[str, pd.DataFrame], groups: pd.DataFrame) -> "dict[str, pd.Index[str]]":
    """The queries of each group; refuses queries that are in none."""
    grouped = set(groups["query_id"])
    for measure, block in blocks.items():
        without = [query_id for query_id in block.index if query_id not in grouped]
        if without:
            raise InputError(
                f"{len(without):,} queries with values of {measure} are in no group, such as "
                f"{without[0]!r}; they are of another collection, or lack a group"
            )
    return {
        str(group): pd.Index(groups["query_id"][groups["group"] == group].unique())
        for group in groups["group"].unique()
    }
