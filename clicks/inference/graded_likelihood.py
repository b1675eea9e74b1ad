"""What a pair's grade and the other pairs of its document say of its rate, and its likelihood."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clicks.inference.beta_binomial import beta_binomial_likelihood
from clicks.log.trials import Array, Trials

LEAST = 1e-9  # of probabilities, and share of a sum that is no more than its rounding error
FARTHEST = 15.0  # logit of an expected rate


class Curves(NamedTuple):
    """What the prior has for each pair by its grade alone; each float64, shape (pairs,).

    Attributes:
        logit_mean: logit of the mean rate of pairs of this grade.
        strength: strength of the prior of a pair whose document is known, in trials.
        carry: how much of what the document's other pairs show carries over, from 0.
    """

    logit_mean: Array
    strength: Array
    carry: Array


class Foretold(NamedTuple):
    """The prior of each pair, given the other pairs of its document; each float64, shape (pairs,).

    Attributes:
        others: trials of the other pairs, each times its carry.
        by_grade: the rate of these trials that grades foretell; without any, the pair's own.
        rate: their rate, shrunk towards that.
        shift: logit of `rate` less that of `by_grade`.
        expected: mean of the pair's rate.
        within: share of the largest possible variance that the pair has if its document is known.
        between: share of what is left that is due to the document.
        strength: strength of the Beta distribution with this mean and variance, in trials.
    """

    others: Array
    by_grade: Array
    rate: Array
    shift: Array
    expected: Array
    within: Array
    between: Array
    strength: Array


def look_at_others(
    known: Trials,
    curves: Curves,
    document_strength: float,
    rows: NDArray[np.int64] | slice = slice(None),
) -> Foretold:
    """The prior of pairs, given their grades and the other pairs of their documents.

    With sums over the other pairs j of the document, of carry c, trials n, successes k and mean m:

        others   = sum c n
        by_grade = sum c n m / others
        rate     = (sum c k + w * by_grade) / (others + w)
        expected = expit(logit m + c * (logit rate - logit by_grade))
        variance = expected (1 - expected) (within + (1 - within) * between)
        within   = 1 / (strength + 1)
        between  = c^2 / (others + w + c^2)

    With one m for all and c = 1 that is the prior of `clicks.inference.rate_prior`.

    Args:
        known: successes and trials of all pairs of the documents.
        curves: of all these pairs.
        document_strength: w, in trials.
        rows: the pairs that are wanted.
    """
    mean = expit(curves.logit_mean)
    weight = curves.carry * known.trials
    of_documents = [
        np.bincount(known.document, values, known.documents)
        for values in (curves.carry * known.successes, weight, weight * mean)
    ]
    successes, trials, foretold = (sums[known.document[rows]] for sums in of_documents)
    carry, own = curves.carry[rows], weight[rows]
    some = trials - own > LEAST * (1 + trials)
    others = np.where(some, trials - own, 0.0)
    successes = np.clip(successes - carry * known.successes[rows], 0.0, others)
    by_grade = (foretold - own * mean[rows]) / np.where(some, others, 1.0)
    by_grade = np.where(some, np.clip(by_grade, LEAST, 1 - LEAST), mean[rows])
    rate = (successes + document_strength * by_grade) / (others + document_strength)
    shift = np.where(some, logit(rate) - logit(by_grade), 0.0)
    at = np.clip(curves.logit_mean[rows] + carry * shift, -FARTHEST, FARTHEST)
    within, square = 1 / (1 + curves.strength[rows]), carry * carry
    between = square / (others + document_strength + square)
    spread = within + (1 - within) * between
    strength = np.maximum(1 / spread - 1, LEAST)
    return Foretold(others, by_grade, rate, shift, expit(at), within, between, strength)


def composite_likelihood(
    known: Trials,
    rows: NDArray[np.int64],
    splines: Array,
    parameters: Array,
    document_strength: float,
) -> tuple[float, Array]:
    """The sum of the log-likelihoods of pairs, each given the other pairs of its document.

    Args:
        known: successes and trials of all pairs of the documents.
        rows: the pairs that are summed over.
        splines: what the parameters of a curve are multiplied by, for each pair; shape (pairs,
            columns).
        parameters: of the logit of the mean, of the logarithm of the strength and of the carry;
            shape (3, columns).
        document_strength: in trials.

    Returns:
        Nats, and the derivatives by all parameters and by the logarithm of document_strength;
        float64, shape (3 * columns + 1,).
    """
    logit_mean, log_strength, every_carry = parameters @ splines.T
    curves = Curves(logit_mean, np.exp(log_strength), every_carry)
    seen = look_at_others(known, curves, document_strength, rows)
    successes, trials, document = known.successes[rows], known.trials[rows], known.document[rows]
    likelihood, of_expected, of_strength = beta_binomial_likelihood(
        successes, trials, seen.expected, seen.strength
    )
    # Backwards through `look_at_others`: first to what it sums over others, and to the pair's own.
    mean = expit(logit_mean)
    carry, own_mean, known_trials = every_carry[rows], mean[rows], seen.others + document_strength
    of_at = of_expected * seen.expected * (1 - seen.expected)
    of_shift = np.where(seen.others > 0, of_at * carry, 0.0)
    of_rate = of_shift / (seen.rate * (1 - seen.rate))
    of_by_grade = of_rate * document_strength / known_trials
    of_by_grade -= of_shift / (seen.by_grade * (1 - seen.by_grade))
    of_spread = -of_strength * (seen.strength + 1) ** 2
    of_between = of_spread * (1 - seen.within)
    of_within = of_spread * (1 - seen.between)
    total = known_trials + carry * carry
    of_document = of_rate * (seen.by_grade - seen.rate) / known_trials
    of_known_trials = -of_between * seen.between / total
    others = np.where(seen.others > 0, seen.others, 1.0)
    of_successes = of_rate / known_trials
    of_others = of_known_trials - of_rate * seen.rate / known_trials
    of_others = np.where(seen.others > 0, of_others - of_by_grade * seen.by_grade / others, 0.0)
    of_foretold = np.where(seen.others > 0, of_by_grade / others, 0.0)
    # Then to every pair of the document, less the pair itself, which is not among its others.
    every = [
        np.bincount(document, slope, known.documents)[known.document]
        for slope in (of_successes, of_others, of_foretold)
    ]
    of_carry = known.successes * every[0] + known.trials * (every[1] + mean * every[2])
    of_mean = every_carry * known.trials * every[2]
    own_carry = of_at * seen.shift + of_between * 2 * carry * known_trials / total**2
    own_carry -= successes * of_successes + trials * (of_others + own_mean * of_foretold)
    of_logit = of_mean * mean * (1 - mean)
    own_logit = of_at - carry * trials * of_foretold * own_mean * (1 - own_mean)
    own_log_strength = -of_within * seen.within**2 * curves.strength[rows]
    own = splines[rows]
    slopes = [
        of_logit @ splines + own_logit @ own,
        own_log_strength @ own,
        of_carry @ splines + own_carry @ own,
    ]
    of_strengths = (of_document + of_known_trials).sum() * document_strength
    return float(likelihood.sum()), np.append(np.concatenate(slopes), of_strengths)
