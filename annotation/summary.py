"""What became of a job of annotation, counted part by part."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from annotation.prompts import GRADES

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
]


def summarise(folder: Path) -> str:
    """One or two lines on the annotations in a folder of parts."""
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    grades: Counter[int] = Counter()
    for path in sorted(folder.glob("part-*.parquet")):
        part = pq.read_table(path, columns=COLUMNS).to_pandas()
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
    return text


def commonest_error(folder: Path, kinds: tuple[str, ...]) -> str:
    """The most frequent error of some kinds in a folder of parts; "" where there is none."""
    errors: Counter[str] = Counter()
    for path in folder.glob("part-*.parquet"):
        found = pq.read_table(path, columns=["error"])["error"].drop_null().to_pylist()
        errors.update(error for error in found if error.partition(":")[0] in kinds)
    return errors.most_common(1)[0][0] if errors else ""


def position_bias(annotations: pd.DataFrame) -> dict[str, int]:
    """Counts how far verdicts go with the order in which documents were shown.

    Args:
        annotations: query_id, shown_list, shown_position, expected_grade; only documents that were
            shown together and have a grade count. Where each was shown alone, positions are null.

    Returns:
        told_apart: pairs of documents, shown together, with different grades; first_higher: those
        of them in which the one shown first has the higher; answers: shown lists in which any two
        are told apart; as_shown: those of them in which no later document stands higher.
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
