"""What a search leaves beside its study: tables of trials and epochs, and a YAML for `train`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from corpus.places import Place, write_whole
from corpus.tables import write_parquet
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import HISTORY
from rankers.training.storage import place_within
from tuning.inputs import Sources
from tuning.objectives import MEASURES, Objectives
from tuning.space import with_settings
from tuning.study import TAKEN_OVER, asked_for, finished_trials

CONFIG = "train.yaml"
# What a search has ended with, in its study.
CONCLUDED = "concluded"
# Columns before those of parameters, and after.
FIRST = ["number", "state", "best", "known", "kind", "labels"]
LAST = [
    *MEASURES,
    *("seconds", "began", "ended", "epochs", "stopped_after", "worker", "folder", "error"),
    *("settings", "taken_over", "mix"),
]


def trials_table(study: Study, best: int | None) -> pd.DataFrame:
    """A row a trial, by number; those that were cut short are left to the trial that goes on.

    Args:
        study: of the search.
        best: number of the trial in best.yaml.
    """
    trials = finished_trials(study)
    names = sorted({name for trial in trials for name in asked_for(trial)} - {*FIRST, *LAST})
    rows = []
    for trial in trials:
        told = trial.user_attrs
        encoded = told.get("mix")
        rows.append(
            {name: told.get(name) for name in ("known", "labels", *LAST)}
            | dict.fromkeys(MEASURES)
            | asked_for(trial)
            | told.get("measures", {})
            | {"number": trial.number, "state": trial.state.name, "best": trial.number == best}
            | {"kind": encoded and encoded["class_path"], "mix": encoded and json.dumps(encoded)}
            | {"settings": json.dumps(told.get("settings", {}))}
            | {"taken_over": json.dumps(told[TAKEN_OVER]) if TAKEN_OVER in told else None}
        )
    table = pd.DataFrame(rows, columns=[*FIRST, *names, *LAST])
    numbers = [*MEASURES, "seconds", "began", "ended", "epochs", "stopped_after"]
    table[numbers] = table[numbers].astype(float)
    return table.astype({"number": "int64", "best": bool})


def epochs_table(study: Study, output: Place) -> pd.DataFrame:
    """A row an epoch of each trial, with all that training told of it.

    Args:
        study: of the search.
        output: the search's folder.
    """
    rows = [
        {"number": trial.number, **epoch}
        for trial in finished_trials(study)
        for epoch in read_history(output, trial)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["number", "epoch"])


def read_history(output: Place, trial: FrozenTrial) -> list[dict[str, float]]:
    """The epochs of a trial, as training left them; none where it came to no end of one."""
    path = output / trial.user_attrs.get("folder", "") / HISTORY
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def write_tables(study: Study, output: Place, best: int | None) -> pd.DataFrame:
    """Writes trials and epochs as parquet and CSV; returns the trials."""
    trials = trials_table(study, best)
    for name, table in (("trials", trials), ("epochs", epochs_table(study, output))):
        whole = pa.Table.from_pandas(table, preserve_index=False)
        write_parquet(whole, output / f"{name}.parquet")
        write_whole(output / f"{name}.csv", table.to_csv(index=False))
    return trials


def train_config(
    output: Place,
    sources: Sources,
    training: TrainingSettings,
    told: Mapping[str, Any],
    tokens: Place,
    checkpoints: str | None = None,
) -> dict[str, Any]:
    """What `train --config` takes to train the ranker of a trial.

    Args:
        output: for the ranker.
        sources: what the search has read.
        training: all that is not searched.
        told: the trial's attributes mix, labels and settings.
        tokens: where token ids are.
        checkpoints: folder or URI for its checkpoints.
    """
    config = {
        "collection": str(sources.collection),
        "click_labels": str(sources.click_labels[told["labels"]]),
        "annotations": str(sources.annotations),
        "output": str(output),
        "mix": told["mix"],
        "training": asdict(with_settings(training, told["settings"])),
        "tokens": str(tokens),
    }
    return config | ({} if checkpoints is None else {"checkpoints": checkpoints})


def write_configs(
    study: Study,
    output: Place,
    best: FrozenTrial,
    sources: Sources,
    training: TrainingSettings,
    tokens: Place,
    checkpoints: str | None,
) -> None:
    """Writes best.yaml, and train.yaml in the folder of each trial."""
    for trial in finished_trials(study):
        folder = output / trial.user_attrs["folder"]
        if folder.is_dir():
            ranker = output / "rankers" / folder.name
            config = train_config(ranker, sources, training, trial.user_attrs, tokens)
            _write_yaml(config, folder / CONFIG)
    own = None if checkpoints is None else place_within(checkpoints, "ranker")
    told = best.user_attrs
    config = train_config(output / "ranker", sources, training, told, tokens, own)
    _write_yaml(config, output / "best.yaml")


def concluded(study: Study, trials: int, ended: list[int]) -> str | None:
    """What a search has said at its end, if there is nothing left to do; else None.

    Args:
        study: of the search.
        trials: how many there are to be.
        ended: how many finalists there are to be, and seeds.
    """
    told = study.user_attrs.get(CONCLUDED)
    done = told is not None and told["trials"] >= trials and told["ended"] == ended
    return str(told["said"]) if done else None


def conclude(study: Study, ended: list[int], said: str) -> None:
    """Records that a search is at its end, and what it said."""
    told = {"trials": len(finished_trials(study)), "ended": ended, "said": said}
    study.set_user_attr(CONCLUDED, told)


def _write_yaml(config: dict[str, Any], path: Place) -> None:
    write_whole(path, yaml.safe_dump(config, sort_keys=False))


def print_trials(table: pd.DataFrame, objectives: Objectives) -> None:
    """Prints the trials, best first, the failed ones last with their error.

    Args:
        table: from `trials_table`.
        objectives: that choose among them.
    """
    shown = Table(title="trials, best first")
    right = {"number", "nDCG@10", "epochs", "seconds"}
    for name in ("number", "mix", "labels", "nDCG@10", "epochs", "seconds", "state"):
        shown.add_column(name, justify="right" if name in right else "left")
    for row in sort_trials(table, objectives).to_dict("records"):
        failed = row["state"] == TrialState.FAIL.name
        state = {TrialState.PRUNED.name: "stopped early"}.get(row["state"], row["state"].lower())
        name = row["kind"] if pd.isna(row["known"]) else row["known"]
        values = [str(row["number"]), _text(name, "s"), _text(row["labels"], "s")]
        values += ["" if failed else _text(row[MEASURES[0]], ".4f")]
        values += [_text(row["epochs"], ".0f"), _text(row["seconds"], ".0f")]
        values += [f"failed: {_text(row['error'], 's')}" if failed else state]
        shown.add_row(*map(escape, values), style="bold" if row["best"] else "")
    Console().print(shown)


def _text(value: Any, form: str) -> str:
    return "" if pd.isna(value) else format(value, form)


def sort_trials(table: pd.DataFrame, objectives: Objectives) -> pd.DataFrame:
    """The trials, best first; those that failed are last, whatever they had reached."""
    failed = (table["state"] == TrialState.FAIL.name).to_numpy()
    values = [
        float("-inf") if gone else objectives.chosen_by({str(k): v for k, v in row.items()})
        for gone, row in zip(failed, table.to_dict("records"), strict=True)
    ]
    order = table.assign(value=values).sort_values("value", ascending=False, kind="stable")
    return order.drop(columns="value")
