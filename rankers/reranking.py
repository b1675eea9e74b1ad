"""The job `rerank`: scores candidate lists with a saved ranker, by Ray Data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import ray.data
import torch
from numpy.typing import NDArray

from cluster import connect
from corpus.output_folder import begin_output, finish_output
from corpus.tables import read_collection, write_parquet
from rankers.cross_encoder import check_model, load_cross_encoder
from rankers.evaluation import write_trec_run
from rankers.list_ranker import ListRanker, ranking_scores
from rankers.lists import candidate_lists, list_traffic, pad_lists, tokenize_lists
from rankers.mix_file import read_heads_mix
from rankers.mixing import Constant

Split = Literal["train", "validation", "test", "all"]
LISTS_PER_BLOCK = 16
MOST_BLOCKS = 200
TOKENS_PER_PASS = 8192


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
    name = Path(ranker).name
    run = score_candidates(lists, {name: ranker}, scorers, cpus_per_scorer, use_gpu)[name]
    write_parquet(pa.Table.from_pandas(run, preserve_index=False), output / "run.parquet")
    write_trec_run(run, output / "run.trec", tag=name)
    finish_output(output)
    print(f"{output}: {len(run):,} pairs of {lists.num_rows:,} queries scored")


def score_candidates(
    lists: pa.Table,
    rankers: Mapping[str, Path],
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
) -> dict[str, pd.DataFrame]:
    """Scores every document of every list with each ranker, by one pool of Ray actors.

    Args:
        lists: from `rankers.lists.candidate_lists`.
        rankers: checkpoint folders that every node reaches, by name.
        scorers: size of the pool.
        cpus_per_scorer: CPUs that Ray sets aside for each.
        use_gpu: whether each takes a GPU.

    Returns:
        For each ranker query_id, doc_id, score, in the order of `lists`.
    """
    connect()
    numbered = lists.append_column("row", pa.array(np.arange(lists.num_rows)))
    size = max(LISTS_PER_BLOCK, lists.num_rows // MOST_BLOCKS)
    blocks = [
        numbered.slice(start, size).append_column("ranker", pa.repeat(name, rows))
        for name in rankers
        for start in range(0, lists.num_rows, size)
        for rows in [min(size, lists.num_rows - start)]
    ]
    scored = (
        ray.data.from_arrow(blocks)
        .map_batches(
            ListScorer,
            fn_constructor_args=(
                {name: str(Path(path).absolute()) for name, path in rankers.items()},
            ),
            batch_format="pyarrow",
            batch_size=None,  # a block, which is of one ranker
            compute=ray.data.ActorPoolStrategy(size=scorers),
            num_cpus=cpus_per_scorer,
            num_gpus=1 if use_gpu else 0,
        )
        .to_pandas()
        .sort_values(["row", "place"])
    )
    runs = dict(iter(scored.groupby("ranker")[["query_id", "doc_id", "score"]]))
    return {name: runs[name].reset_index(drop=True) for name in rankers}


class ListScorer:
    """One actor of the pool: scores blocks of lists, each block with the ranker that it names."""

    def __init__(self, rankers: dict[str, str]) -> None:
        self.rankers = rankers
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._loaded = ""

    def _load(self, ranker: str) -> None:
        """Keeps one ranker at a time, since the blocks of a ranker follow each other."""
        if ranker != self._loaded:
            # Of one head any weight makes the score.
            mix = read_heads_mix(Path(self.rankers[ranker]))
            model, self.tokenizer = load_cross_encoder(self.rankers[ranker], heads=2 if mix else 1)
            self.mix = mix or Constant()
            self.model = ListRanker(model).to(self.device).train(False)
            self._loaded = ranker

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Returns ranker, row, place in the list, query_id, doc_id and score of each document."""
        ranker = batch["ranker"][0].as_py()
        self._load(ranker)
        scores = np.concatenate(
            [
                self._score(batch.slice(start, LISTS_PER_BLOCK))
                for start in range(0, batch.num_rows, LISTS_PER_BLOCK)
            ]
        )
        doc_ids = batch["doc_ids"].to_pylist()
        lengths = [len(ids) for ids in doc_ids]
        return pa.table(
            {
                "ranker": pa.repeat(ranker, len(scores)),
                "row": np.repeat(batch["row"].to_numpy(), lengths),
                "place": np.concatenate([np.arange(length) for length in lengths]),
                "query_id": np.repeat(batch["query_id"].to_numpy(), lengths),
                "doc_id": [doc_id for ids in doc_ids for doc_id in ids],
                "score": scores,
            }
        )

    def _score(self, lists: pa.Table) -> NDArray[np.float32]:
        tokenized = tokenize_lists(lists, self.tokenizer, self.tokenizer.model_max_length)
        batch = pad_lists(tokenized, self.tokenizer.pad_token_id, TOKENS_PER_PASS)
        with torch.inference_mode():
            scores = ranking_scores(self.model(batch), self.mix(1.0, list_traffic(lists)))
        return np.asarray(scores.cpu()[batch.where].numpy(), np.float32)
