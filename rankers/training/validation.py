"""Validation within training: nDCG@10 of the validation queries, in all and by frequency bucket."""

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from corpus.frequency import BUCKETS
from evaluation.measures import mean_by_bucket
from evaluation.yardstick import measure_by
from rankers.data.padding import BatchReader
from rankers.mixes import Mix
from rankers.models.list_ranker import ListRanker, ranking_scores
from rankers.training.workers import Workers

VALIDATION_MEASURE = "validation_ndcg"
LISTS_AT_ONCE = 64


def validate(
    ranker: ListRanker,
    lists: BatchReader,
    yardstick: pa.Table,
    mix: Mix,
    workers: Workers,
) -> dict[str, float]:
    """Mean nDCG@10, each query scored by one of the workers; the same on all of them.

    Args:
        ranker: on its device.
        lists: those of the validation queries.
        yardstick: gains of their candidates, from `evaluation.yardstick.choose_yardstick`.
        mix: its click weight at the end of training mixes the heads.
        workers: that share the queries.

    Returns:
        validation_ndcg, and validation_ndcg_high and so on of the buckets that have measured
        queries; nothing where a score is not finite.
    """
    mine = np.arange(workers.rank, len(lists.lists), workers.size)
    ranker.train(False)
    scored = []
    for start in range(0, len(mine), LISTS_AT_ONCE):
        batch = lists.read(mine[start : start + LISTS_AT_ONCE])
        with torch.inference_mode():
            scores = ranking_scores(ranker(batch), mix(1.0, batch.traffic))
        table = lists.lists.take(batch.rows).select(["query_id", "doc_ids", "bucket"])
        pairs = table.to_pandas().explode("doc_ids")
        pairs = pairs.rename(columns={"doc_ids": "doc_id"})
        scored.append(pairs.assign(score=scores.cpu()[batch.where].numpy()))
    run = pd.concat([frame for frames in workers.gather(scored) for frame in frames])
    if not np.isfinite(run["score"]).all():
        return {}
    return bucket_means(run, yardstick)


def bucket_means(run: pd.DataFrame, yardstick: pa.Table) -> dict[str, float]:
    """The mean nDCG@10, by the names that `validate` returns.

    Args:
        run: query_id, doc_id, score and bucket, its number among `corpus.frequency.BUCKETS`.
        yardstick: from `evaluation.yardstick.choose_yardstick`.
    """
    number = run.drop_duplicates("query_id").set_index("query_id")["bucket"]
    means = mean_by_bucket(measure_by(run, yardstick), number.map(dict(enumerate(BUCKETS))))
    ends = means["bucket"].astype(str).map(lambda bucket: "" if bucket == "all" else f"_{bucket}")
    return dict(zip(VALIDATION_MEASURE + ends, means["value"].astype(float), strict=True))
