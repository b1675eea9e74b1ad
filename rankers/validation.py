"""Validation within training: nDCG@10 of the validation queries, in all and by frequency bucket."""

import pandas as pd
import pyarrow as pa
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from corpus.frequency import BUCKETS
from rankers.cross_encoder import score_lists
from rankers.evaluation import MAIN_MEASURE, measure_run
from rankers.lists import pad_lists

VALIDATION_MEASURE = "validation_ndcg"


def validate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    judgments: pa.Table,
    lists_at_once: int,
) -> dict[str, float]:
    """Mean nDCG@10, each query scored by one of the workers; the same on all of them.

    Returns:
        validation_ndcg, and validation_ndcg_high and so on of the buckets that have judged queries.
    """
    shard = ray.train.get_dataset_shard("validation")
    device = ray.train.torch.get_device()
    model.train(False)
    scored: list[pd.DataFrame] = []
    buckets: dict[str, int] = {}
    for batch in shard.iter_batches(batch_size=lists_at_once, batch_format="pyarrow"):
        padded = pad_lists(batch, tokenizer)
        with torch.no_grad():
            scores = score_lists(model, padded, device)[padded["where"]]
        pairs = batch.select(["query_id", "doc_ids"]).to_pandas().explode("doc_ids")
        scored.append(pairs.rename(columns={"doc_ids": "doc_id"}).assign(score=scores.cpu()))
        buckets |= dict(
            zip(batch["query_id"].to_pylist(), batch["bucket"].to_pylist(), strict=True)
        )
    gathered = [(scored, buckets)]
    if dist.is_initialized():
        gathered = [([], {}) for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, (scored, buckets))
    run = pd.concat([frame for frames, _ in gathered for frame in frames])
    bucket_of = {query: bucket for _, of_worker in gathered for query, bucket in of_worker.items()}
    values = measure_run(run, judgments)
    values = values[values["measure"] == MAIN_MEASURE]
    bucket = values["query_id"].map(bucket_of).map(dict(enumerate(BUCKETS)))
    by_bucket = values.groupby(bucket)["value"].mean()
    means = {f"{VALIDATION_MEASURE}_{name}": mean for name, mean in by_bucket.items()}
    return {VALIDATION_MEASURE: float(values["value"].mean()), **means}
