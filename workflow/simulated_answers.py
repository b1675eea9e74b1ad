"""What a judge whose accuracy is a number says, in the form of each strategy of `annotate`."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from annotation.prompts.prompt import StrategyName


def answers(
    chances: NDArray[np.float64],
    query_ids: NDArray[np.object_],
    strategy: StrategyName,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """What a judge tells of pairs, as annotations of a strategy have it.

    The judge is the same for all strategies, so that they differ by the form of the answer alone:

    * pointwise: the likeliest grade, the expected grade, and the probability of the likeliest;
    * listwise: the likeliest grade alone;
    * selection: what the prompt asks to select, the pairs whose likeliest grade is 2 or 3, has
      grade 3, all others 0;
    * ranking: the candidates of a query in the order of their expected grades, equal ones in any
      order, and the grades that `annotate` makes of ranks.

    Args:
        chances: from `corpus.simulation.judge.grade_chances`, shape (pairs, 4).
        query_ids: the query of each pair, shape (pairs,); all candidates of a query are there.
        strategy: the form of the answer.
        rng: draws the order of equals.

    Returns:
        grade (0 to 3), expected_grade (in [0, 3]) and confidence (in (0, 1], NaN where the form
        tells none), each of shape (pairs,).
    """
    from annotation.asking.strategies import (  # brings SciPy
        LEAST_SELECTED,
        OTHER_GRADE,
        SELECTED_GRADE,
        grades_of_ranks,
    )

    grades = np.arange(chances.shape[1])
    grade = chances.argmax(axis=1)
    expected = np.clip(chances @ grades, 0, grades[-1])
    if strategy == "pointwise":
        return {"grade": grade, "expected_grade": expected, "confidence": chances.max(axis=1)}
    if strategy == "selection":
        grade = np.where(grade >= LEAST_SELECTED, SELECTED_GRADE, OTHER_GRADE)
    told = grade.astype(np.float64)
    if strategy == "ranking":
        order = np.lexsort((rng.random(len(grade)), -expected))
        for _, rows in pd.Series(order).groupby(query_ids[order]):
            ranked = rows.to_numpy()
            grade[ranked], told[ranked] = grades_of_ranks(len(ranked))
    return {"grade": grade, "expected_grade": told, "confidence": np.full(len(grade), np.nan)}
