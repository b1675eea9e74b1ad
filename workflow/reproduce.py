"""The job `reproduce`: the paper's comparison and Tandem's own, over several seeds."""

from pathlib import Path

import pandas as pd

from annotation.annotate import annotate
from corpus.names import file_name
from corpus.output_folder import begin_output, finish_output
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld, Source
from corpus.tables import read_collection
from evaluation.given_runs import FIRST_STAGE
from evaluation.measures import MAIN_MEASURE
from rankers.evaluate import evaluate
from rankers.settings import TrainingSettings
from workflow.conditions import ANNOTATION, CLICK, FAMOL, Condition, headline_conditions
from workflow.diagnosed import diagnose_rankers
from workflow.simulated_annotations import JUDGE, SimulatedJudge, annotate_simulated
from workflow.study import (
    announce,
    check_study,
    describe_conditions,
    label_by_judge,
    label_clicks,
    ranker_folder,
    ranker_of,
    values_of_seeds,
    write_frame,
)

BASELINES = (ANNOTATION, CLICK, FAMOL)


def reproduce(
    output: Path,
    source: Source = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    conditions: dict[str, Condition] | None = None,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 - likewise
    seeds: int = 5,
    model: str = "demo-judge",
    max_model_len: int = 512,
    judge_error: float | None = None,
    at_once: int = 2,
    resume: bool = False,
) -> None:
    """Compares ways to train on clicks and annotations, over several seeds, with tests.

    Each seed has a collection, click labels, fused labels and annotations of its own, a ranker for
    each condition, and an evaluation. Of simulated worlds each seed is another world, so that the
    tests are over the queries of all of them; of one collection with simulated clicks, a query's
    value is its mean over seeds. Writes `values.parquet`, `measures.parquet`, `diagnosis.parquet`
    (what the scores follow), `report.html` and, against each of annotation, click and famol that
    there is, `comparison_NAME.parquet` and `comparison_NAME.md`. The table is printed, and the
    report made, against the first of them.

    Each ranker is trained by one process. What is there already is not made again, so a study that
    was cut short goes on, and one with more seeds makes only those.

    Args:
        output: folder for everything: seed-0/, seed-1/ and so on, and the comparisons.
        source: what the collections are made from, with clicks.
        conditions: the ways to train, by name; by default those of the headline table.
        training: how each ranker is trained.
        seeds: how many seeds, from 0.
        model: the judge, as of `annotate`.
        max_model_len: the judge's, as of `annotate`.
        judge_error: take, instead of the model, a simulated judge that reads the true grades and
            gets this share of them wrong, 0 to below 0.5: for texts that no judge at hand can read.
            The grades are the topical ones of a simulated world, and elsewhere the human ones,
            those of test queries too, as the simulated clicks are made of them.
        at_once: how many rankers are trained at a time, each by one processor.
        resume: go on with an output that was begun with the same settings; more seeds are allowed.

    Raises:
        InputError: a setting cannot be right, or `output` is in use.
    """
    # These bring SciPy, Matplotlib, PyTorch and Ray.
    from cluster.reach import check_reach
    from evaluation.means import group_means
    from evaluation.report.diagnosis import diagnosis_section
    from evaluation.report.evaluated import INTRODUCTION, evaluation_sections
    from evaluation.report.page import write_report
    from evaluation.report.settings import settings_section
    from evaluation.significance import compare
    from evaluation.tables import markdown_comparison, print_comparison
    from rankers.train_each import train_each

    conditions = conditions or headline_conditions()
    check_study(conditions, training, seeds, at_once)
    source.check()
    judge = None if judge_error is None else SimulatedJudge(judge_error)
    if judge is not None:
        judge.check()
    record = {
        "source": {"class_path": type(source).__name__, "init_args": vars(source)},
        "conditions": describe_conditions(conditions),
        "training": training.deciding,
        "model": model if judge is None else f"{JUDGE}, error {judge.error}",
    }
    check_reach([output])
    begin_output(output, "reproduce", record, resume)
    of_seeds = [output / f"seed-{seed}" for seed in range(seeds)]
    for seed, folder in enumerate(of_seeds):
        announce(f"data of seed {seed} (of {seeds})")
        collection, annotations = folder / "collection", folder / "annotations"
        prepare(collection, source, seed=seed, resume=True)
        if judge is None:
            annotate(collection, annotations, model, max_model_len=max_model_len, resume=True)
        else:
            annotate_simulated(collection, annotations, judge, seed)
        label_clicks(folder)
        label_by_judge(folder, folder)
    announce(f"{len(conditions) * seeds} rankers")
    rankers_to_train = [
        ranker_of(folder, folder, ranker_folder(folder, name), condition, training, seed)
        for seed, folder in enumerate(of_seeds)
        for name, condition in conditions.items()
    ]
    train_each(rankers_to_train, at_once)
    for seed, folder in enumerate(of_seeds):
        announce(f"evaluation of seed {seed}")
        rankers = {name: ranker_folder(folder, name) for name in conditions}
        evaluate(
            folder / "collection",
            folder / "evaluation",
            rankers=rankers,
            click_labels=folder / "clicks",
            resume=True,
        )
        followed = diagnose_rankers(folder / "evaluation", folder / "collection")
        write_frame(followed, folder / "evaluation" / "diagnosis.parquet")
    apart = isinstance(source, SimulatedWorld)
    collections, evaluations = (
        [folder / name for folder in of_seeds] for name in ("collection", "evaluation")
    )
    values, groups = values_of_seeds(collections, evaluations, apart)
    measures = group_means(values, groups).rename(columns={"group": "bucket"})
    for name, frame in (("values", values), ("measures", measures)):
        write_frame(frame, output / f"{name}.parquet")
    followed, _ = values_of_seeds(collections, evaluations, apart, "diagnosis")
    diagnosed = []
    if len(followed):
        means = group_means(followed, groups).rename(columns={"group": "bucket"})
        write_frame(means, output / "diagnosis.parquet")
        diagnosed.append(diagnosis_section(means))
    main = values[values["measure"] == MAIN_MEASURE]
    named = [name for name in BASELINES if name in conditions] or [FIRST_STAGE]
    for baseline in named:
        comparison = compare(main, groups, baseline)
        write_frame(comparison, output / f"comparison_{file_name(baseline)}.parquet")
        page = markdown_comparison(measures, comparison, baseline)
        (output / f"comparison_{file_name(baseline)}.md").write_text(page, encoding="utf-8")
        if baseline == named[0]:
            queries = _queries(of_seeds, apart)
            sections = evaluation_sections(values, measures, comparison, groups, queries, baseline)
            sections += [*diagnosed, settings_section({"reproduce": record | {"seeds": seeds}})]
            title = f"Who wins on which queries, over {seeds} seeds: {output.name}"
            write_report(sections, output / "report.html", title, INTRODUCTION)
            print_comparison(measures, comparison, baseline)
    finish_output(output)


def _queries(of_seeds: list[Path], apart: bool) -> pd.DataFrame:
    """query_id, text, frequency and bucket of the queries of all seeds."""
    from evaluation.report.evaluated import texts_of_queries

    frames = [texts_of_queries(read_collection(folder / "collection")) for folder in of_seeds]
    if not apart:
        return frames[0]
    for seed, frame in enumerate(frames):
        frame["query_id"] = f"{seed}/" + frame["query_id"]
    return pd.concat(frames, ignore_index=True)
