"""The prior of the rates of pairs that a judge has graded: by grade and document, from the log."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.optimize import minimize
from scipy.special import expit, logit

from clicks.inference.graded_likelihood import Curves, composite_likelihood, look_at_others
from clicks.inference.rate_prior import (
    FIRST_TO_LEARN_FROM,
    MOST_TO_LEARN_FROM,
    SPREADS,
    STRENGTH,
    TOLERANCE,
    PairRates,
    RatePrior,
    draw,
    learn_prior,
)
from clicks.log.trials import Array, Trials

HIGHEST_GRADE = 3
DEGREE = 2
KNOTS = np.concatenate([[0.0] * (DEGREE + 1), [1.0, 2.0], [float(HIGHEST_GRADE)] * (DEGREE + 1)])
COLUMNS = len(KNOTS) - DEGREE  # of a curve: at grade 0, its steps, without a grade
GRID = np.linspace(0.0, HIGHEST_GRADE, 301)
# Standard deviations of weak normal priors of the three curves: of their value at grade 0, which
# is expected to be as in the prior without grades, and of each step. A step of 0 is expected.
FIRST = np.array([SPREADS[0], SPREADS[2], 0.5])
STEP = np.array([2.0, 1.0, 0.5])
# Ranges of both.
FIRST_RANGE = ((-12.0, 12.0), (-7.0, 14.0), (0.0, 3.0))
STEP_RANGE = ((0.0, 6.0), (-3.0, 3.0), (0.0, 3.0))


class GradeCurves(NamedTuple):
    """The curves of a prior at the grades of `GRID`; each float64, shape (301,).

    Attributes:
        mean: mean rate of pairs of a grade, in (0, 1), not falling.
        strength: strength of the prior of such a pair, in trials, given its document.
        carry: how much of what a document's other pairs show carries over to a pair of this grade,
            from 0, not falling.
    """

    mean: Array
    strength: Array
    carry: Array


@dataclass(frozen=True)
class GradedPrior:
    """The prior distribution of the rates of pairs of which a judge has graded some.

    With the expected grade g of a pair and h(d), by how much (in logits) the other pairs of its
    document d have a higher rate than their grades foretell:

        mean(g, d) = expit(logit m(g) + carry(g) * h(d))
        pair rate  ~ Beta(mean(g, d) * strength, (1 - mean(g, d)) * strength)

    m and carry do not fall with g. Pairs without a grade have an m and a strength of their own, and
    a carry of 1. Where m and strength are the same for all pairs and carry is 1, this is
    `clicks.inference.rate_prior.RatePrior`. docs/fusion.md has the equations.

    Attributes:
        parameters: of logit m, of the logarithm of the strength and of carry (rows): the value at
            grade 0, four steps from each spline to the next, the value without a grade; float64,
            shape (3, 6).
        document_strength: strength of the prior of a document's rate, in trials, around the rate
            that its grades foretell.
    """

    parameters: Array
    document_strength: float

    @cached_property
    def curves(self) -> GradeCurves:
        """The curves by grade."""
        mean, strength, carry = self.parameters @ _splines(GRID).T
        return GradeCurves(expit(mean), np.exp(strength), carry)

    @property
    def without_grade(self) -> tuple[float, float, float]:
        """Mean, strength and carry of pairs without a grade."""
        mean, strength, carry = self.parameters[:, -1]
        return float(expit(mean)), float(np.exp(strength)), float(carry)

    def own_strength(self, known: Trials) -> Array:
        """Strength of each pair's prior if its document is known, in trials, shape (pairs,)."""
        return self._of(known).strength

    def rates(self, known: Trials) -> PairRates:
        """Posterior mean rates, and their strength.

        Args:
            known: successes, trials and grade of each pair.

        Returns:
            For pairs, given their own trials and those of the other pairs of their documents; for
            documents, of a pair without a grade, given all their trials.
        """
        curves = self._of(known)
        seen = look_at_others(known, curves, self.document_strength)
        trials = np.maximum(known.trials, known.successes) + seen.strength
        # A pair that was never shown and has no grade, with each document.
        documents = known.documents
        none = np.zeros(documents)
        mean, strength, carry = (np.full(documents, value) for value in self.parameters[:, -1])
        unseen = Trials(
            np.append(known.successes, none),
            np.append(known.trials, none),
            np.append(known.document, np.arange(documents)),
            documents,
        )
        further = Curves(mean, np.exp(strength), carry)
        both = Curves(*(np.append(*pair) for pair in zip(curves, further, strict=True)))
        rows = np.arange(len(known.trials), len(unseen.trials))
        return PairRates(
            pair=(known.successes + seen.expected * seen.strength) / trials,
            document=look_at_others(unseen, both, self.document_strength, rows).expected,
            mean=self.without_grade[0],
            trials=trials,
        )

    def _of(self, known: Trials) -> Curves:
        """The curves at the grades of pairs."""
        assert known.grade is not None
        graded = ~np.isnan(known.grade)
        values = self.parameters @ _splines(GRID).T
        at = np.where(graded, known.grade, 0.0)
        mean, strength, carry = (
            np.where(graded, np.interp(at, GRID, value), without)
            for value, without in zip(values, self.parameters[:, -1], strict=True)
        )
        return Curves(mean, np.exp(strength), carry)


def learn_pair_prior(
    known: Trials, first: RatePrior | GradedPrior | None = None, most: int = MOST_TO_LEARN_FROM
) -> RatePrior | GradedPrior:
    """Learns the prior of pairs from the log (empirical Bayes), by grade where there are grades.

    Maximizes the composite likelihood (Varin, Reid & Firth, Statistica Sinica 2011) of each pair's
    successes, given its grade and the other pairs of its document
    (`clicks.inference.graded_likelihood.composite_likelihood`), together with weak priors, by which
    a curve is flat unless the log shows otherwise. Without grades it is
    `clicks.inference.rate_prior.learn_prior`.

    Args:
        known: successes, trials and grades of each pair.
        first: a prior to start from, of the same kind, such as the one of an earlier EM iteration.
        most: the largest number of pairs to learn from; if there are more, so many are drawn at
            random, always the same ones.
    """
    if known.grade is None:
        assert first is None or isinstance(first, RatePrior)
        return learn_prior(known, first, most)
    tried = np.flatnonzero(known.trials > 0)
    if first is None and len(tried) > most > FIRST_TO_LEARN_FROM:
        first = learn_pair_prior(known, most=FIRST_TO_LEARN_FROM)
    centre, spread, ranges = _weak_prior(known)
    if len(tried) == 0:  # such as satisfaction in a log without clicks
        return _prior(centre)
    part, rows = _with_others(known, draw(tried, most))
    assert part.grade is not None
    splines = _splines(part.grade)

    def loss(scaled: Array) -> tuple[float, Array]:
        parameters = centre + spread * scaled
        value, slopes = composite_likelihood(
            *(part, rows, splines),
            *(parameters[:-1].reshape(3, COLUMNS), float(np.exp(parameters[-1]))),
        )
        # A mean over pairs, so that the first step of the search is no leap.
        total = float(scaled @ scaled / 2 - value)
        return total / len(rows), (scaled - slopes * spread) / len(rows)

    start = np.zeros_like(centre)
    if isinstance(first, GradedPrior):
        start = np.append(first.parameters, np.log(first.document_strength))
        start = (start - centre) / spread
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=(ranges - centre[:, None]) / spread[:, None],
        options={"ftol": TOLERANCE},
    )
    return _prior(centre + spread * found.x)


def _prior(parameters: Array) -> GradedPrior:
    """The prior of parameters as they are searched, shape (3 * COLUMNS + 1,)."""
    return GradedPrior(parameters[:-1].reshape(3, COLUMNS), float(np.exp(parameters[-1])))


def _weak_prior(known: Trials) -> tuple[Array, Array, Array]:
    """Mean and standard deviation of each parameter, shape (19,), and its range, (19, 2)."""
    overall = logit((known.successes.sum() + 1) / (known.trials.sum() + 2))
    centre, spread = np.zeros((2, 3, COLUMNS))
    centre[:, [0, -1]] = np.array([overall, STRENGTH, 1.0])[:, None]
    spread[:] = STEP[:, None]
    spread[:, [0, -1]] = FIRST[:, None]
    ranges = np.empty((3, COLUMNS, 2))
    ranges[:] = np.array(STEP_RANGE)[:, None]
    ranges[:, [0, -1]] = np.array(FIRST_RANGE)[:, None]
    ranges[2, -1] = 1.0
    return (
        np.append(centre, STRENGTH),
        np.append(spread, SPREADS[1]),
        np.append(ranges.reshape(-1, 2), [FIRST_RANGE[1]], axis=0),
    )


def _with_others(known: Trials, drawn: NDArray[np.int64]) -> tuple[Trials, NDArray[np.int64]]:
    """The drawn pairs and all others of their documents, and the rows of the drawn ones there."""
    assert known.grade is not None
    wanted = np.zeros(known.documents, dtype=np.bool_)
    wanted[known.document[drawn]] = True
    kept = np.flatnonzero(wanted[known.document])
    part = Trials(
        known.successes[kept],
        known.trials[kept],
        (np.cumsum(wanted) - 1)[known.document[kept]],
        int(wanted.sum()),
        known.grade[kept],
    )
    return part, np.searchsorted(kept, drawn)


def _splines(grade: Array) -> Array:
    """What the parameters of a curve are multiplied by at each grade, shape (grades, COLUMNS).

    Columns: 1, four quadratic I-splines, which rise from 0 to 1 (Ramsay, Statistical Science 1988),
    and 1 where there is no grade (then the others are 0).
    """
    graded = ~np.isnan(grade)
    at = np.clip(np.where(graded, grade, 0.0), 0.0, HIGHEST_GRADE)
    bumps = BSpline.design_matrix(at, KNOTS, DEGREE).toarray()
    rising = np.cumsum(bumps[:, ::-1], axis=1)[:, ::-1]
    return np.column_stack([rising * graded[:, None], ~graded])
