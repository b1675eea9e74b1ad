"""The job `reproduce`: the paper's comparison and Tandem's own, over several seeds."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
from rich.console import Console

from annotation.annotate import annotate
from clicks.fit_clicks import fit_clicks
from corpus.errors import InputError
from corpus.groups import GROUPS, reported_groups
from corpus.names import check_names, file_name
from corpus.output_folder import begin_output, finish_output
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld, Source
from corpus.tables import read_collection, write_parquet
from evaluation.given_runs import FIRST_STAGE
from evaluation.measures import MAIN_MEASURE
from rankers.evaluate import evaluate
from rankers.mixes.encoding import encode_mix
from rankers.settings import TrainingSettings
from workflow.conditions import ANNOTATION, CLICK, FAMOL, FUSION, Condition, headline_conditions
from workflow.diagnosed import diagnose_rankers

BASELINES = (ANNOTATION, CLICK, FAMOL)


def reproduce(
    output: Path,
    source: Source = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    conditions: dict[str, Condition] | None = None,
    training: TrainingSettings = TrainingSettings(),  # noqa: B008 - likewise
    seeds: int = 5,
    model: str = "demo-judge",
    max_model_len: int = 512,
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
        at_once: how many rankers are trained at a time, each by one processor.
        resume: go on with an output that was begun with the same settings; more seeds are allowed.

    Raises:
        InputError: a setting cannot be right, or `output` is in use.
    """
    # These bring SciPy and Matplotlib.
    from evaluation.report.diagnosis import diagnosis_section
    from evaluation.report.evaluated import INTRODUCTION, evaluation_sections
    from evaluation.report.page import write_report
    from evaluation.report.settings import settings_section
    from evaluation.significance import compare, group_means
    from evaluation.tables import markdown_comparison, print_comparison

    conditions = conditions or headline_conditions()
    check_names(conditions, "condition", taken=[FIRST_STAGE])
    if seeds < 1 or at_once < 1:
        raise InputError(f"seeds and at_once must be at least 1, not {seeds} and {at_once}")
    source.check()
    record = {
        "source": {"class_path": type(source).__name__, "init_args": vars(source)},
        "conditions": {
            name: {"mix": encode_mix(condition.mix), "labels": condition.labels}
            for name, condition in conditions.items()
        },
        "training": training.deciding,
        "model": model,
    }
    begin_output(output, "reproduce", record, resume)
    of_seeds = [output / f"seed-{seed}" for seed in range(seeds)]
    for seed, folder in enumerate(of_seeds):
        _rule(f"data of seed {seed} (of {seeds})")
        _make_data(folder, source, seed, model, max_model_len)
    _rule(f"{len(conditions) * seeds} rankers")
    _train(of_seeds, conditions, training, at_once)
    for seed, folder in enumerate(of_seeds):
        _rule(f"evaluation of seed {seed}")
        rankers = {name: _ranker(folder, name) for name in conditions}
        evaluate(
            folder / "collection",
            folder / "evaluation",
            rankers=rankers,
            click_labels=folder / "clicks",
            resume=True,
        )
        followed = diagnose_rankers(folder / "evaluation", folder / "collection")
        _write(followed, folder / "evaluation" / "diagnosis.parquet")
    apart = isinstance(source, SimulatedWorld)
    values, groups = _values(of_seeds, apart)
    measures = group_means(values, groups).rename(columns={"group": "bucket"})
    for name, frame in (("values", values), ("measures", measures)):
        _write(frame, output / f"{name}.parquet")
    followed, _ = _values(of_seeds, apart, "diagnosis")
    diagnosed = []
    if len(followed):
        means = group_means(followed, groups).rename(columns={"group": "bucket"})
        _write(means, output / "diagnosis.parquet")
        diagnosed.append(diagnosis_section(means))
    main = values[values["measure"] == MAIN_MEASURE]
    named = [name for name in BASELINES if name in conditions] or [FIRST_STAGE]
    for baseline in named:
        comparison = compare(main, groups, baseline)
        _write(comparison, output / f"comparison_{file_name(baseline)}.parquet")
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


def _make_data(folder: Path, source: Source, seed: int, model: str, max_model_len: int) -> None:
    collection, annotations = folder / "collection", folder / "annotations"
    prepare(collection, source, seed=seed, resume=True)
    annotate(collection, annotations, model, max_model_len=max_model_len, resume=True)
    fit_clicks(collection, folder / "clicks", resume=True)
    fit_clicks(collection, folder / FUSION, prior=annotations, resume=True)


def _train(
    of_seeds: list[Path],
    conditions: dict[str, Condition],
    training: TrainingSettings,
    at_once: int,
) -> None:
    from rankers.train_each import Arm, train_each  # brings PyTorch and Ray

    arms = [
        Arm(
            output=_ranker(folder, name),
            collection=folder / "collection",
            mix=condition.mix,
            training=replace(training, optimization=replace(training.optimization, seed=seed)),
            click_labels=folder / condition.labels,
            annotations=folder / "annotations",
            tokens=folder / "tokens",
        )
        for seed, folder in enumerate(of_seeds)
        for name, condition in conditions.items()
    ]
    train_each(arms, at_once)


def _ranker(folder: Path, name: str) -> Path:
    return folder / "rankers" / file_name(name)


def _values(
    of_seeds: list[Path], apart: bool, name: str = "values"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The values of all seeds and the groups of their queries.

    Args:
        of_seeds: the folder of each seed.
        apart: whether a query id means another query under another seed.
        name: of their file of values in the folder of the evaluation.
    """
    values, groups = [], []
    for seed, folder in enumerate(of_seeds):
        of_seed = pd.read_parquet(folder / "evaluation" / f"{name}.parquet").assign(seed=seed)
        of_groups = reported_groups(read_collection(folder / "collection"))
        if apart:
            for frame in (of_seed, of_groups):
                frame["query_id"] = f"{seed}/" + frame["query_id"]
            of_seed = of_seed.drop(columns="seed")
        values.append(of_seed)
        groups.append(of_groups)
    in_order = {group: place for place, group in enumerate(GROUPS)}
    together = pd.concat(groups, ignore_index=True).drop_duplicates()
    together = together.sort_values("group", key=lambda names: names.map(in_order), kind="stable")
    return pd.concat(values, ignore_index=True), together


def _queries(of_seeds: list[Path], apart: bool) -> pd.DataFrame:
    """query_id, text, frequency and bucket of the queries of all seeds."""
    from evaluation.report.evaluated import texts_of_queries

    frames = [texts_of_queries(read_collection(folder / "collection")) for folder in of_seeds]
    if not apart:
        return frames[0]
    for seed, frame in enumerate(frames):
        frame["query_id"] = f"{seed}/" + frame["query_id"]
    return pd.concat(frames, ignore_index=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)


def _rule(title: str) -> None:
    Console().rule(title, align="left")
