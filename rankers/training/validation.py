"""Validation within training: nDCG@10 of the validation queries, in all and by frequency bucket."""

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from corpus.frequency import BUCKETS
from evaluation.measures import mean_by_bucket
from evaluation.yardstick import GRADE, gains_by, measure_by
from rankers.data.padding import BatchReader
from rankers.mixes import Mix
from rankers.models.list_ranker import ListRanker, ranking_scores
from rankers.training.workers import Workers

VALIDATION_MEASURE = "validation_ndcg"
LISTS_AT_ONCE = 64
# Lists whose pairs are measured together.
LISTS_OF_RUN = 64 * LISTS_AT_ONCE
HUMAN = "human"


def with_judgments(lists: pa.Table, human: pa.Table) -> pa.Table:
    """Lists with what humans judged of their queries, for `validate`.

    Args:
        lists: of validation queries.
        human: the table judgments, of any queries.

    Returns:
        `lists` with the column `human`, of each list the structs of doc_id and grade.
    """
    judged = gains_by(GRADE, human, lists)
    row = pd.Index(lists["query_id"].to_pandas()).get_indexer(judged["query_id"].to_pandas())
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=lists.num_rows)
    pairs = judged.select(["doc_id", "grade"]).take(order).to_struct_array().combine_chunks()
    ends = np.append(0, np.cumsum(counts))
    return lists.append_column(HUMAN, pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pairs))


def validate(
    ranker: ListRanker,
    lists: BatchReader,
    yardstick: str,
    mix: Mix,
    workers: Workers,
) -> dict[str, float]:
    """Mean nDCG@10, each query scored and measured by one of the workers; the same on all of them.

    Args:
        ranker: on its device.
        lists: those of the validation queries, from `with_judgments`.
        yardstick: from `evaluation.yardstick.name_yardstick`.
        mix: its click weight at the end of training mixes the heads.
        workers: that share the queries; each takes those that lie together.

    Returns:
        validation_ndcg, and validation_ndcg_high and so on of the buckets that have measured
        queries; nothing where a score is not finite.
    """
    count = len(lists.lists)
    first, last = (count * rank // workers.size for rank in (workers.rank, workers.rank + 1))
    ranker.train(False)
    sums = torch.zeros(len(BUCKETS) + 1, 2, dtype=torch.float64)
    for start in range(first, last, LISTS_OF_RUN):
        rows = np.arange(start, min(start + LISTS_OF_RUN, last))
        run, table = _scored(ranker, lists, rows, mix)
        if not np.isfinite(run["score"]).all():
            sums[-1, 0] = torch.nan
            break
        sums += _sums(run, gains_of_lists(table, yardstick))
    sums = workers.sum(sums)
    if not torch.isfinite(sums).all():
        return {}
    ends = {VALIDATION_MEASURE: sums.sum(0)}
    ends |= {f"{VALIDATION_MEASURE}_{name}": sums[n] for n, name in enumerate(BUCKETS)}
    return {name: float(total / queries) for name, (total, queries) in ends.items() if queries > 0}


def _scored(
    ranker: ListRanker,
    lists: BatchReader,
    rows: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    mix: Mix,
) -> tuple[pd.DataFrame, pa.Table]:
    """The ranked pairs of some lists, and the lists."""
    scored = []
    for start in range(0, len(rows), LISTS_AT_ONCE):
        batch = lists.read(rows[start : start + LISTS_AT_ONCE])
        with torch.inference_mode():
            scores = ranking_scores(ranker(batch), mix(1.0, batch.traffic))
        scored.append(scores.cpu()[batch.where].numpy())
    table = lists.lists.take(rows)
    pairs = table.select(["query_id", "doc_ids", "bucket"]).to_pandas().explode("doc_ids")
    pairs = pairs.rename(columns={"doc_ids": "doc_id"})
    return pairs.assign(score=np.concatenate(scored)), table


def gains_of_lists(lists: pa.Table, yardstick: str) -> pa.Table:
    """What the rankings of lists are measured by, as `evaluation.yardstick.gains_by` gives it.

    Args:
        lists: of validation queries, from `with_judgments`.
        yardstick: from `evaluation.yardstick.name_yardstick`.
    """
    human = lists[HUMAN].combine_chunks()
    of_list = np.repeat(np.arange(len(lists)), human.value_lengths().to_numpy())
    judged = human.flatten()
    table = pa.table(
        {
            "query_id": lists["query_id"].take(pa.array(of_list)),
            "doc_id": judged.field("doc_id"),
            "grade": judged.field("grade"),
        }
    )
    return gains_by(yardstick, table, lists)


def _sums(run: pd.DataFrame, gains: pa.Table) -> torch.Tensor:
    """The sum of the measure and the number of queries, of each bucket and of none."""
    number = run.drop_duplicates("query_id").set_index("query_id")["bucket"]
    values = measure_by(run, gains)
    of_query = values["query_id"].map(number).to_numpy(np.int64)
    value = values["value"].to_numpy(np.float64)
    buckets = len(BUCKETS) + 1
    sums = np.bincount(of_query, value, buckets), np.bincount(of_query, minlength=buckets)
    return torch.from_numpy(np.stack(sums, 1).astype(np.float64))


def bucket_means(run: pd.DataFrame, yardstick: pa.Table) -> dict[str, float]:
    """The mean nDCG@10, by the names that `validate` returns.

    Args:
        run: query_id, doc_id, score and bucket, its number among `corpus.frequency.BUCKETS`.
        yardstick: from `evaluation.yardstick.gains_by`.
    """
    number = run.drop_duplicates("query_id").set_index("query_id")["bucket"]
    means = mean_by_bucket(measure_by(run, yardstick), number.map(dict(enumerate(BUCKETS))))
    ends = means["bucket"].astype(str).map(lambda bucket: "" if bucket == "all" else f"_{bucket}")
    return dict(zip(VALIDATION_MEASURE + ends, means["value"].astype(float), strict=True))
