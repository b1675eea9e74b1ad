"""The job `evaluate`: measures rankers side by side on queries they have not seen."""

from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.output_folder import begin_output, finish_output
from corpus.tables import Collection, read_collection, write_parquet
from corpus.trec_run import write_trec_run
from rankers.cross_encoder import check_model
from rankers.evaluation import MAIN_MEASURE, mean_by_bucket, measure_run, query_buckets
from rankers.lists import candidate_ids
from rankers.reranking import score_candidates

FIRST_STAGE = "first stage"


def evaluate(
    collection: Path,
    rankers: dict[str, Path],
    output: Path,
    split: Literal["train", "validation", "test"] = "test",
    bucket_cuts: tuple[int, int] = (3, 7),
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    resume: bool = False,
) -> None:
    """Measures rankers against the human judgments of one split, by frequency bucket.

    Writes a TREC run of each ranker into `runs/`, `values.parquet` (ranker, query_id, measure,
    value) and `measures.parquet` (ranker, measure, bucket, value, queries), and prints nDCG@10.
    The order in which the first stage found the candidates is measured along.

    Args:
        collection: folder of the collection, with candidates, splits and judgments.
        rankers: the folder of each ranker by the name to show it under.
        output: folder for the runs and measures.
        split: whose queries to measure on.
        bucket_cuts: of ten descending frequency deciles, the first of medium and the first of low.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        resume: do nothing if the measures are already there; finish them if they were cut short.

    Raises:
        InputError: an input is missing or broken, the split has no judgments, or `output` is in
            use.
    """
    for ranker in rankers.values():
        check_model(str(ranker))
    tables = read_collection(collection)
    lists = candidate_ids(tables, split)
    judged = pc.is_in(lists["query_id"], value_set=pc.unique(tables.judgments["query_id"]))
    if not pc.any(judged).as_py():
        raise InputError(f"{collection}: no query of the split {split!r} has human judgments")
    settings = {
        "collection": str(collection),
        "rankers": {name: str(path) for name, path in rankers.items()},
        "split": split,
        "bucket_cuts": list(bucket_cuts),
    }
    if not begin_output(output, "evaluate", settings, resume):
        print_measures(pd.read_parquet(output / "measures.parquet"))
        return
    (output / "runs").mkdir(exist_ok=True)
    runs = {FIRST_STAGE: _first_stage_run(tables, lists)}
    print(f"scoring {lists.num_rows:,} lists with {', '.join(rankers)}")
    runs |= score_candidates(lists, tables.documents, rankers, scorers, cpus_per_scorer, use_gpu)
    values, means = [], []
    buckets = query_buckets(tables.queries, bucket_cuts)
    for name, run in runs.items():
        write_trec_run(run, output / "runs" / f"{name.replace(' ', '_')}.trec", name)
        of_queries = measure_run(run, tables.judgments)
        values.append(of_queries.assign(ranker=name))
        means.append(mean_by_bucket(of_queries, buckets).assign(ranker=name))
    for name, frames in (("values", values), ("measures", means)):
        table = pa.Table.from_pandas(pd.concat(frames), preserve_index=False)
        write_parquet(table, output / f"{name}.parquet")
    finish_output(output)
    print_measures(pd.concat(means))


def print_measures(measures: pd.DataFrame) -> None:
    """Prints nDCG@10 of each ranker by frequency bucket, the best of each bucket in bold."""
    shown = measures[measures["measure"] == MAIN_MEASURE]
    values = shown.pivot_table("value", "ranker", "bucket", sort=False, observed=True)
    queries = shown.groupby("bucket", observed=True)["queries"].max()
    buckets = [bucket for bucket in (*BUCKETS, "all") if bucket in values]
    table = Table(title=f"{MAIN_MEASURE} by query frequency")
    table.add_column("ranker")
    for bucket in buckets:
        table.add_column(f"{bucket}\n({queries[bucket]} queries)", justify="right")
    for ranker, row in values.iterrows():
        cells = [
            f"[bold]{row[bucket]:.4f}[/]"
            if row[bucket] == values[bucket].max()
            else f"{row[bucket]:.4f}"
            for bucket in buckets
        ]
        table.add_row(str(ranker), *cells)
    Console().print(table)


def _first_stage_run(collection: Collection, lists: pa.Table) -> pd.DataFrame:
    candidates = collection.candidates
    of_split = candidates.filter(pc.is_in(candidates["query_id"], value_set=lists["query_id"]))
    frame = of_split.select(["query_id", "doc_id", "rank"]).to_pandas()
    return frame.assign(score=-frame["rank"].astype(float))[["query_id", "doc_id", "score"]]
