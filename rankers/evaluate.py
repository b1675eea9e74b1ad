"""The job `evaluate`: measures rankers side by side on queries they have not seen."""

from typing import Literal

import pandas as pd
import pyarrow as pa

from corpus.errors import InputError
from corpus.groups import GROUPS
from corpus.names import file_name
from corpus.output_folder import RECORD, begin_output, finish_output, withdrawn_if_refused
from corpus.places import Place, remove, write_whole
from corpus.tables import write_parquet
from evaluation.given_runs import FIRST_STAGE, check_compared
from evaluation.measures import MAIN_MEASURE
from evaluation.measuring import FIRST, VALUE, Measured, groups_of_queries, texts_of_measured
from evaluation.traffic import TRAFFIC_LIKELIHOOD, TRAFFIC_NDCG, log_likelihood
from evaluation.trec_writing import qrels_lines, write_texts

# The folder, in the output, of what is only needed until the job has finished.
PARTS = "parts"
# What is tested against the baseline and shown.
COMPARED = (MAIN_MEASURE, TRAFFIC_NDCG, TRAFFIC_LIKELIHOOD)


def evaluate(
    collection: Place,
    output: Place,
    rankers: dict[str, Place] | None = None,
    runs: dict[str, Place] | None = None,
    baseline: str | None = None,
    split: Literal["train", "validation", "test"] = "test",
    click_labels: Place | None = None,
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
    from rankers.scoring.pair_scorer import ranker_place
    from rankers.scoring.pieces import read_piece
    from rankers.scoring.pool import Pool
    from rankers.systems import open_systems

    rankers, runs, baseline = rankers or {}, runs or {}, baseline or FIRST_STAGE
    check_evaluation_settings(max_weight, scorers, cpus_per_scorer, use_gpu)
    check_compared(rankers, runs, baseline)
    places = {name: ranker_place(path) for name, path in rankers.items()}
    none_of = f"{collection}: no query of the split {split!r}"
    systems = open_systems(collection, runs, split, click_labels, max_weight)
    settings = {
        "collection": str(collection),
        "rankers": {name: str(path) for name, path in rankers.items()},
        "runs": {name: str(path) for name, path in runs.items()},
        "baseline": baseline,
        "split": split,
        "click_labels": click_labels and str(click_labels),
        "max_weight": max_weight,
        **systems.identity(),
    }
    check_reach([], list(places.values()))
    begun = (output / RECORD).exists()
    if not begin_output(output, "evaluate", settings, resume):
        measures, comparison = (
            read_piece(output / f"{name}.parquet").to_pandas()
            for name in ("measures", "comparison")
        )
        print_comparison(measures, comparison, baseline)
        return
    with withdrawn_if_refused(output, begun):
        measured = {FIRST_STAGE: systems.measure_first_stage(output / PARTS)}
        telling = _count_telling(measured[FIRST_STAGE], none_of)
        for name, run in runs.items():
            measured[name] = systems.measure_run(name, run, output / PARTS)
    if rankers:
        number = int(measured[FIRST_STAGE].total("lists"))
        print(
            f"scoring {number:,} lists, {telling:,} of them with documents of different "
            f"grades, with {', '.join(rankers)}"
        )
        pool = Pool(scorers, cpus_per_scorer, use_gpu)
        measured |= systems.measure_rankers(places, output / PARTS, pool)
    of_systems = []
    for name in (FIRST_STAGE, *rankers, *runs):
        system = measured[name]
        write_texts(system.lines, output / "runs" / f"{file_name(name)}.trec")
        values = system.of_kind(VALUE).rename(columns={"name": "measure"})
        values = values[["query_id", "measure", "value"]]
        if telling == 0:
            values = values[values["measure"] == TRAFFIC_NDCG]
        elif missed := int(system.total("missed")):
            print(f"{name}: {missed:,} judged queries have no candidates and count 0")
        both = [values, log_likelihood(system.traffic, system.least("score"))]
        of_systems += [frame.assign(ranker=name) for frame in both if len(frame)]
    values = pd.concat(of_systems, ignore_index=True)
    queries = texts_of_measured(measured[FIRST_STAGE])
    groups = groups_of_queries(queries)
    measures = group_means(values, groups).rename(columns={"group": "bucket"})
    _say_empty_groups(measures, none_of)
    comparison = compare(values[values["measure"].isin(COMPARED)], groups, baseline)
    qrels = systems.judgments_of(set(values["query_id"]))
    write_texts(("".join(qrels_lines(table)) for table in qrels), output / "qrels.trec")
    for name, frame in (("values", values), ("measures", measures), ("comparison", comparison)):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        write_parquet(table, output / f"{name}.parquet")
    page = markdown_comparison(measures, comparison, baseline)
    write_whole(output / "comparison.md", page)
    firsts = {name: system.of_kind(FIRST) for name, system in measured.items()}
    write_evaluation_report(
        output, values, measures, comparison, groups, queries, firsts, systems.titles, settings
    )
    remove(output / PARTS)
    finish_output(output)
    print_comparison(measures, comparison, baseline)


def check_evaluation_settings(
    max_weight: float, scorers: int, cpus_per_scorer: float, use_gpu: bool
) -> None:
    """Refuses settings of `evaluate` that no data could make right.

    Raises:
        InputError: naming the setting.
    """
    from rankers.scoring.pool import Pool

    if not max_weight >= 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    Pool(scorers, cpus_per_scorer, use_gpu).check()


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


def _count_telling(first_stage: Measured, none_of: str) -> int:
    """How many queries can tell rankings apart by human grades; refuses none but for traffic."""
    if telling := int(first_stage.total("telling")):
        return telling
    fault, remedy = f"{none_of} has human judgments and candidates", "take another split"
    if judged := int(first_stage.total("judged")):
        reason = "no two of its candidates differ in grade"
        if first_stage.total("relevant") == 0:
            reason = f"none of {judged:,} grades is above 0"
        fault = f"{none_of} can tell rankings apart: {reason}"
        remedy = "judge more documents, or take another split"
    by_traffic = int(first_stage.total("by traffic"))
    if not by_traffic:
        raise InputError(f"{fault}; {remedy}, or give --click_labels to measure by held-out clicks")
    print(f"{fault}; measured by the held-out traffic of {by_traffic:,} queries alone")
    return 0
