"""The job `rerank`: scores candidate lists with a saved ranker, by Ray Data."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import ray.data
import torch
from torch import nn

from corpus.output_folder import begin_output, finish_output
from corpus.tables import read_collection, write_parquet
from rankers.cross_encoder import check_model, load_cross_encoder, score_lists
from rankers.evaluation import write_trec_run
from rankers.lists import candidate_lists, pad_lists, tokenize_lists

Split = Literal["train", "validation", "test", "all"]


def rerank(
    collection: Path,
    ranker: Path,
    output: Path,
    split: Split = "all",
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    resume: bool = False,
) -> None:
    """Reranks the candidates of a collection's queries with a saved ranker.

    Writes `run.parquet` (query_id, doc_id, score) and `run.trec`, a TREC run file.

    Args:
        collection: folder of the collection, with candidates.
        ranker: folder of the ranker, as training leaves it, or any Hugging Face cross-encoder.
        output: folder for the run.
        split: which queries to rerank.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        resume: do nothing if the run is already there; make it again if it was cut short.

    Raises:
        InputError: an input is missing or broken, or `output` is in use.
    """
    check_model(str(ranker))
    lists = candidate_lists(read_collection(collection), None if split == "all" else split)
    settings = {"collection": str(collection), "ranker": str(ranker), "split": split}
    if not begin_output(output, "rerank", settings, resume):
        print(f"{output}: already reranked")
        return
    run = score_candidates(lists, ranker, scorers, cpus_per_scorer, use_gpu)
    write_parquet(pa.Table.from_pandas(run, preserve_index=False), output / "run.parquet")
    write_trec_run(run, output / "run.trec", tag=Path(ranker).name)
    finish_output(output)
    print(f"{output}: {len(run):,} pairs of {lists.num_rows:,} queries scored")


def score_candidates(
    lists: pa.Table,
    ranker: Path,
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
) -> pd.DataFrame:
    """Scores every document of every list with a pool of Ray actors.

    Args:
        lists: from `rankers.lists.candidate_lists`.
        ranker: a checkpoint folder that every node reaches.
        scorers: size of the pool.
        cpus_per_scorer: CPUs that Ray sets aside for each.
        use_gpu: whether each takes a GPU.

    Returns:
        query_id, doc_id, score, in the order of `lists`.
    """
    blocks = max(min(lists.num_rows // 16, 200), scorers)
    numbered = lists.append_column("row", pa.array(np.arange(lists.num_rows)))
    scored = (
        ray.data.from_arrow(numbered)
        .repartition(blocks)
        .map_batches(
            ListScorer,
            fn_constructor_args=(str(Path(ranker).absolute()),),
            batch_format="pyarrow",
            batch_size=16,
            compute=ray.data.ActorPoolStrategy(size=scorers),
            num_cpus=cpus_per_scorer,
            num_gpus=1 if use_gpu else 0,
        )
        .to_pandas()
    )
    return scored.sort_values(["row", "place"])[["query_id", "doc_id", "score"]].reset_index(
        drop=True
    )


class ListScorer:
    """One actor of the pool: loads the ranker once and scores batches of lists."""

    def __init__(self, ranker: str) -> None:
        self.model, self.tokenizer = load_cross_encoder(ranker)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        nn.Module.to(self.model, self.device).train(False)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Returns row, place in the list, query_id, doc_id and score for each document."""
        tokenized = tokenize_lists(batch, self.tokenizer, self.tokenizer.model_max_length)
        padded: dict[str, Any] = pad_lists(tokenized, self.tokenizer)
        with torch.inference_mode():
            scores = score_lists(self.model, padded, self.device)
        doc_ids = batch["doc_ids"].to_pylist()
        lengths = [len(ids) for ids in doc_ids]
        return pa.table(
            {
                "row": np.repeat(batch["row"].to_numpy(), lengths),
                "place": np.concatenate([np.arange(length) for length in lengths]),
                "query_id": np.repeat(batch["query_id"].to_numpy(), lengths),
                "doc_id": [doc_id for ids in doc_ids for doc_id in ids],
                "score": scores[padded["where"].to(self.device)].cpu().numpy(),
            }
        )
