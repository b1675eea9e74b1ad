"""The job `evaluate`: measures rankers side by side on queries they have not seen."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import InputError
from corpus.groups import GROUPS, query_groups, reported_groups
from corpus.names import file_name
from corpus.output_folder import begin_output, finish_output
from corpus.tables import Collection, read_collection, write_parquet
from evaluation.given_runs import FIRST_STAGE, check_compared, read_runs
from evaluation.measures import (
    MAIN_MEASURE,
    candidate_gains,
    measure_run,
    telling_queries,
    unranked_queries,
)
from evaluation.traffic import (
    TRAFFIC_LIKELIHOOD,
    TRAFFIC_NDCG,
    count_traffic,
    read_traffic,
    traffic_log_likelihood,
    traffic_ndcg,
)
from evaluation.trec_run import write_trec_qrels, write_trec_run

# What is tested against the baseline and shown.
COMPARED = (MAIN_MEASURE, TRAFFIC_NDCG, TRAFFIC_LIKELIHOOD)


def evaluate(
    collection: Path,
    output: Path,
    rankers: dict[str, Path] | None = None,
    runs: dict[str, Path] | None = None,
    baseline: str | None = None,
    split: Literal["train", "validation", "test"] = "test",
    click_labels: Path | None = None,
    max_weight: float = 20.0,
    scorers: int = 1,
    cpus_per_scorer: float = 0.5,
    use_gpu: bool = False,
    resume: bool = False,
) -> None:
    """Measures rankers against human judgments and held-out traffic, by frequency of the query.

    Writes a TREC run of each ranker into `runs/`, the judgments of the measured queries as
    `qrels.trec`, `values.parquet` (ranker, query_id, measure, value), `measures.parquet` (ranker,
    measure, bucket, value, low, high, queries) and `comparison.parquet`, the paired tests of
    nDCG@10, and of both measures by traffic, against the baseline; prints these two as tables,
    which are also in `comparison.md`; and `report.html`, a page with all of it, whose tables are in
    `tables/` as CSV and LaTeX. trec_eval -c on these files tells the same values by human
    judgments. The order in which the first stage found the candidates is measured along.

    Args:
        collection: folder of the collection, with candidates, splits and judgments.
        output: folder for the runs and measures.
        rankers: the folder or Hugging Face id of each ranker by the name to show it under, of
            letters, digits, '.', '_', '-' and blanks; its run is the file of that name.
        runs: the TREC run of each other system by the name to show it under.
        baseline: the ranker or run that all others are tested against; by default the first stage.
        split: whose queries to measure on.
        click_labels: folder of click labels, for its propensities: measure against the clicks of
            held-out sessions, too; against these alone where humans judged no query.
        max_weight: the most that one held-out click can weigh, at least 1.
        scorers: processes that score, each with a copy of the ranker.
        cpus_per_scorer: CPUs that Ray sets aside for each of them.
        use_gpu: whether each of them takes a GPU.
        resume: do nothing if the measures are already there; finish them if they were cut short.

    Raises:
        InputError: an input is missing or broken, a ranker has no scoring head or another, no
            query can tell rankings apart, there is no GPU to use, or `output` is in use.
    """
    # These bring SciPy, PyTorch and Ray.
    from cluster.reach import check_reach
    from evaluation.means import group_means
    from evaluation.report.evaluated import write_evaluation_report
    from evaluation.significance import compare
    from evaluation.tables import markdown_comparison, print_comparison
    from rankers.data.lists import candidate_ids
    from rankers.scoring.pair_scorer import ranker_place
    from rankers.scoring.pool import score_candidates

    rankers, runs, baseline = rankers or {}, runs or {}, baseline or FIRST_STAGE
    check_evaluation_settings(max_weight, scorers, cpus_per_scorer, use_gpu)
    check_compared(rankers, runs, baseline)
    places = {name: ranker_place(path) for name, path in rankers.items()}
    tables = read_collection(collection)
    lists = candidate_ids(tables, split)
    first_stage = _first_stage_run(tables, lists)
    traffic = _held_out_traffic(tables, first_stage, click_labels, max_weight)
    by_traffic = traffic_ndcg(first_stage, traffic)["query_id"]
    none_of = f"{collection}: no query of the split {split!r}"
    telling = _count_telling(first_stage, tables.judgments, none_of, len(by_traffic))
    counted = _judged_queries(tables, split)
    ranked = {FIRST_STAGE: first_stage} | read_runs(runs, tables, {*counted, *by_traffic})
    settings = {
        "collection": str(collection),
        "rankers": {name: str(path) for name, path in rankers.items()},
        "runs": {name: str(path) for name, path in runs.items()},
        "baseline": baseline,
        "split": split,
        "click_labels": click_labels and str(click_labels),
        "max_weight": max_weight,
    }
    check_reach([], list(places.values()))
    if not begin_output(output, "evaluate", settings, resume):
        measures = pd.read_parquet(output / "measures.parquet")
        print_comparison(measures, pd.read_parquet(output / "comparison.parquet"), baseline)
        return
    (output / "runs").mkdir(exist_ok=True)
    if rankers:
        print(
            f"scoring {lists.num_rows:,} lists, {telling:,} of them with documents of different "
            f"grades, with {', '.join(rankers)}"
        )
        pool = (scorers, cpus_per_scorer, use_gpu)
        ranked |= score_candidates(lists, tables.documents, places, *pool)
    of_rankers = []
    for name in (FIRST_STAGE, *rankers, *runs):
        run = ranked[name]
        write_trec_run(run, output / "runs" / f"{file_name(name)}.trec", name)
        measured = [traffic_ndcg(run, traffic), traffic_log_likelihood(run, traffic)]
        if telling:
            measured.insert(0, measure_run(run, tables.judgments, counted))
            if missed := unranked_queries(run, tables.judgments, counted):
                print(f"{name}: {len(missed):,} judged queries have no candidates and count 0")
        of_rankers += [values.assign(ranker=name) for values in measured if len(values)]
    values = pd.concat(of_rankers, ignore_index=True)
    groups = reported_groups(tables)
    measures = group_means(values, groups).rename(columns={"group": "bucket"})
    _say_empty_groups(measures, none_of)
    comparison = compare(values[values["measure"].isin(COMPARED)], groups, baseline)
    of_measured = pc.is_in(
        tables.judgments["query_id"], value_set=pa.array(values["query_id"].unique())
    )
    write_trec_qrels(tables.judgments.filter(of_measured), output / "qrels.trec")
    for name, frame in (("values", values), ("measures", measures), ("comparison", comparison)):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        write_parquet(table, output / f"{name}.parquet")
    page = markdown_comparison(measures, comparison, baseline)
    (output / "comparison.md").write_text(page, encoding="utf-8")
    write_evaluation_report(output, values, measures, comparison, groups, tables, ranked, settings)
    finish_output(output)
    print_comparison(measures, comparison, baseline)


def check_evaluation_settings(
    max_weight: float, scorers: int, cpus_per_scorer: float, use_gpu: bool
) -> None:
    """Refuses settings of `evaluate` that no data could make right.

    Raises:
        InputError: naming the setting.
    """
    from rankers.scoring.pool import check_pool

    if not max_weight >= 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    check_pool(scorers, cpus_per_scorer, use_gpu)


def _held_out_traffic(
    collection: Collection, candidates: pd.DataFrame, click_labels: Path | None, max_weight: float
) -> pd.DataFrame:
    """Counts of the held-out traffic of candidate pairs; prints why there are none."""
    held_out = collection.held_out_sessions
    if click_labels is None or held_out.num_rows == 0:
        if held_out.num_rows:
            print("held-out traffic measures nothing: give --click_labels, for their propensities")
        elif click_labels is not None:
            print("there is no held-out traffic to measure by; prepare holds it out")
        held_out, propensities = held_out.slice(0, 0), np.array([1.0])
        return count_traffic(held_out, propensities, max_weight)
    of_split = pc.is_in(held_out["query_id"], value_set=pa.array(candidates["query_id"].unique()))
    counts = read_traffic(held_out.filter(of_split), click_labels, max_weight)
    return counts.merge(candidates[["query_id", "doc_id"]], on=["query_id", "doc_id"])


def _say_empty_groups(measures: pd.DataFrame, none_of: str) -> None:
    """Says in which groups of queries a measure has nothing to measure."""
    of_groups: dict[str, list[str]] = {}
    for measure in COMPARED:
        of_measure = measures[measures["measure"] == measure]
        found = set(of_measure["bucket"][of_measure["queries"] > 0])
        if found and (empty := [group for group in GROUPS if group not in found]):
            of_groups.setdefault(", ".join(empty), []).append(measure)
    for groups, names in of_groups.items():
        print(f"{none_of} in the groups {groups} can be measured by {', '.join(names)}")


def _judged_queries(collection: Collection, split: str) -> list[str]:
    groups = query_groups(collection)
    judged = pc.is_in(groups["query_id"], value_set=collection.judgments["query_id"])
    return groups.filter(pc.and_(pc.equal(groups["split"], split), judged))["query_id"].to_pylist()


def _count_telling(
    first_stage: pd.DataFrame, judgments: pa.Table, none_of: str, by_traffic: int
) -> int:
    """How many queries can tell rankings apart by human grades; refuses none but for traffic."""
    judged = judgments.filter(
        pc.is_in(judgments["query_id"], value_set=pa.array(first_stage["query_id"].unique()))
    )
    if telling := len(telling_queries(candidate_gains(first_stage, judged))):
        return telling
    fault, remedy = f"{none_of} has human judgments and candidates", "take another split"
    if judged.num_rows:
        reason = "no two of its candidates differ in grade"
        if pc.max(judged["grade"]).as_py() <= 0:
            reason = f"none of {judged.num_rows:,} grades is above 0"
        fault = f"{none_of} can tell rankings apart: {reason}"
        remedy = "judge more documents, or take another split"
    if not by_traffic:
        raise InputError(f"{fault}; {remedy}, or give --click_labels to measure by held-out clicks")
    print(f"{fault}; measured by the held-out traffic of {by_traffic:,} queries alone")
    return 0


def _first_stage_run(collection: Collection, lists: pa.Table) -> pd.DataFrame:
    candidates = collection.candidates
    of_split = candidates.filter(pc.is_in(candidates["query_id"], value_set=lists["query_id"]))
    frame = of_split.select(["query_id", "doc_id", "rank"]).to_pandas()
    return frame.assign(score=-frame["rank"].astype(float))[["query_id", "doc_id", "score"]]
