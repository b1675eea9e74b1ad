"""The second truth: rankings measured by the clicks of traffic after the log window.

Both measures undo the bias of positions by propensities that were estimated in the window, and both
follow the position-based model, in which a document at position k is clicked with probability
propensity(k) * attractiveness.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.output_folder import RECORD
from corpus.places import Place, arrow_files
from evaluation.measures import telling_queries
from evaluation.yardstick import DEPTH

if TYPE_CHECKING:
    from sklearn.isotonic import IsotonicRegression

TRAFFIC_NDCG = "traffic nDCG@10"
TRAFFIC_LIKELIHOOD = "traffic log-likelihood"
PAIR = ["query_id", "doc_id"]
# Of calibrated attractiveness, so that one click on what seemed never clicked costs no more than 7.
LEAST, MOST = 0.001, 0.999
MOST_SCORES = 2**18  # that attractiveness is told apart by


@dataclass(frozen=True)
class Propensities:
    """The chance that each position is examined, as `fit_clicks` has estimated it.

    Attributes:
        path: of their table, for messages.
        context: the column of sessions that they differ by; None where they do not.
        of: by the value of that column, or of None: of the positions from the first, NaN where
            unknown, float64, shape (positions,).
    """

    path: str
    context: str | None
    of: Mapping[str | None, NDArray[np.float64]]


def read_propensities(click_labels: Place) -> Propensities:
    """Reads the propensities that `fit_clicks` wrote beside its labels.

    Args:
        click_labels: the folder that it wrote.

    Raises:
        InputError: the folder holds none, or does not tell their context.
    """
    path = click_labels / "propensities.parquet"
    if not path.exists():
        raise InputError(f"{path}: there is no such table; fit_clicks writes it beside the labels")
    files, inside = arrow_files(path)
    table = pq.read_table(inside, filesystem=files).to_pandas().sort_values("position")
    if "context" not in table:
        return Propensities(str(path), None, {None: table["propensity"].to_numpy(float)})
    record = click_labels / RECORD
    if not record.exists():
        raise InputError(f"{record}: there is no such file; it tells the context of propensities")
    column = json.loads(record.read_text(encoding="utf-8"))["settings"]["context"]
    of = {name: known["propensity"].to_numpy(float) for name, known in table.groupby("context")}
    return Propensities(str(path), column, of)


def count_by_context(
    sessions: pa.Table, propensities: Propensities, max_weight: float
) -> pd.DataFrame:
    """Counts held-out traffic as `count_traffic` does.

    Where propensities differ by context, sessions of other contexts, and without one, are left out.

    Args:
        sessions: the table held_out_sessions.
        propensities: from `read_propensities`.
        max_weight: see `count_traffic`.

    Raises:
        InputError: the sessions lack the context.
    """
    column = propensities.context
    if column is None:
        return count_traffic(sessions, propensities.of[None], max_weight)
    if column not in sessions.column_names:
        raise InputError(
            f"{propensities.path}: holds propensities by {column}, a column that the held-out "
            "sessions lack; prepare them with it, or fit clicks without a context"
        )
    names = [value if value is None else str(value) for value in sessions[column].to_pylist()]
    of_sessions = pa.array(names, pa.string())
    counts = [
        count_traffic(sessions.filter(pc.equal(of_sessions, name)), known, max_weight)
        for name, known in propensities.of.items()
    ]
    return pd.concat(counts, ignore_index=True)


def count_traffic(
    sessions: pa.Table, propensities: NDArray[np.float64], max_weight: float
) -> pd.DataFrame:
    """Counts impressions and clicks of held-out pages by pair and position.

    Args:
        sessions: the table held_out_sessions; a column `sessions` counts what each row stands for.
        propensities: of the positions from the first, NaN where unknown, float64, shape
            (positions,); impressions at unknown and later positions are left out.
        max_weight: the most that one click may weigh, at least 1: propensities below its inverse
            count as that, and those above 1 as 1.

    Returns:
        query_id, doc_id, propensity in [1 / max_weight, 1], impressions and clicks (int64), a row
        for each pair and position.
    """
    shown, clicks = (sessions[name].combine_chunks() for name in ("doc_ids", "clicks"))
    page = pc.list_parent_indices(shown).to_numpy()
    lengths = shown.value_lengths().to_numpy()
    position = np.arange(len(page)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    times = np.ones(len(sessions), dtype=np.int64)
    if "sessions" in sessions.column_names:
        times = sessions["sessions"].to_numpy()
    frame = pd.DataFrame(
        {
            "query_id": sessions["query_id"].take(pa.array(page)).to_pandas(),
            "doc_id": shown.flatten().to_pandas(),
            "position": position,
            "impressions": times[page],
            "clicks": times[page] * clicks.flatten().to_numpy(zero_copy_only=False),
        }
    )
    of_position = np.full(max(int(position.max(initial=0)) + 1, len(propensities)), np.nan)
    of_position[: len(propensities)] = np.clip(propensities, 1 / max_weight, 1.0)
    frame = frame[np.isfinite(of_position[frame["position"]])]
    counts = frame.groupby([*PAIR, "position"], sort=False, as_index=False).sum()
    counts["propensity"] = of_position[counts.pop("position")]
    return counts.astype({"impressions": np.int64, "clicks": np.int64})


def click_gains(counts: pd.DataFrame) -> pd.DataFrame:
    """The clicks of each pair by impression, each weighted by the inverse of its propensity.

    The expected gain of a document is its attractiveness, wherever it was shown (Joachims et al.,
    WSDM 2017), but for weights that `max_weight` clipped, which make it smaller.

    Args:
        counts: from `count_traffic`.

    Returns:
        query_id, doc_id and gain (at least 0), a row for each pair.
    """
    weighted = counts.assign(gain=counts["clicks"] / counts["propensity"])
    sums = weighted.groupby(PAIR, sort=False)[["gain", "impressions"]].sum()
    return (sums["gain"] / sums["impressions"]).rename("gain").reset_index()


def traffic_ndcg(run: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """nDCG@10 of the documents that held-out pages of a query showed, by their `click_gains`.

    Other documents of the ranking are passed over, as nothing is known of them. Queries without a
    click, or whose documents are all equal in it, are left out. Each query counts once, however
    often it was searched.

    Args:
        run: query_id, doc_id and score of each ranked document; equal scores keep their order.
        counts: from `count_traffic`.

    Returns:
        query_id, measure ("traffic nDCG@10") and value, in [0, 1], of the same queries for every
        run; 0 where a run ranks no document of theirs.
    """
    gains = click_gains(counts)
    gains = gains[gains["query_id"].isin(telling_queries(gains))]
    ideal = _dcg(gains.assign(score=gains["gain"]))
    found = _dcg(run.merge(gains, on=PAIR)).reindex(ideal.index, fill_value=0.0)
    return (found / ideal).rename("value").reset_index().assign(measure=TRAFFIC_NDCG)


def _dcg(ranked: pd.DataFrame) -> "pd.Series[float]":
    """DCG@10 of each query; the discount of rank r is 1 / log2(r + 1)."""
    ranked = ranked.sort_values("score", ascending=False, kind="stable")
    rank = ranked.groupby("query_id").cumcount().to_numpy()
    discount = np.where(rank < DEPTH, 1 / np.log2(rank + 2), 0.0)
    return (ranked["gain"] * discount).groupby(ranked["query_id"]).sum()


def traffic_log_likelihood(run: pd.DataFrame, counts: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """`log_likelihood` of a whole run.

    Args:
        run: query_id, doc_id and score of each ranked document; documents that it does not rank
            have its lowest score.
        counts: from `count_traffic`.
        seed: as of `log_likelihood`.
    """
    lowest = run["score"].min() if len(run) else 0.0
    return log_likelihood([with_scores(counts, run)], lowest, seed)


def with_scores(counts: pd.DataFrame, run: pd.DataFrame) -> pd.DataFrame:
    """The counts of `count_traffic` with the score of each pair, NaN where it is not ranked.

    Args:
        counts: from `count_traffic`.
        run: query_id, doc_id and score of each ranked document.
    """
    return counts.merge(run[[*PAIR, "score"]], "left", on=PAIR).drop(columns="doc_id")


def log_likelihood(pieces: Iterable[pd.DataFrame], lowest: float, seed: int = 0) -> pd.DataFrame:
    """Log-likelihood of held-out clicks with a ranker's scores as attractiveness.

    Scores become attractiveness by a monotone map, since a ranker's scores have no scale: isotonic
    regression of clicks on scores, by impression and with propensities as weights, clipped to
    [0.001, 0.999]. Half of the queries are measured with the map of the other half, and the other
    way round, so that no query is measured by a map that it shaped. Of more than `MOST_SCORES`
    different scores, neighbours are put together, until they are so many.

    Args:
        pieces: from `with_scores`, of some queries each; gone through three times.
        lowest: the score of what is not ranked.
        seed: seed of the halves.

    Returns:
        query_id, measure ("traffic log-likelihood") and value: the mean over the query's
        impressions of ln P(clicked or not), below 0; of the same queries for every run. No row
        where there are fewer than two queries.
    """
    query_ids = np.sort(np.concatenate([[], *(piece["query_id"].unique() for piece in pieces)]))
    first = np.random.default_rng(seed).permutation(query_ids)[: len(query_ids) // 2]
    if len(first) == 0:
        return pd.DataFrame({"query_id": [], "value": [], "measure": []})
    of_first = pd.Index(first)
    fitted_on = [_Calibration(), _Calibration()]
    for piece in pieces:
        known = piece.fillna({"score": lowest})
        in_first = of_first.get_indexer(pd.Index(known["query_id"])) >= 0
        for calibration, half in zip(fitted_on, (known[~in_first], known[in_first]), strict=True):
            calibration.add(half)
    maps = [calibration.fit() for calibration in fitted_on]
    values: list[list[pd.DataFrame]] = [[], []]
    for piece in pieces:
        known = piece.fillna({"score": lowest})
        in_first = of_first.get_indexer(pd.Index(known["query_id"])) >= 0
        for of_half, found, half in zip(values, maps, (in_first, ~in_first), strict=True):
            of_half.append(_log_likelihood(known[half], found))
    halves = [pd.concat(of_half).sort_values("query_id") for of_half in values]
    return pd.concat(halves, ignore_index=True).assign(measure=TRAFFIC_LIKELIHOOD)


class _Calibration:
    """Clicks and examinations by score, of pieces of a run, in bounded memory."""

    def __init__(self) -> None:
        self.sums = pd.DataFrame({"score": [], "clicks": [], "examined": []}, dtype=float)

    def add(self, counts: pd.DataFrame) -> None:
        examined = counts["impressions"] * counts["propensity"]
        more = counts[["score", "clicks"]].assign(examined=examined)
        both = pd.concat([self.sums, more.astype(float)])
        self.sums = both.groupby("score", as_index=False).sum()
        if len(self.sums) > MOST_SCORES:
            weight = self.sums["examined"]
            share = (weight.cumsum() - weight / 2) / weight.sum()
            group = (share * (MOST_SCORES // 2)).astype(int)
            weighted = self.sums.assign(score=self.sums["score"] * weight).groupby(group).sum()
            self.sums = weighted.assign(score=weighted["score"] / weighted["examined"])

    def fit(self) -> "IsotonicRegression":
        from sklearn.isotonic import IsotonicRegression  # a second that not all of evaluate needs

        found = IsotonicRegression(y_min=LEAST, y_max=MOST, out_of_bounds="clip")
        examined = self.sums["examined"]
        return found.fit(self.sums["score"], self.sums["clicks"] / examined, sample_weight=examined)


def _log_likelihood(measured: pd.DataFrame, calibration: "IsotonicRegression") -> pd.DataFrame:
    """query_id and value of the measured rows."""
    if measured.empty:
        return pd.DataFrame({"query_id": [], "value": []})
    clicked = measured["propensity"] * calibration.predict(measured["score"])
    impressions, clicks = measured["impressions"], measured["clicks"]
    total = clicks * np.log(clicked) + (impressions - clicks) * np.log1p(-clicked)
    sums = pd.DataFrame({"total": total, "impressions": impressions})
    sums = sums.groupby(measured["query_id"]).sum()
    return (sums["total"] / sums["impressions"]).rename("value").reset_index()
