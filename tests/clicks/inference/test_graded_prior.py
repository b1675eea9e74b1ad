"""The prior by grade: what it says at its limits, and what of it a log gives back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from clicks.inference.graded_likelihood import composite_likelihood
from clicks.inference.graded_prior import COLUMNS, GradedPrior, _splines, learn_pair_prior
from clicks.inference.rate_prior import RatePrior, learn_prior
from clicks.log.trials import Array, Trials


def a_prior(low: float = -2.0, step: float = 0.8, strength: float = 8.0) -> GradedPrior:
    parameters = np.zeros((3, COLUMNS))
    parameters[0] = [low, *[step] * (COLUMNS - 2), -1.0]
    parameters[1, [0, -1]] = np.log(strength)
    parameters[2, [0, -1]] = 1.0
    return GradedPrior(parameters, 5.0)


def some_trials(pairs: int, documents: int, grade: Array, seed: int = 0) -> Trials:
    rng = np.random.default_rng(seed)
    trials = rng.poisson(6, pairs).astype(float)
    successes = rng.binomial(trials.astype(int), 0.3).astype(float)
    return Trials(successes, trials, rng.integers(documents, size=pairs), documents, grade)


def alone(successes: list[float], trials: list[float], grade: list[float]) -> Trials:
    """Pairs each of which has a document of its own."""
    count = len(grade)
    return Trials(
        np.array(successes), np.array(trials), np.arange(count), count, np.array(grade, dtype=float)
    )


def test_a_flat_prior_is_the_one_without_grades() -> None:
    known = some_trials(300, 60, np.random.default_rng(1).uniform(0, 3, 300))
    flat = a_prior(logit(0.3), 0.0)
    flat.parameters[0, -1] = logit(0.3)
    graded, plain = flat.rates(known), RatePrior(0.3, 5.0, 8.0).rates(known)
    np.testing.assert_allclose(graded.pair, plain.pair, rtol=1e-9)
    np.testing.assert_allclose(graded.document, plain.document, rtol=1e-9)
    assert graded.mean == pytest.approx(plain.mean)


def test_without_grades_the_prior_without_grades_is_learned() -> None:
    known = some_trials(300, 60, np.full(300, np.nan))
    plain = Trials(known.successes, known.trials, known.document, known.documents)
    assert learn_pair_prior(plain) == learn_prior(plain)
    graded = learn_pair_prior(known).rates(known).pair
    np.testing.assert_allclose(graded, learn_prior(plain).rates(plain).pair, atol=0.02)


def test_derivatives_are_those_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    grade = np.where(rng.random(200) < 0.2, np.nan, rng.uniform(0, 3, 200))
    known, splines = some_trials(200, 40, grade), _splines(grade)
    rows = rng.integers(200, size=80)
    start = np.append(a_prior().parameters + rng.uniform(0, 0.3, (3, COLUMNS)), np.log(4.0))

    def value(at: Array) -> tuple[float, Array]:
        parameters = at[:-1].reshape(3, COLUMNS)
        return composite_likelihood(known, rows, splines, parameters, float(np.exp(at[-1])))

    steps = 1e-5 * np.eye(len(start))
    numeric = [(value(start + s)[0] - value(start - s)[0]) / 2e-5 for s in steps]
    np.testing.assert_allclose(value(start)[1], numeric, rtol=1e-4, atol=1e-4)


def test_nobodys_pairs_have_the_judges_opinion_and_everybodys_their_own() -> None:
    grades = [0.0, 0.7, 1.5, 2.2, 3.0]
    prior = a_prior()
    opinion = expit(prior.parameters[0] @ _splines(np.array(grades)).T)
    unseen = prior.rates(alone([0.0] * 5, [0.0] * 5, grades))
    np.testing.assert_allclose(unseen.pair, opinion, atol=1e-4)
    assert np.all(np.diff(unseen.pair) > 0)
    seen = prior.rates(alone([4e5] * 5, [1e6] * 5, grades))
    np.testing.assert_allclose(seen.pair, 0.4, atol=1e-4)
    assert unseen.trials is not None
    assert seen.trials is not None
    np.testing.assert_allclose(seen.trials - unseen.trials, 1e6)


def test_a_document_better_than_its_grades_is_better_elsewhere_too() -> None:
    """Each document has one pair that was shown, of grade 1, and one of grade 2 that was not."""
    document = np.repeat(np.arange(3), 2)
    successes, trials = np.array([[2.0, 9.0, 16.0], [0.0] * 3]).T, np.array([[30.0] * 3, [0.0] * 3])
    grade = np.tile([1.0, 2.0], 3)
    known = Trials(successes.ravel(), trials.T.ravel(), document, 3, grade)
    prior = a_prior()
    rates = prior.rates(known)
    assert rates.pair[1] < rates.pair[3] < rates.pair[5]
    # Grade 1 foretells 9.1 clicks of 30, so the second is as its grade says.
    assert expit(prior.parameters[0] @ _splines(np.array([1.0])).T)[0] == pytest.approx(
        0.31, abs=0.1
    )
    heedless = a_prior()
    heedless.parameters[2, 0] = 0.0  # nothing carries over
    others = heedless.rates(known).pair[1::2]
    np.testing.assert_allclose(others, others[0])


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 3), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 6), st.floats(0.01, 1e5))
def test_rates_are_probabilities_that_rise_with_clicks_and_grades(
    grade: float, trials: float, share: float, step: float, strength: float
) -> None:
    prior = a_prior(-3.0, step / 4, strength)
    successes = [0.0, share * trials / 2, share * trials]
    rates = prior.rates(alone(successes, [trials] * 3, [grade] * 3)).pair
    assert np.all((rates > 0) & (rates < 1))
    assert np.all(np.diff(rates) >= 0)
    # Grades of one strength: the better one is never worse, whatever was clicked.
    better = prior.rates(alone([share * trials] * 2, [trials] * 2, [grade, (grade + 3) / 2])).pair
    assert better[1] >= better[0] - 1e-12


def test_gives_back_the_mean_and_the_strength_of_each_grade() -> None:
    rng = np.random.default_rng(0)
    grade = rng.uniform(0, 3, 8_000)
    mean, strength = 0.1 + 0.2 * grade, np.exp(3.0 - 0.5 * grade)
    trials = np.full(8_000, 15)
    clicked = rng.binomial(trials, rng.beta(mean * strength, (1 - mean) * strength)).astype(float)
    known = Trials(clicked, trials.astype(float), np.arange(8_000), 8_000, grade)
    prior = learn_pair_prior(known)
    assert isinstance(prior, GradedPrior)
    at = np.linspace(0, 300, 7).astype(int)
    np.testing.assert_allclose(prior.curves.mean[at], 0.1 + 0.2 * np.linspace(0, 3, 7), atol=0.03)
    # A pair's own strength is known together with that of its document: here there is only one.
    whole = prior.rates(Trials(np.zeros(7), np.zeros(7), np.arange(7), 7, np.linspace(0, 3, 7)))
    assert whole.trials is not None
    planted = np.exp(3.0 - 0.5 * np.linspace(0, 3, 7))
    assert np.all(np.abs(np.log(whole.trials / planted)) < np.log(1.5))


def test_useless_grades_are_found_out() -> None:
    rng = np.random.default_rng(0)
    rate = rng.beta(2, 4, 4_000)
    clicked = rng.binomial(10, rate).astype(float)
    known = Trials(clicked, np.full(4_000, 10.0), np.arange(4_000), 4_000, rng.uniform(0, 3, 4_000))
    prior = learn_pair_prior(known)
    assert isinstance(prior, GradedPrior)
    assert np.ptp(prior.curves.mean) < 0.04
    plain = Trials(known.successes, known.trials, known.document, known.documents)
    expected = learn_prior(plain).rates(plain).pair
    assert np.abs(prior.rates(known).pair - expected).max() < 0.04
