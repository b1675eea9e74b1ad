"""The job `merge`: several judges' annotations into one."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output, warn_unfinished
from corpus.schemas import SCHEMAS
from corpus.tables import read_table, write_table

Rule = Literal["mean", "median", "majority"]
MERGED = "merged"
PAIR = ["query_id", "doc_id"]
SOURCE = ["annotator", "strategy", "prompt_id"]


def merge(annotations: list[Path], output: Path, rule: Rule = "mean", resume: bool = False) -> None:
    """Merges the annotations of several judges, prompts or strategies into one for each pair.

    Pairs that some of them failed on are merged from the others.

    Args:
        annotations: folders with annotations.parquet, or one that holds several judges'; on the
            command line a list: --annotations '[runs/a, runs/b]'.
        output: folder to write annotations.parquet into.
        rule: mean or median of the expected grades, with the grade rounded from it; or majority,
            the grade that most give (of several, the middle one).
        resume: do nothing if the output is complete.

    Raises:
        InputError: an input is missing or broken, or `output` is in use.
    """
    if not annotations:
        raise InputError("give at least one folder of annotations")
    frames = [read_table(folder, "annotations").to_pandas() for folder in annotations]
    warn_unfinished(*annotations)
    together = pd.concat(frames, ignore_index=True)
    twice = together.duplicated([*PAIR, *SOURCE])
    if twice.any():
        row = together[twice].iloc[0]
        raise InputError(
            f"{', '.join(map(str, annotations))}: {twice.sum():,} pairs have two rows of the same "
            f"annotator, strategy and prompt, such as query {row['query_id']!r} with document "
            f"{row['doc_id']!r} by {row['annotator']!r}; a judge counts once"
        )
    settings = {"annotations": [str(folder) for folder in annotations], "rule": rule}
    if not begin_output(output, "merge", settings, resume):
        print(f"{output}: is complete; nothing to do")
        return
    merged = merge_annotations(together, rule)
    table = pa.Table.from_pandas(merged, schema=SCHEMAS["annotations"], preserve_index=False)
    write_table(table, output, "annotations")
    finish_output(output)
    failed = int(merged["grade"].isna().sum())
    judges = together.dropna(subset=["grade"]).groupby(PAIR).size().value_counts().sort_index()
    by_judges = ", ".join(f"{count:,} by {number}" for number, count in judges.items())
    print(
        f"{output}: {len(merged):,} pairs, graded {by_judges or 'by none'}; "
        f"{failed:,} without a grade of any judge"
    )


def merge_annotations(annotations: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Merges all rows of a pair into one, in the order in which pairs first appear.

    Args:
        annotations: the table `annotations`, of several judges.
        rule: see `merge`.

    Returns:
        The table `annotations`: expected_grade by the rule; grade, the nearest whole number (halves
        up); confidence, for majority the share of the judges who gave that grade, else the mean of
        the judges' own; error where none gave a grade.
    """
    sources = annotations[SOURCE].drop_duplicates()
    names = sorted(sources.astype(str).agg(" ".join, axis=1))
    grouped = annotations.groupby(PAIR, sort=False)
    if rule == "majority":
        expected = grouped["grade"].agg(_majority)
    else:
        expected = grouped["expected_grade"].agg(rule)
    grade = np.floor(expected + 0.5)
    merged = pd.DataFrame({"expected_grade": expected, "grade": grade}).reset_index()
    merged["annotator"] = f"{rule} of {len(sources)}"
    merged["strategy"] = MERGED
    merged["prompt_id"] = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    merged["confidence"] = grouped["confidence"].mean().to_numpy()
    if rule == "majority":
        chosen = annotations.merge(merged[["query_id", "doc_id", "grade"]], on=PAIR)
        given = chosen.dropna(subset=["grade_x"])
        agreed = (given["grade_x"] == given["grade_y"]).groupby([given[name] for name in PAIR])
        shares = agreed.mean().rename("confidence").reset_index()
        merged = merged.drop(columns="confidence").merge(shares, how="left")
    merged["error"] = merged["grade"].isna().map({True: "merge: no judge gave a grade"})
    return merged.astype({"grade": "Int64"})


def _majority(grades: "pd.Series[float]") -> float:
    modes = grades.mode()
    return float(modes.iloc[len(modes) // 2]) if len(modes) else np.nan
