"""The simulated judge: as often wrong as asked, mostly by one grade, and aware of its error."""

import numpy as np
import pytest

from corpus.simulation.judge import grade_chances, spread_of_error

TOPICAL = np.random.default_rng(1).choice(4, p=[0.56, 0.17, 0.13, 0.14], size=100_000)


@pytest.mark.parametrize("error", [0.0, 0.044, 0.3, 0.49])
def test_a_judge_is_as_often_wrong_as_asked_and_says_so(error: float) -> None:
    spread = spread_of_error(TOPICAL, error)
    chances = grade_chances(TOPICAL, spread, np.random.default_rng(2))
    answers = chances.argmax(axis=1)
    assert np.mean(answers != TOPICAL) == pytest.approx(error, abs=0.005)
    assert chances.sum(axis=1) == pytest.approx(1.0)
    if error == 0.044:
        wrong = np.abs(answers - TOPICAL)[answers != TOPICAL]
        assert np.mean(wrong == 1) > 0.999
    if error == 0.3:
        sure = chances.max(axis=1) > 0.8
        assert np.mean(answers[sure] != TOPICAL[sure]) < 0.6 * error


def test_a_better_judge_errs_on_no_pair_that_a_worse_one_has_right() -> None:
    right = [
        grade_chances(TOPICAL, spread, np.random.default_rng(2)).argmax(axis=1) == TOPICAL
        for spread in (0.3, 0.9)
    ]
    assert np.all(right[0] | ~right[1])
    assert right[0].sum() > right[1].sum()


def test_the_spread_follows_from_the_grades_there_are() -> None:
    # Half a grade is one standard deviation, which 15.87 % pass in one direction.
    assert spread_of_error(np.array([0, 3]), 0.1587) == pytest.approx(0.5, abs=1e-3)
    assert spread_of_error(np.array([0, 1]), 1.5 * 0.1587) == pytest.approx(0.5, abs=1e-3)
