"""Measures of agreement, against published numbers and by hand."""

import krippendorff
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from annotation.quality.agreement_measures import POOLED, measure_agreement


def pairs_of(grades: list[int], references: list[int], queries: str | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "query_id": list(queries or "q" * len(grades)),
            "grade": grades,
            "expected_grade": np.float64(grades),
            "grade_reference": references,
            "relevant": np.array(references) >= 2,
        }
    )


def test_cohens_kappa_of_the_textbook_table() -> None:
    # Fifty proposals, two readers: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no. Observed agreement
    # 0.7, expected 0.5, so kappa = 0.4.
    pairs = pairs_of([1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15)
    assert POOLED["kappa"](pairs) == pytest.approx(0.4)
    assert POOLED["quadratic_kappa"](pairs) == pytest.approx(0.4), "two grades: the same"


def test_krippendorffs_alpha_of_his_two_observers() -> None:
    # Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section A: 0.095. Of two
    # values, the ordinal alpha is the nominal one.
    meg = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    owen = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert POOLED["alpha"](pairs_of(meg, owen)) == pytest.approx(0.095, abs=5e-4)


def test_the_library_has_krippendorffs_ordinal_alpha() -> None:
    # Section E of the same paper: four observers, twelve units, ordinal 0.815.
    missing = np.nan
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, missing, missing, missing],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, missing, 3],
        [missing, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, missing],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, missing],
    ]
    alpha = krippendorff.alpha(reliability_data=observers, level_of_measurement="ordinal")
    assert alpha == pytest.approx(0.815, abs=5e-4)


def test_tau_and_auc_by_hand() -> None:
    pairs = pairs_of([0, 1, 2, 3], [0, 2, 1, 3])
    assert POOLED["tau"](pairs) == pytest.approx(4 / 6)  # five pairs agree, one does not
    assert POOLED["auc"](pairs) == pytest.approx(3 / 4)  # (1, 2) is the pair that is wrong


def test_auc_with_ties_is_the_librarys() -> None:
    rng = np.random.default_rng(0)
    pairs = pairs_of(rng.integers(0, 4, 50).tolist(), rng.integers(0, 4, 50).tolist())
    expected = roc_auc_score(pairs["relevant"], pairs["expected_grade"])
    assert POOLED["auc"](pairs) == pytest.approx(expected)


def test_what_is_not_defined_is_nan() -> None:
    pairs = pairs_of([2, 2], [2, 2])
    assert all(np.isnan(measure(pairs)) for measure in POOLED.values())
    undefined = {"value": None, "low": None, "high": None}
    found = measure_agreement(pairs, resamples=5, seed=0)
    assert found["kappa"] == undefined
    assert found["mean_auc"] == undefined | {"queries": 0}
    assert measure_agreement(pairs[:0], resamples=5, seed=0)["tau"] == undefined


def test_queries_are_told_apart_from_pairs() -> None:
    # The judge is stricter with the second query, and right within each of the first two; the
    # third cannot tell. Over all pairs, of four relevant and two irrelevant documents, the one of
    # expected grade 3 is above both, each of grade 1 above one.
    pairs = pairs_of([2, 3, 0, 1, 1, 1], [0, 2, 1, 3, 2, 2], "aabbcc")
    found = measure_agreement(pairs, resamples=20, seed=0)
    assert found["mean_tau"] == {"value": 1.0, "low": None, "high": None, "queries": 2}
    assert found["mean_auc"] == {"value": 1.0, "low": None, "high": None, "queries": 2}
    assert found["auc"]["value"] == 5 / 8
    assert found["auc"].keys() == {"value", "low", "high"}
