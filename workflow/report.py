"""The report of a pipeline: what its jobs left in one folder, as one page."""

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from annotation.quality.agreement import (
    compare_by_bucket,
    human_grades,
    human_scale,
    pair_grades,
    read_grades,
)
from corpus.groups import query_groups, reported_groups
from corpus.names import file_name
from corpus.output_folder import RECORD
from corpus.places import Place
from corpus.tables import Collection, read_collection, read_parquet, read_table, write_parquet
from evaluation.means import group_means
from evaluation.measures import MAIN_MEASURE
from evaluation.report.diagnosis import diagnosis_section
from evaluation.report.evaluated import (
    INTRODUCTION,
    evaluation_sections,
    first_documents,
    main_measure,
    texts_of_documents,
    texts_of_queries,
    traffic_measures,
)
from evaluation.report.headline import all_measures_section
from evaluation.report.page import write_report
from evaluation.report.parts import Section
from evaluation.report.queries import choose_ranker
from evaluation.report.settings import settings_section
from evaluation.report.signals import (
    agreement_section,
    audit_section,
    propensities_section,
    rank_differences,
)
from evaluation.report.training import training_section
from evaluation.trec_reading import read_trec_run
from rankers.training.checkpoints import HISTORY
from rankers.training.validation import VALIDATION_MEASURE
from tuning.analysis.reading import has_study
from tuning.analysis.sections import tuning_sections
from workflow.diagnosed import diagnose_rankers

RELEVANT_FROM = 2  # of the judge's grades, as the job `agreement` has it
MOST_PAIRS, LEAST_IMPRESSIONS = 20, 10  # of the audit
RESAMPLES = 50  # of the trials of a search, for the intervals of importances


def write_pipeline_report(output: Place, rankers: list[str]) -> Place:
    """Writes `report.html`, its tables and `diagnosis.parquet`, from what a pipeline's jobs left.

    A section whose data is absent is left out.

    Args:
        output: folder of the pipeline, with evaluation/, rankers/, tuning/, click_labels/,
            annotations/ and collection/.
        rankers: names of the rankers, in the order of the page.

    Returns:
        The path of the page.
    """
    collection = read_collection(output / "collection")
    measures = read_parquet(output / "evaluation" / "measures.parquet").to_pandas()
    values = read_parquet(output / "evaluation" / "values.parquet").to_pandas()
    comparison = read_parquet(output / "evaluation" / "comparison.parquet").to_pandas()
    propensities = read_parquet(output / "click_labels" / "propensities.parquet")
    settings = _settings(output)
    baseline = str(settings["evaluation"]["baseline"])
    main = main_measure(measures, comparison)
    queries = texts_of_queries(collection)
    looked_at = [name for name in (baseline, choose_ranker(measures, main, baseline)) if name]
    firsts = {name: _first_ranked(output, name, collection) for name in looked_at}
    tops = first_documents(firsts, collection)
    groups = reported_groups(collection)
    elsewhere = [main, *traffic_measures(measures)]
    sections = [
        *evaluation_sections(values, measures, comparison, groups, queries, baseline, tops),
        *_diagnosis_sections(output, groups),
        training_section(_histories(output, rankers), VALIDATION_MEASURE, MAIN_MEASURE),
        *_tuning_sections(output / "tuning"),
        *_judge_sections(output, collection),
        propensities_section(propensities.to_pandas()),
        all_measures_section(measures, elsewhere),
        settings_section(settings),
    ]
    title = f"Who wins on which queries: {output.name}"
    return write_report(sections, output / "report.html", title, INTRODUCTION)


def _diagnosis_sections(output: Place, groups: pd.DataFrame) -> list[Section]:
    values = diagnose_rankers(output / "evaluation", output / "collection")
    if values.empty:
        return []
    means = group_means(values, groups).rename(columns={"group": "bucket"})
    table = pa.Table.from_pandas(means, preserve_index=False)
    write_parquet(table, output / "diagnosis.parquet")
    return [diagnosis_section(means)]


def _first_ranked(output: Place, ranker: str, collection: Collection) -> pd.DataFrame:
    run, _ = read_trec_run(output / "evaluation" / "runs" / f"{file_name(ranker)}.trec", collection)
    return run.filter(pc.equal(run["rank"], 1)).select(["query_id", "doc_id"]).to_pandas()


def _histories(output: Place, rankers: list[str]) -> dict[str, list[dict[str, Any]]]:
    paths = {name: output / "rankers" / name / HISTORY for name in rankers}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def _tuning_sections(tuning: Place) -> list[Section]:
    if has_study(tuning):
        return tuning_sections(tuning, RESAMPLES)
    text = (
        "The study is in a database, whose URL this report does not keep: ray_jobs/analyse.py "
        f"--tuning {tuning} --storage URL makes the page of the search."
    )
    return [Section("Tuning", [text])]


def _judge_sections(output: Place, collection: Collection) -> list[Section]:
    """The judge against humans, and the pairs on which it, humans and clicks differ most."""
    judged = read_grades(output / "annotations")
    labels = read_table(output / "click_labels", "click_labels").to_pandas()
    signals = {
        "judge": judged.rename(columns={"expected_grade": "value"}),
        "clicks": labels.rename(columns={"relevance": "value"}),
    }
    sections = []
    if collection.judgments.num_rows:
        judgments = collection.judgments.to_pandas()
        signals["human"] = judgments.rename(columns={"grade": "value"})
        sections += _agreement_sections(judged, judgments, collection)
    pairs = rank_differences(signals, LEAST_IMPRESSIONS, MOST_PAIRS)
    if pairs.empty:
        return sections
    queries, documents = (
        collection.queries.to_pandas(),
        texts_of_documents(collection, pairs["doc_id"]),
    )
    return [*sections, audit_section(pairs, queries, documents, LEAST_IMPRESSIONS)]


def _agreement_sections(
    judged: pd.DataFrame, judgments: pd.DataFrame, collection: Collection
) -> list[Section]:
    """Without intervals, which take a bootstrap of all measures; the job `agreement` gives them."""
    scale = human_scale(judgments, None, RELEVANT_FROM, "the collection's judgments")
    graded = pair_grades(judged, human_grades(judgments, scale), scale)
    if graded.empty:
        return []
    bucket = query_groups(collection).select(["query_id", "bucket"]).to_pandas()
    found = compare_by_bucket(graded.merge(bucket, on="query_id"), scale.levels, 2, seed=0)
    rows = [
        {"measure": measure.replace("_", " "), "group": group, "value": told["value"]}
        for group, of_group in found.items()
        for measure, told in of_group["measures"].items()
    ]
    confusion = pd.DataFrame(found["all"]["confusion"])
    return [agreement_section(confusion, pd.DataFrame(rows))]


def _settings(output: Place) -> dict[str, dict[str, Any]]:
    """The settings of each job, from what it recorded in its folder."""
    jobs = {}
    for path in [output / RECORD, *sorted(output.glob(f"*/{RECORD}"))]:
        jobs[path.parent.relative_to(output).as_posix()] = path
    trained = sorted(output.glob(f"rankers/*/{RECORD}"))
    jobs |= {f"rankers/{path.parent.name}": path for path in trained}
    jobs = {"pipeline" if name == "." else name: path for name, path in jobs.items()}
    return {
        name: json.loads(path.read_text(encoding="utf-8"))["settings"]
        for name, path in jobs.items()
    }
