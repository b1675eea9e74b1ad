import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from evaluation.diagnosis import (
    auc_of_relevant,
    correlation_given,
    diagnose,
    ndcg_among_relevant,
    pair_accuracy,
)


def _tables(rows: list[tuple[str, float, int, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A run and the truth, of (query, score, relevance, quality)."""
    frame = pd.DataFrame(rows, columns=["query_id", "score", "relevance", "quality"])
    frame["doc_id"] = [f"d{number}" for number in range(len(frame))]
    return frame[["query_id", "doc_id", "score"]], frame.drop(columns="score")


RUN, TRUTH = _tables(
    [
        # query, score, relevance, quality
        ("q", 5.0, 2, 1.0),
        ("q", 4.0, 2, 3.0),
        ("q", 3.0, 2, 2.0),
        ("q", 2.0, 0, 3.0),
        ("q", 1.0, 1, 3.0),
        # Nothing differs in one of them only.
        ("alike", 2.0, 1, 1.0),
        ("alike", 1.0, 1, 1.0),
    ]
)


def test_correlations_by_hand() -> None:
    # Of equal relevance 2: ranks of score 3, 2, 1 and of quality 1, 3, 2.
    assert correlation_given(RUN, TRUTH, "quality", "relevance").to_dict() == {
        "q": pytest.approx(-0.5)
    }
    # Of equal quality 3: scores 4, 2, 1 of relevance 2, 0, 1.
    assert correlation_given(RUN, TRUTH, "relevance", "quality").to_dict() == {
        "q": pytest.approx(0.5)
    }


def test_scores_that_are_all_equal_follow_nothing() -> None:
    tied = RUN.assign(score=0.0)
    assert correlation_given(tied, TRUTH, "quality", "relevance").to_dict() == {"q": 0.0}


def test_pairs_that_differ_in_one_of_them_by_hand() -> None:
    # By quality among relevance 2: 3 > 1 wrong, 3 > 2 right, 2 > 1 wrong.
    assert pair_accuracy(RUN, TRUTH, "quality", "relevance").to_dict() == {
        "q": pytest.approx(1 / 3)
    }
    # By relevance among quality 3: 2 > 0 and 2 > 1 right, 1 > 0 wrong.
    assert pair_accuracy(RUN, TRUTH, "relevance", "quality").to_dict() == {
        "q": pytest.approx(2 / 3)
    }
    tied = RUN.assign(score=0.0)
    assert pair_accuracy(tied, TRUTH, "quality", "relevance").to_dict() == {"q": 0.5}


def test_relevant_against_irrelevant_and_among_the_relevant_by_hand() -> None:
    # Of 4 relevant documents, 3 score above the irrelevant one.
    assert auc_of_relevant(RUN, TRUTH).to_dict() == {"q": 0.75}
    # The relevant ones are ranked 2, 2, 2, 1.
    assert ndcg_among_relevant(RUN, TRUTH).to_dict() == {"q": 1.0}
    turned = RUN.assign(score=-RUN["score"])
    discount = 1 / np.log2(np.arange(4) + 2)
    assert ndcg_among_relevant(turned, TRUTH)["q"] == pytest.approx(
        discount @ [1, 2, 2, 2] / (discount @ [2, 2, 2, 1])
    )


def test_one_set_and_one_query_have_the_values_of_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    score, quality = rng.integers(0, 8, (2, 30))
    run, truth = _tables([("q", s, 1, q) for s, q in zip(score, quality, strict=True)])
    found = correlation_given(run, truth, "quality", "relevance")["q"]
    assert found == pytest.approx(stats.spearmanr(score, quality).statistic)
    relevant = rng.integers(0, 3, 30)
    auc = auc_of_relevant(run, truth.assign(relevance=relevant))["q"]
    assert auc == pytest.approx(roc_auc_score(relevant >= 1, score))


def test_all_of_them_are_values_by_query_of_judged_pairs_alone() -> None:
    unjudged = pd.DataFrame([("q", "new", 9.0)], columns=["query_id", "doc_id", "score"])
    values = diagnose(pd.concat([RUN, unjudged]), TRUTH)
    pd.testing.assert_frame_equal(values, diagnose(RUN, TRUTH))
    assert values["measure"].tolist() == [
        "correlation with relevance",
        "pairs by relevance",
        "correlation with quality",
        "pairs by quality",
        "AUC of relevant",
        "nDCG@10 among relevant",
    ]
    assert set(values["query_id"]) == {"q"}
    assert diagnose(RUN.iloc[5:], TRUTH).empty
    without_quality = diagnose(RUN, TRUTH.drop(columns="quality"))
    assert without_quality["measure"].tolist() == ["AUC of relevant", "nDCG@10 among relevant"]
