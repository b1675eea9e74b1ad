"""The job `merge`: several judges' annotations into one."""

import hashlib
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from annotation.prompts.prompt import GRADES
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output, warn_unfinished
from corpus.places import Place
from corpus.schemas import SCHEMAS
from corpus.tables import read_table, write_table

Rule = Literal["mean", "median", "majority"]
MERGED = "merged"
PAIR = ["query_id", "doc_id"]
SOURCE = ["annotator", "strategy", "prompt_id"]
HALFWAY = 1e-9  # distance from the middle of two grades that counts as the middle


def merge(
    annotations: list[Place], output: Place, rule: Rule = "mean", resume: bool = False
) -> None:
    """Merges the annotations of several judges, prompts or strategies into one for each pair.

    Pairs that some of them failed on are merged from the others.

    Args:
        annotations: folders with annotations.parquet, or one that holds several judges'; on the
            command line a list: --annotations '[runs/a, runs/b]'.
        output: folder to write annotations.parquet into.
        rule: mean or median of the expected grades, with the grade rounded from it; or majority,
            the grade that most give (of several, the one nearest to the mean of the expected
            grades). What is then still halfway, as between two judges, goes up for every other
            pair, so that no side is favoured.
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

    A grade that lies halfway between two is decided by a coin that the ids of the pair toss: for
    half of the pairs it is the higher, and for a pair always the same.

    Args:
        annotations: the table annotations with rows of several judges.
        rule: how grades are merged: mean, median or majority; see `merge`.

    Returns:
        The table annotations: expected_grade by the rule (for majority, the grade itself); grade,
        the nearest whole number; confidence, for majority the share of the judges who gave that
        grade, else the mean confidence of the judges; answered_mass, the mean; error where no judge
        gave a grade. The grade stands in for an expected grade that a judge does not give.
    """
    sources = annotations[SOURCE].drop_duplicates()
    names = sorted(sources.astype(str).agg(" ".join, axis=1))
    merged = annotations[PAIR].drop_duplicates().set_index(PAIR)
    graded = annotations.dropna(subset=["grade"])
    graded = graded.assign(expected_grade=graded["expected_grade"].fillna(graded["grade"]))
    grouped = graded.groupby(PAIR, sort=False)
    means = grouped[["expected_grade", "confidence", "answered_mass"]].mean()
    if rule == "majority":
        means["grade"], means["confidence"] = _majority(graded, means)
        means["expected_grade"] = means["grade"]
    else:
        means["expected_grade"] = grouped["expected_grade"].agg(rule)
        means["grade"] = _rounded(means["expected_grade"].to_numpy(), _coin(means))
    merged = merged.join(means).reset_index()
    merged["annotator"] = f"{rule} of {len(sources)}"
    merged["strategy"] = MERGED
    merged["prompt_id"] = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    merged["reasoning"] = None
    merged["error"] = merged["grade"].isna().map({True: "merge: no judge gave a grade"})
    return merged.astype({"grade": "Int64"})


def _majority(
    graded: pd.DataFrame, means: pd.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most frequent grade of each pair of `means`, and the share of judges who gave it."""
    pair = means.index.get_indexer(pd.MultiIndex.from_frame(graded[PAIR]))
    votes: NDArray[np.int64] = np.zeros((len(means), len(GRADES)), np.int64)
    np.add.at(votes, (pair, graded["grade"].to_numpy(int)), 1)
    most = votes.max(axis=1, keepdims=True, initial=0)
    distance = np.abs(np.array(GRADES) - means["expected_grade"].to_numpy()[:, None])
    distance[votes < most] = np.inf
    nearest = distance <= distance.min(axis=1, keepdims=True, initial=np.inf) + HALFWAY
    lower, upper = nearest.argmax(axis=1), max(GRADES) - nearest[:, ::-1].argmax(axis=1)
    return np.where(_coin(means), upper, lower), most[:, 0] / votes.sum(axis=1)


def _rounded(expected: NDArray[np.float64], up: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The nearest whole numbers; what is halfway goes up where `up` is true."""
    lower = np.floor(expected)
    above = expected - lower - 0.5
    return lower + np.where(np.abs(above) <= HALFWAY, up, above > 0)


def _coin(pairs: pd.DataFrame) -> NDArray[np.bool_]:
    """True for half of the pairs, by their ids."""
    ids = pairs.index.to_frame(index=False).astype(str)
    return np.asarray(pd.util.hash_pandas_object(ids, index=False).to_numpy() % 2 == 1)
