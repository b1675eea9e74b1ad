"""What a job of annotation did: failures, tokens and position bias, counted part by part."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.engines.base import BUDGET_ERROR
from annotation.prompts.prompt import GRADES

COLUMNS = [
    "query_id",
    "grade",
    "expected_grade",
    "error",
    "cut",
    "repaired",
    "shown_list",
    "shown_position",
    "prompt_tokens",
    "cached_tokens",
    "answer_tokens",
    "answered_mass",
]
LEAST_MASS = 0.5


def summarise(folder: Path) -> str:
    """The lines that the job prints last, on all annotations in a folder of parts."""
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    grades: Counter[int] = Counter()
    masses = [np.empty(0)]
    for path in sorted(folder.glob("part-*.parquet")):
        there = set(pq.read_schema(path).names)  # parts from before a column was have it not
        part = pq.read_table(path, columns=[name for name in COLUMNS if name in there]).to_pandas()
        masses.append(_graded_masses(part))
        counts["pairs"] += len(part)
        errors.update(error.partition(":")[0] for error in part["error"].dropna())
        grades.update(part["grade"].dropna().astype(int))
        for name in ("cut", "repaired", "prompt_tokens", "cached_tokens", "answer_tokens"):
            counts[name] += part[name].sum()
        counts.update(position_bias(part))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(errors.items()))
    shown = ", ".join(f"{grade}: {grades[grade]:,}" for grade in GRADES)
    text = (
        f"annotated {counts['pairs']:,} pairs; {counts['cut']:,} cut, "
        f"{counts['repaired']:,} repaired, {errors.total():,} failed"
        f"{f' ({kinds})' if kinds else ''}; grades {shown}; "
        f"{counts['prompt_tokens']:,.0f} tokens read "
        f"({_share(counts['cached_tokens'], counts['prompt_tokens'])} from the prefix cache), "
        f"{counts['answer_tokens']:,.0f} written"
    )
    if counts["told_apart"]:
        text += (
            "\nposition bias: of two documents shown together and told apart, the one shown first "
            f"stands higher in {_share(counts['first_higher'], counts['told_apart'])} (without "
            f"bias 0.50); {counts['as_shown']:,} of {counts['answers']:,} answers follow the order "
            "shown"
        )
    return text + _mass_told(np.concatenate(masses))


def commonest_error(
    folder: Path, kinds: tuple[str, ...] | None = None, but: tuple[str, ...] = ()
) -> str:
    """The most frequent error in a folder of parts; "" where there is none.

    Args:
        folder: the folder of the parts.
        kinds: kinds of error to look for; None for all.
        but: kinds of error to leave out.
    """
    errors = _count_errors(folder)
    for error, _ in errors.most_common():
        kind = error.partition(":")[0]
        if kind not in but and (kinds is None or kind in kinds):
            return error
    return ""


def count_failures(folder: Path) -> tuple[int, int]:
    """The failed pairs in a folder of parts, and all pairs but those that a spent budget left."""
    paths = folder.glob("part-*.parquet")
    pairs = sum(pq.read_metadata(path).num_rows for path in paths)
    errors = _count_errors(folder)
    unasked = sum(n for error, n in errors.items() if error.partition(":")[0] == BUDGET_ERROR)
    return errors.total() - unasked, pairs - unasked


def count_spent_tokens(folder: Path) -> int:
    """The prompt and answer tokens of all pairs in a folder of parts, rounded up."""
    names = ["prompt_tokens", "answer_tokens"]
    parts = (pq.read_table(path, columns=names) for path in folder.glob("part-*.parquet"))
    return math.ceil(sum(pc.sum(part[name]).as_py() or 0 for part in parts for name in names))


def _count_errors(folder: Path) -> Counter[str]:
    errors: Counter[str] = Counter()
    for path in folder.glob("part-*.parquet"):
        errors.update(pq.read_table(path, columns=["error"])["error"].drop_null().to_pylist())
    return errors


def _graded_masses(part: pd.DataFrame) -> NDArray[np.float64]:
    """`answered_mass` of the graded rows that have it, float64, shape (rows,)."""
    if "answered_mass" not in part:
        return np.empty(0)
    masses = part.loc[part["grade"].notna(), "answered_mass"].dropna()
    return masses.to_numpy(dtype=np.float64)


def _mass_told(masses: NDArray[np.float64]) -> str:
    """A line on the mean `answered_mass`, with a warning where it is low; "" without any."""
    if len(masses) == 0:
        return ""
    mean, below = masses.mean(), (masses < LEAST_MASS).mean()
    told = (
        f"\nmass of the four grades: {mean:.2f} on average; below one half for {below:.2f} of the "
        "graded pairs"
    )
    if mean < LEAST_MASS or below > LEAST_MASS:
        told += (
            "\nwarning: this judge would rather answer with something else, so its grades are made "
            "of what little it thinks of them; look at the prompt and the chat template, or let it "
            "think with --reasoning"
        )
    return told


def position_bias(annotations: pd.DataFrame) -> dict[str, int]:
    """Counts how far verdicts follow the order in which documents were shown.

    Args:
        annotations: query_id, shown_list, shown_position (null if shown alone) and expected_grade
            of each pair. Only documents that were shown together and have a grade count.

    Returns:
        told_apart: pairs of documents that were shown together and have different grades;
        first_higher: how many of these pairs have the higher grade shown first; answers: lists with
        at least two different grades; as_shown: how many of these lists have grades that never rise
        from one document to a later one.
    """
    counts = {"told_apart": 0, "first_higher": 0, "answers": 0, "as_shown": 0}
    graded = annotations.dropna(subset=["expected_grade", "shown_position"])
    graded = graded.sort_values("shown_position", kind="stable")
    for _, shown in graded.groupby(["query_id", "shown_list"], sort=False)["expected_grade"]:
        if len(shown) > 1:
            first, second = _ordered_pairs(shown.to_numpy())
            told_apart = int((first != second).sum())
            first_higher = int((first > second).sum())
            counts["told_apart"] += told_apart
            counts["first_higher"] += first_higher
            counts["answers"] += told_apart > 0
            counts["as_shown"] += told_apart > 0 and first_higher == told_apart
    return counts


def _ordered_pairs(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.triu_indices(len(values), k=1)
    return values[first], values[second]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole else "none"
