"""The report of a pipeline: one self-contained HTML page with tables and plots."""

import io
import json
import re
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from markupsafe import Markup
from matplotlib.figure import Figure

from clicks.propensities import plot_propensities
from corpus.frequency import BUCKETS
from corpus.tables import read_table
from evaluation.measures import MAIN_MEASURE
from rankers.training.checkpoints import HISTORY
from rankers.training.validation import VALIDATION_MEASURE
from tuning.analysis import plot_trials

TEMPLATE = "report.html.jinja"
BUCKET_ORDER = [*BUCKETS, "all"]


def write_report(output: Path, rankers: list[str]) -> Path:
    """Writes `report.html` from what the jobs of a pipeline left in `output`.

    Args:
        output: folder of the pipeline, with evaluation/, rankers/, tuning/, click_labels/,
            annotations/ and collection/.
        rankers: names of the rankers, in the order of the page.

    Returns:
        The path of the page.
    """
    measures = pd.read_parquet(output / "evaluation" / "measures.parquet")
    trials = pd.read_parquet(output / "tuning" / "trials.parquet")
    propensities = pq.read_table(output / "click_labels" / "propensities.parquet")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    page = environment.get_template(TEMPLATE).render(
        title=output.name,
        main_measure=MAIN_MEASURE,
        tables={
            measure: Markup(_table_of(measures, measure))
            for measure in sorted(measures["measure"].unique(), key=_measure_order)
        },
        measures_plot=_svg(plot_measures(measures)),
        history_plot=_svg(plot_histories(output / "rankers", rankers)),
        trials_plot=_svg(plot_trials(trials)),
        trials=Markup(
            trials.to_html(index=False, float_format="{:.4g}".format, na_rep="", border=0)
        ),
        propensities_plot=_svg(plot_propensities(propensities)),
        grades_plot=_svg(plot_grades(output)),
    )
    path = output / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def plot_measures(measures: pd.DataFrame) -> Figure:
    """Plots bars of nDCG@10 for each ranker, grouped by frequency bucket.

    Args:
        measures: ranker, measure, bucket and value, as `evaluate` writes them.
    """
    shown = measures[measures["measure"] == MAIN_MEASURE]
    values = shown.pivot_table("value", "bucket", "ranker", sort=False, observed=True)
    values = values.reindex([bucket for bucket in BUCKET_ORDER if bucket in values.index])
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panel = figure.subplots()
    values.plot.bar(ax=panel, rot=0, width=0.8, colormap="viridis")
    panel.set_ylim(max(0.0, float(values.min().min()) - 0.1), 1)
    panel.set_xlabel("query frequency")
    panel.set_ylabel(MAIN_MEASURE)
    panel.legend(bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)
    return figure


def plot_histories(folder: Path, rankers: list[str]) -> Figure:
    """Plots validation nDCG@10 of each ranker by epoch.

    Args:
        folder: the folder with a folder for each ranker.
        rankers: names of the rankers.
    """
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    panel = figure.subplots()
    for name in rankers:
        history = pd.DataFrame(json.loads((folder / name / HISTORY).read_text()))
        panel.plot(history["epoch"], history[VALIDATION_MEASURE], marker=".", label=name)
    panel.set_xlabel("epoch")
    panel.set_ylabel(f"validation {MAIN_MEASURE}")
    panel.legend(frameon=False)
    return figure


def plot_grades(output: Path) -> Figure:
    """Plots counts of human grades against the annotator's grades, of pairs that have both.

    Args:
        output: folder of the pipeline.
    """
    pair = ["query_id", "doc_id"]
    human = read_table(output / "collection", "judgments").select([*pair, "grade"]).to_pandas()
    annotated = read_table(output / "annotations", "annotations").select([*pair, "grade"])
    both = human.merge(annotated.to_pandas().dropna(), on=pair, suffixes=("_human", "_llm"))
    counts = pd.crosstab(both["grade_human"], both["grade_llm"].astype(int))
    figure = Figure(figsize=(4, 3.2), layout="constrained")
    panel = figure.subplots()
    panel.imshow(np.log1p(counts.to_numpy()), cmap="Blues", aspect="auto")
    for (row, column), count in np.ndenumerate(counts.to_numpy()):
        panel.text(column, row, f"{int(count):,}", ha="center", va="center")
    panel.set_xticks(range(counts.shape[1]), counts.columns)
    panel.set_yticks(range(counts.shape[0]), counts.index)
    panel.set_xlabel("grade of the LLM")
    panel.set_ylabel("human grade")
    return figure


def _table_of(measures: pd.DataFrame, measure: str) -> str:
    shown = measures[measures["measure"] == measure]
    values = shown.pivot_table("value", "ranker", "bucket", sort=False, observed=True)
    values = values[[bucket for bucket in BUCKET_ORDER if bucket in values]]
    return values.to_html(float_format="{:.4f}".format, border=0, index_names=False)


def _measure_order(measure: str) -> tuple[bool, str, int]:
    name, _, cut = measure.partition("@")
    return measure != MAIN_MEASURE, name, int(cut or 0)


def _svg(figure: Figure) -> Markup:
    """The figure as an inline SVG element; without XML prologue, which HTML does not take."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return Markup(re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL))
