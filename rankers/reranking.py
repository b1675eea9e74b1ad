"""The job `rerank`: scores candidate lists with a saved ranker, by Ray Data."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import ray
import ray.data
from rich.progress import MofNCompleteColumn, Progress

from cluster import connect
from corpus.output_folder import begin_output, finish_output
from corpus.tables import read_collection, write_parquet
from corpus.texts import document_column
from corpus.trec_run import read_trec_run
from rankers.cross_encoder import check_model
from rankers.evaluation import write_trec_run
from rankers.list_ranker import Precision
from rankers.list_scorer import PooledScorer
from rankers.lists import candidate_ids, document_rows

Split = Literal["train", "validation", "test", "all"]
# So many that sorted passes are hardly padded, but that each scorer gets several blocks.
MOST_PAIRS_PER_BLOCK = 1024
BLOCKS_PER_SCORER = 4


def rerank(
    collection: Path,
    ranker: Path,
    output: Path,
    run: Path | None = None,
    split: Split = "all",
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    precision: Precision = "fp32",
    resume: bool = False,
) -> None:
    """Reranks the candidates of a collection's queries, or those of a TREC run.

    Writes `run.parquet` (query_id, doc_id, score) and `run.trec`, a TREC run file.

    Args:
        collection: folder of the collection.
        ranker: folder of the ranker, as training leaves it, or any Hugging Face cross-encoder.
        output: folder for the run.
        run: a TREC run of queries and documents of the collection, in place of its candidates.
        split: which queries to rerank.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        precision: fp32, bf16, or auto: bf16 where the processor computes in it, which is about
            twice as fast and moves scores a little.
        resume: do nothing if the run is already there; make it again if it was cut short.

    Raises:
        InputError: an input is missing or broken, or `output` is in use.
    """
    check_model(str(ranker))
    tables = read_collection(collection)
    if run is not None:
        candidates, set_aside = read_trec_run(run, tables)
        tables = dataclasses.replace(tables, candidates=candidates)
        for reason, count in set_aside.items():
            print(f"{run}: set aside {count:,} {reason}")
    lists = candidate_ids(tables, None if split == "all" else split)
    settings = {
        "collection": collection,
        "ranker": ranker,
        "run": run,
        "split": split,
        "precision": precision,
    }
    if not begin_output(output, "rerank", settings, resume):
        print(f"{output}: already reranked")
        return
    name = Path(ranker).name
    scored = score_candidates(
        lists, tables.documents, {name: ranker}, scorers, cpus_per_scorer, use_gpu, precision
    )[name]
    write_parquet(pa.Table.from_pandas(scored, preserve_index=False), output / "run.parquet")
    write_trec_run(scored, output / "run.trec", tag=name)
    finish_output(output)
    print(f"{output}: {len(scored):,} pairs of {lists.num_rows:,} queries scored")


def score_candidates(
    lists: pa.Table,
    documents: pa.Table,
    rankers: Mapping[str, Path],
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    precision: Precision = "fp32",
) -> dict[str, pd.DataFrame]:
    """Scores every document of every list with each ranker, by one pool of Ray actors.

    The texts of documents lie once in the object store; blocks hold their rows.

    Args:
        lists: from `rankers.lists.candidate_ids`.
        documents: the table `documents`.
        rankers: checkpoint folders that every node reaches, by name.
        scorers: size of the pool.
        cpus_per_scorer: CPUs that Ray sets aside for each.
        use_gpu: whether each takes a GPU.
        precision: as of `ListScorer`.

    Returns:
        For each ranker query_id, doc_id, score, in the order of `lists`.
    """
    connect()
    scored = ray.data.from_arrow(list(scoring_blocks(lists, documents, rankers, scorers)))
    scored = scored.map_batches(
        PooledScorer,
        fn_constructor_args=(
            {name: str(Path(path).absolute()) for name, path in rankers.items()},
            ray.put(document_column(documents)),
            precision,
        ),
        batch_format="pyarrow",
        batch_size=None,  # a block, which is of one ranker
        compute=ray.data.ActorPoolStrategy(size=scorers),
        num_cpus=cpus_per_scorer,
        num_gpus=1 if use_gpu else 0,
    )
    parts = []
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        pairs = len(rankers) * len(lists["doc_ids"].combine_chunks().flatten())
        bar = progress.add_task("score pairs", total=pairs)
        for part in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            parts.append(part)
            progress.update(bar, advance=part.num_rows)
    frame = pa.concat_tables(parts).to_pandas().sort_values(["row", "place"])
    runs = dict(iter(frame.groupby("ranker")[["query_id", "doc_id", "score"]]))
    return {name: runs[name].reset_index(drop=True) for name in rankers}


def scoring_blocks(
    lists: pa.Table, documents: pa.Table, rankers: Iterable[str], scorers: int
) -> Iterator[pa.Table]:
    """Cuts lists into blocks of about as many pairs, as `ListScorer` takes them.

    Args:
        lists: from `rankers.lists.candidate_ids`.
        documents: the table `documents`.
        rankers: names; each has all blocks.
        scorers: how many share the blocks.
    """
    rows = document_rows(lists, documents)
    numbered = lists.append_column("documents", rows)
    numbered = numbered.append_column("row", pa.array(np.arange(lists.num_rows)))
    lengths = rows.value_lengths().to_numpy()
    before = np.cumsum(lengths) - lengths
    share = -(-int(lengths.sum()) // (BLOCKS_PER_SCORER * scorers))
    starts = np.unique(before // min(share, MOST_PAIRS_PER_BLOCK), return_index=True)[1]
    for name in rankers:
        for start, end in pairwise([*starts.tolist(), lists.num_rows]):
            block = numbered.slice(start, end - start)
            yield block.append_column("ranker", pa.repeat(name, block.num_rows))
