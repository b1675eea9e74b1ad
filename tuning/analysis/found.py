"""What the search found: its state, the best trial beside the known points, every trial."""

from collections import Counter
from typing import Any

import pandas as pd

from evaluation.report.cells import number_text
from evaluation.report.parts import Estimate, Section, Table
from tuning.analysis.finalists import verdict_on_best
from tuning.analysis.reading import MEASURES, STATES, Search, parameters_of

WORST_ERRORS = 5


def found_section(search: Search) -> Section:
    """How the search went and what is best, in words and one small table."""
    parts: list[str | Table] = [_how_it_went(search), *_best(search), *_failures(search)]
    rows = [row for row in (search.best, search.best_known) if row is not None]
    # The best known point may be the best of all.
    rows = list({int(row["number"]): row for row in rows}.values())
    if rows:
        shown = pd.DataFrame([_measured(row, search) for row in rows]).drop(columns="state")
        told = "The best trial and the best known point, on validation queries."
        parts.append(Table("best trials", shown, told))
    return Section("What was found", parts)


def trials_section(search: Search) -> Section:
    """Every trial, in the order in which they were proposed."""
    frame = pd.DataFrame(
        [
            _measured(row, search)
            | {
                "epochs": _whole(row["epochs"]),
                "stopped after": _whole(row["stopped_after"]),
                "seconds": _whole(row["seconds"]),
                "labels": row["labels"],
                "parameters": parameters_text(parameters_of(trial)),
                "goes on from": _whole(row["continues"]),
                "error": row["error"],
            }
            for row, trial in zip(search.trials.to_dict("records"), search.frozen, strict=True)
        ]
    )
    always = ("trial", "state", "kind", "parameters", *search.objectives)
    empty = [name for name in frame if name not in always and frame[name].isna().all()]
    told = (
        "Every trial. Measures are of its best epoch, on all validation queries and on those of "
        "each frequency; of a trial that was stopped early or failed, of the epochs that it had."
    )
    return Section("Every trial", [Table("trials", frame.drop(columns=empty), told)])


def parameters_text(parameters: dict[str, Any]) -> str:
    """Parameters in one line.

    >>> parameters_text({"Ramp.begins": 0.12345, "labels": "clicks"})
    'Ramp.begins 0.123, labels clicks'
    """
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )


def _how_it_went(search: Search) -> str:
    counts = Counter(search.trials["state"])
    states = ", ".join(f"{counts[word]} {word}" for word in STATES.values() if counts[word])
    seconds = search.trials["seconds"].sum()
    workers = search.trials["worker"].nunique()
    began, ended = search.trials["began"].min(), search.trials["ended"].max()
    text = f"Trials: {states}. They trained for {_duration(seconds)} in all"
    if ended > began:
        text += f", within {_duration(ended - began)} of the clock"
    if workers:
        text += f", on {workers} worker{'s' if workers > 1 else ''}"
    running = counts["running"] + counts["waiting"]
    return text + (". The search still runs, or was cut short." if running else ".")


def _best(search: Search) -> list[str]:
    best, known = search.best, search.best_known
    objective = search.objectives[0]
    if best is None:
        return ["No trial is complete, so there is nothing best."]
    text = ""
    if len(search.objectives) > 1:
        text = f"It looked for {' and '.join(search.objectives)}, whose front is below. "
    text += f"Best by {objective}: {_called(best)}, with {number_text(best[objective])}"
    if known is None:
        return [f"{text}. No known point is complete, to compare it with."]
    if best["number"] == known["number"]:
        text += ", which is a known point: the search found nothing better in these trainings."
    else:
        gain = number_text(best[objective] - known[objective], signed=True)
        text += (
            f", {gain} against the best known point, {_called(known)}. One training of each says "
            "little: the seed alone moves a measure, and the best of many is lucky."
        )
    said = verdict_on_best(search) if search.said is None else f"The search says: {search.said}."
    return [text, said]


def _failures(search: Search) -> list[str]:
    failed = search.trials[search.trials["state"] == "failed"]
    if failed.empty:
        return []
    errors = Counter(failed["error"].fillna("no error was kept"))
    told = [f"{error} ({count})" for error, count in errors.most_common(WORST_ERRORS)]
    if len(errors) > WORST_ERRORS:
        told.append("others below")
    return [f"Why trials failed: {'; '.join(told)}."]


def _called(row: "pd.Series[Any]") -> str:
    number = int(row["number"])
    kind = row["kind"] or "of a kind that was not kept"
    return f"{row['known']} (trial {number})" if row["known"] else f"trial {number} ({kind})"


def _measured(row: Any, search: Search) -> dict[str, Any]:
    measures = dict.fromkeys((*search.objectives, *MEASURES))
    return {
        "trial": int(row["number"]),
        "state": row["state"],
        "known point": row["known"],
        "kind": row["kind"],
    } | {name: Estimate(row[name]) for name in measures}


def _whole(value: float) -> int | None:
    return None if pd.isna(value) else round(value)


def _duration(seconds: float) -> str:
    """
    >>> _duration(59.6), _duration(5400), _duration(300)
    ('60 seconds', '1.5 hours', '5.0 minutes')
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
