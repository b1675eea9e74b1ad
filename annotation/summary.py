"""What a job of annotation did: failures, tokens and position bias, counted part by part."""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.engines.base import BUDGET_ERROR
from annotation.plan.parts import read_parts
from annotation.prompts.prompt import GRADES
from corpus.places import Place

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
MOST_ERRORS = 10_000  # different ones that are counted


@dataclass
class Summary:
    """What stands in the parts of a job.

    Attributes:
        counts: pairs; rows that were cut, repaired; tokens; and what `position_bias` counts.
        grades: how many pairs have each grade.
        kinds: how many pairs have an error of each kind.
        errors: how many pairs have each error; of very many different ones the commonest.
        massed: graded pairs whose mass is known, how many of these have less than LEAST_MASS, and
            the sum of their masses.
    """

    counts: Counter[str] = field(default_factory=Counter)
    grades: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    massed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    @property
    def failed(self) -> int:
        """The failed pairs, but for those that a spent budget left."""
        return self.kinds.total() - self.kinds[BUDGET_ERROR]

    @property
    def judged(self) -> int:
        """All pairs, but for those that a spent budget left."""
        return self.counts["pairs"] - self.kinds[BUDGET_ERROR]

    def commonest_error(
        self, kinds: tuple[str, ...] | None = None, but: tuple[str, ...] = ()
    ) -> str:
        """The most frequent error; "" where there is none.

        Args:
            kinds: kinds of error to look for; None for all.
            but: kinds of error to leave out.
        """
        for error, _ in self.errors.most_common():
            kind = _kind(error)
            if kind not in but and (kinds is None or kind in kinds):
                return error
        return ""

    def told(self) -> str:
        """The lines that the job prints last."""
        counts = self.counts
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()))
        shown = ", ".join(f"{grade}: {self.grades[grade]:,}" for grade in GRADES)
        text = (
            f"annotated {counts['pairs']:,} pairs; {counts['cut']:,} cut, "
            f"{counts['repaired']:,} repaired, {self.kinds.total():,} failed"
            f"{f' ({kinds})' if kinds else ''}; grades {shown}; "
            f"{counts['prompt_tokens']:,.0f} tokens read "
            f"({_share(counts['cached_tokens'], counts['prompt_tokens'])} from the prefix cache), "
            f"{counts['answer_tokens']:,.0f} written"
        )
        if counts["told_apart"]:
            text += (
                "\nposition bias: of two documents shown together and told apart, the one shown "
                f"first stands higher in {_share(counts['first_higher'], counts['told_apart'])} "
                f"(without bias 0.50); {counts['as_shown']:,} of {counts['answers']:,} answers "
                "follow the order shown"
            )
        return text + _mass_told(*self.massed)


def summarise(folder: Place) -> Summary:
    """Counts all annotations in a folder of parts, each of which is read once."""
    found = Summary()
    for table in read_parts(folder, COLUMNS):
        part = table.to_pandas()
        found.massed += _count_masses(part)
        found.counts["pairs"] += len(part)
        errors = part["error"].dropna()
        found.errors.update(errors)
        found.kinds.update(errors.map(_kind))
        if len(found.errors) > MOST_ERRORS:
            found.errors = Counter(dict(found.errors.most_common(MOST_ERRORS // 10)))
        found.grades.update(part["grade"].dropna().astype(int))
        for name in ("cut", "repaired", "prompt_tokens", "cached_tokens", "answer_tokens"):
            found.counts[name] += part[name].sum()
        found.counts.update(position_bias(part))
    return found


def count_spent_tokens(folder: Place) -> int:
    """The prompt and answer tokens of all pairs in a folder of parts, rounded up."""
    names = ["prompt_tokens", "answer_tokens"]
    parts = read_parts(folder, names)
    return math.ceil(sum(pc.sum(part[name]).as_py() or 0 for part in parts for name in names))


def _kind(error: str) -> str:
    return error.partition(":")[0]


def _count_masses(part: pd.DataFrame) -> NDArray[np.float64]:
    """Of the graded rows that have `answered_mass`: their number, the low ones, and their sum."""
    if "answered_mass" not in part:
        return np.zeros(3)
    masses = part.loc[part["grade"].notna(), "answered_mass"].dropna().to_numpy(dtype=np.float64)
    return np.array([len(masses), (masses < LEAST_MASS).sum(), masses.sum()])


def _mass_told(pairs: float, low: float, total: float) -> str:
    """A line on the mean `answered_mass`, with a warning where it is low; "" without any."""
    if pairs == 0:
        return ""
    mean, below = total / pairs, low / pairs
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
