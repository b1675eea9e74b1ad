"""Grades of humans and of a judge, on one scale."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from annotation.prompts.prompt import GRADES
from corpus.errors import InputError

HIGHEST = max(GRADES)


class HumanScale(NamedTuple):
    """The scale that humans graded on, 0 to `highest`, and how a judge's grades compare with it.

    A scale of more grades than the judge's is shrunk to the judge's 0 to 3, g * 3 / highest; on a
    scale of fewer the judge's grades are shrunk to it, g * highest / 3; both to the nearest whole
    number, halves up. On a binary scale the judge says 1 from `relevant_from` on.

    Attributes:
        highest: the highest grade of the humans' scale, at least 1.
        relevant_from: the judge's lowest grade, 1 to 3, that counts as relevant.
    """

    highest: int
    relevant_from: int

    @property
    def levels(self) -> int:
        """The highest grade of the scale on which both are compared."""
        return min(self.highest, HIGHEST)

    @property
    def relevant_for_humans(self) -> int:
        """The lowest human grade that counts as relevant: the one that rounds to `relevant_from`.

        >>> [HumanScale(highest, 2).relevant_for_humans for highest in (1, 2, 3, 4)]
        [1, 1, 2, 2]
        """
        return -(-(2 * self.relevant_from - 1) * self.highest // (2 * HIGHEST))

    def of_humans(self, grades: ArrayLike) -> NDArray[np.int64]:
        """Human grades on the common scale; grades below 0 (junk) count as 0.

        >>> HumanScale(4, 2).of_humans([0, 1, 2, 3, 4]).tolist()
        [0, 1, 2, 2, 3]
        """
        return _shrunk(np.clip(grades, 0, None), self.highest, self.levels)

    def of_judge(self, grades: ArrayLike) -> NDArray[np.int64]:
        """The judge's grades on the common scale.

        >>> [HumanScale(highest, 2).of_judge([0, 1, 2, 3]).tolist() for highest in (1, 2, 3)]
        [[0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 2, 3]]
        """
        if self.levels == 1:
            return (np.asarray(grades) >= self.relevant_from).astype(np.int64)
        return _shrunk(grades, HIGHEST, self.levels)


def human_scale(
    judgments: pd.DataFrame, declared: int | None, relevant_from: int, source: str
) -> HumanScale:
    """The scale of some judgments.

    Args:
        judgments: all judgments of the collection, not only those to compare; column grade.
        declared: the highest grade of the scale, at least 1; None takes the highest of the
            judgments.
        relevant_from: the judge's lowest grade, 1 to 3, that counts as relevant.
        source: the file of the judgments, named in the error.

    Raises:
        InputError: a judgment lies above the declared scale.
    """
    highest = int(judgments["grade"].max())
    if declared is not None and highest > declared:
        row = judgments.iloc[int(judgments["grade"].to_numpy().argmax())]
        raise InputError(
            f"{source}: query {row['query_id']!r} and document {row['doc_id']!r} have grade "
            f"{highest}, above the highest_human_grade {declared}; give the scale's highest"
        )
    return HumanScale(declared or max(highest, 1), relevant_from)


def _shrunk(grades: ArrayLike, highest: int, wanted: int) -> NDArray[np.int64]:
    return np.floor(np.asarray(grades) * wanted / highest + 0.5).astype(np.int64)
