"""The analysis of a search of mixes: the table of trials and a plot of their parameters."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure
from ray.tune import ResultGrid
from rich.console import Console
from rich.table import Table

from corpus.frequency import BUCKETS
from corpus.tables import write_parquet
from evaluation.report.figures import make_logarithmic, styles
from rankers.training.checkpoints import NOT_VALIDATED
from rankers.training.validation import VALIDATION_MEASURE

PARAMETERS = ("kind", "click_weight", "switch", "first", "midpoint", "steepness")
OF_BUCKETS = [f"{VALIDATION_MEASURE}_{bucket}" for bucket in BUCKETS]
VALUES = [VALIDATION_MEASURE, *OF_BUCKETS]
LOGARITHMIC = ("midpoint", "steepness")


def write_analysis(results: ResultGrid, output: Path) -> pd.DataFrame:
    """Writes `trials.parquet` and `trials.svg`.

    Args:
        results: the results of the trials.
        output: the folder to write into.

    Returns:
        One row a trial that finished an epoch: its parameters, the mix that they describe as JSON
        (`rankers.mixes.encoding`), epochs, best validation nDCG@10, and that of the same epoch on
        queries of each frequency bucket, as far as there are any; best trial first. They are null
        for a trial whose loss, gradient or scores became infinite or NaN, since a training with
        its mix would too.
    """
    rows = []
    for result in results:
        history = result.metrics_dataframe
        if history is None or VALIDATION_MEASURE not in history:
            continue
        values = history[VALIDATION_MEASURE]
        finished = values[values > NOT_VALIDATED]
        best = dict.fromkeys(VALUES)
        if len(finished) == len(values) > 0:
            best = history.reindex(columns=VALUES).loc[finished.idxmax()].to_dict()
        rows.append(
            dict.fromkeys(PARAMETERS)
            | result.config
            | {"mix": json.dumps(result.config["mix"]), "epochs": len(finished)}
            | best
        )
    table = pd.DataFrame(rows, columns=[*PARAMETERS, "mix", "epochs", *VALUES])
    table[VALUES] = table[VALUES].astype(float)
    table = table.sort_values(VALIDATION_MEASURE, ascending=False, kind="stable")
    table = table.reset_index(drop=True)
    write_parquet(pa.Table.from_pandas(table, preserve_index=False), output / "trials.parquet")
    plot_trials(table).savefig(output / "trials.svg")
    return table


def plot_trials(table: pd.DataFrame) -> Figure:
    """Plots validation nDCG@10 against each parameter; colours and marks are kinds of mix.

    Args:
        table: the trials, from `write_analysis`.

    Returns:
        The figure, with one panel for each parameter.
    """
    shown = [name for name in PARAMETERS if table[name].notna().any()]
    looks = styles(sorted(table["kind"].unique()))
    figure = Figure(figsize=(2.6 * len(shown), 3), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, shown, strict=True):
        for kind, trials in table[table[name].notna()].groupby("kind"):
            values = trials[name].astype(str) if name in ("kind", "first") else trials[name]
            marks = looks[str(kind)] | {"linestyle": ""}
            panel.plot(values, trials[VALIDATION_MEASURE], label=kind, **marks)
        if name in LOGARITHMIC:
            make_logarithmic(panel)
        panel.tick_params(axis="x", labelrotation=30)
        panel.set_xlabel(name)
    panels[0].set_ylabel("validation nDCG@10")
    return figure


def print_trials(table: pd.DataFrame) -> None:
    """Prints the trials, best first; their parameters say what their mix is.

    Args:
        table: the trials, from `write_analysis`.
    """
    table = table.drop(columns=["mix", *OF_BUCKETS], errors="ignore")
    shown = Table(title="trials, by nDCG@10 on validation queries")
    for name in table.columns:
        shown.add_column(name, justify="left" if name in ("kind", "first") else "right")
    for _, row in table.iterrows():
        shown.add_row(*("" if pd.isna(value) else _shorten(value) for value in row))
    Console().print(shown)


def _shorten(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
