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
from corpus.names import check_names, file_name
from corpus.output_folder import begin_output, finish_output
from corpus.tables import Collection, read_collection, write_parquet
from evaluation.measures import (
    MAIN_MEASURE,
    candidate_gains,
    mean_by_bucket,
    measure_run,
    query_buckets,
    telling_queries,
)
from evaluation.trec_run import write_trec_qrels, write_trec_run

FIRST_STAGE = "first stage"


def evaluate(
    collection: Path,
    rankers: dict[str, Path],
    output: Path,
    split: Literal["train", "validation", "test"] = "test",
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    resume: bool = False,
) -> None:
    """Measures rankers against the human judgments of one split, by frequency bucket.

    Writes a TREC run of each ranker into `runs/`, the judgments of the measured queries as
    `qrels.trec`, `values.parquet` (ranker, query_id, measure, value) and `measures.parquet`
    (ranker, measure, bucket, value, queries), and prints nDCG@10. trec_eval on these files tells
    the same values. The order in which the first stage found the candidates is measured along.

    Args:
        collection: folder of the collection, with candidates, splits and judgments.
        rankers: the folder or Hugging Face id of each ranker by the name to show it under, of
            letters, digits, '.', '_', '-' and blanks; its run is the file of that name.
        output: folder for the runs and measures.
        split: whose queries to measure on.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        resume: do nothing if the measures are already there; finish them if they were cut short.

    Raises:
        InputError: an input is missing or broken, a ranker has no scoring head or another, no
            query can tell rankings apart, there is no GPU to use, or `output` is in use.
    """
    from rankers.data.lists import candidate_ids  # these bring PyTorch and Ray
    from rankers.scoring.pair_scorer import ranker_place
    from rankers.scoring.pool import score_candidates

    check_evaluation_settings(scorers, cpus_per_scorer, use_gpu)
    if not rankers:
        raise InputError("give at least one ranker: --rankers.NAME FOLDER")
    check_names(rankers, "ranker", taken=[FIRST_STAGE])
    places = {name: ranker_place(path) for name, path in rankers.items()}
    tables = read_collection(collection)
    lists = candidate_ids(tables, split)
    first_stage = _first_stage_run(tables, lists)
    none_of = f"{collection}: no query of the split {split!r}"
    telling = _count_telling(first_stage, tables.judgments, none_of)
    settings = {
        "collection": str(collection),
        "rankers": {name: str(path) for name, path in rankers.items()},
        "split": split,
    }
    if not begin_output(output, "evaluate", settings, resume):
        print_measures(pd.read_parquet(output / "measures.parquet"))
        return
    (output / "runs").mkdir(exist_ok=True)
    runs = {FIRST_STAGE: first_stage}
    print(
        f"scoring {lists.num_rows:,} lists, {telling:,} of them with documents of different "
        f"grades, with {', '.join(rankers)}"
    )
    runs |= score_candidates(lists, tables.documents, places, scorers, cpus_per_scorer, use_gpu)
    values, means = [], []
    buckets = query_buckets(tables)
    for name, run in runs.items():
        write_trec_run(run, output / "runs" / f"{file_name(name)}.trec", name)
        of_queries = measure_run(run, tables.judgments)
        values.append(of_queries.assign(ranker=name))
        means.append(mean_by_bucket(of_queries, buckets).assign(ranker=name))
    measured = pa.array(values[0]["query_id"].unique())
    of_measured = pc.is_in(tables.judgments["query_id"], value_set=measured)
    write_trec_qrels(tables.judgments.filter(of_measured), output / "qrels.trec")
    for name, frames in (("values", values), ("measures", means)):
        table = pa.Table.from_pandas(pd.concat(frames), preserve_index=False)
        write_parquet(table, output / f"{name}.parquet")
    finish_output(output)
    print_measures(pd.concat(means))


def check_evaluation_settings(scorers: int, cpus_per_scorer: float, use_gpu: bool) -> None:
    """Refuses settings of `evaluate` that no data could make right.

    Raises:
        InputError: naming the setting.
    """
    from rankers.scoring.pool import check_pool

    check_pool(scorers, cpus_per_scorer, use_gpu)


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


def _count_telling(first_stage: pd.DataFrame, judgments: pa.Table, none_of: str) -> int:
    """How many queries can tell rankings apart; refuses none."""
    judged = judgments.filter(
        pc.is_in(judgments["query_id"], value_set=pa.array(first_stage["query_id"].unique()))
    )
    if judged.num_rows == 0:
        raise InputError(f"{none_of} has human judgments and candidates; take another split")
    if telling := len(telling_queries(candidate_gains(first_stage, judged))):
        return telling
    reason = "no two of its candidates differ in grade"
    if pc.max(judged["grade"]).as_py() <= 0:
        reason = f"none of {judged.num_rows:,} grades is above 0"
    raise InputError(
        f"{none_of} can tell rankings apart: {reason}; judge more documents, or take another split"
    )


def _first_stage_run(collection: Collection, lists: pa.Table) -> pd.DataFrame:
    candidates = collection.candidates
    of_split = candidates.filter(pc.is_in(candidates["query_id"], value_set=lists["query_id"]))
    frame = of_split.select(["query_id", "doc_id", "rank"]).to_pandas()
    return frame.assign(score=-frame["rank"].astype(float))[["query_id", "doc_id", "score"]]
