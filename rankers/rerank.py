"""The job `rerank`: scores candidate lists with a saved ranker, by Ray Data."""

import dataclasses
from pathlib import Path
from typing import Literal

import pyarrow as pa

from corpus.output_folder import begin_output, finish_output
from corpus.tables import read_collection, write_parquet
from evaluation.trec_run import read_trec_run, write_trec_run
from rankers.settings import Precision

Split = Literal["train", "validation", "test", "all"]


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
        ranker: folder of the ranker, as training leaves it, or any cross-encoder with one output:
            its folder or its Hugging Face id.
        output: folder for the run.
        run: a TREC run of queries and documents of the collection, in place of its candidates.
        split: which queries to rerank.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        precision: fp32, tf32 (on GPUs), bf16, or auto: bf16 where the processor computes in it,
            which is about twice as fast and moves scores a little.
        resume: do nothing if the run is already there; make it again if it was cut short.

    Raises:
        InputError: an input is missing or broken, the ranker has no scoring head or another, a
            score is no finite number, there is no GPU to use, or `output` is in use.
    """
    from cluster.reach import check_reach  # these bring PyTorch and Ray
    from rankers.data.lists import candidate_ids
    from rankers.scoring.pair_scorer import ranker_place
    from rankers.scoring.pool import check_pool, score_candidates

    place = ranker_place(ranker)
    tables = read_collection(collection)
    if run is not None:
        candidates, set_aside = read_trec_run(run, tables)
        tables = dataclasses.replace(tables, candidates=candidates)
        for reason, count in set_aside.items():
            print(f"{run}: set aside {count:,} {reason}")
    lists = candidate_ids(tables, None if split == "all" else split)
    check_pool(scorers, cpus_per_scorer, use_gpu)
    check_reach([], [place])
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
    name = Path(place).name
    scored = score_candidates(
        lists, tables.documents, {name: place}, scorers, cpus_per_scorer, use_gpu, precision
    )[name]
    write_parquet(pa.Table.from_pandas(scored, preserve_index=False), output / "run.parquet")
    write_trec_run(scored, output / "run.trec", tag=name)
    finish_output(output)
    print(f"{output}: {len(scored):,} pairs of {lists.num_rows:,} queries scored")
