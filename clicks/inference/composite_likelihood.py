"""Fits a sequential click model to the marginal probability of a click at each position.

Where the user always continues after a skip, and stops after a click that satisfies,

    P(click at k) = a_k R_k,    R_k = prod over j < k of (1 - a_j s_j)

with attractiveness a, satisfaction s (in the cascade model s = 1) and the probability R_k that
position k is examined. The sum over positions of the log-probabilities of what was observed there
is a composite likelihood (Lindsay, Contemporary Mathematics 1988; Varin, Reid & Firth, Statistica
Sinica 2011). If the model is right, its maximum is consistent. If it is wrong, the maximum of the
full likelihood gives up accuracy of unconditional click probabilities for those given earlier
clicks, and this one does not. It is also defined for sessions that the model holds to be
impossible.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from clicks.inference.anderson import Extrapolation
from clicks.inference.graded_prior import GradedPrior
from clicks.inference.rate_prior import PairRates, RatePrior
from clicks.log.click_log import ClickLog, Rows
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array


@dataclass(frozen=True)
class CompositeFit:
    """The result of `maximize_composite_likelihood`.

    Attributes:
        rates: attractiveness and, if it was fitted, satisfaction of each pair.
        iterations: the number of EM iterations.
        converged: whether the tolerance was reached.
    """

    rates: list[PairRates]
    iterations: int
    converged: bool


def maximize_composite_likelihood(
    log: ClickLog,
    first: list[PairRates],
    priors: list[RatePrior | GradedPrior],
    max_iterations: int = 300,
    tolerance: float = 1e-4,
) -> CompositeFit:
    """Maximizes the composite likelihood of the clicks and the priors of the rates by EM.

    EM treats each position of a session as a session of its own, of which only that position's
    click was observed. The hidden variables that it fills in once for each position must not count
    as so much evidence on other pairs of the document. So the trials of a pair are its observed
    Fisher information times a (1 - a), with the successes that give the same slope of the
    likelihood at its rate a; the step to the new rates is shortened to the length of an EM step.
    The priors are fixed; they were learned with the full likelihood, whose trials are those of the
    log. EM is accelerated (`clicks.inference.anderson`).

    Args:
        log: the encoded sessions.
        first: initial rates: attractiveness and, unless every click satisfies, satisfaction.
        priors: the prior of each of these rates.
        max_iterations: the largest number of EM iterations, at least 1.
        tolerance: stop when an iteration changes the rates by less than this on average; a
            probability.
    """
    rates = first
    start = _state(rates)
    far, extrapolation = logit(start.ravel()), Extrapolation(np.ones(start.size))
    iterations, converged = 0, False
    while not converged and iterations < max_iterations:
        rates = _em_step(log, start, priors)
        end = _state(rates)
        iterations += 1
        converged = bool(np.abs(end - start).mean() < tolerance)
        far = extrapolation.next_start(far, logit(end.ravel()))
        start = expit(far).reshape(end.shape)
    return CompositeFit(rates, iterations, converged)


def _em_step(log: ClickLog, rates: Array, priors: list[RatePrior | GradedPrior]) -> list[PairRates]:
    satisfaction = rates[1] if len(rates) > 1 else np.ones(1)
    counts = np.zeros((rates.shape[1], len(rates), 3))
    for_each_part(
        _expect, len(log.parts) - 1, log.rows, rates[0], satisfaction, log.positions, counts
    )
    return [
        _maximization_step(log, rate, prior, *np.ascontiguousarray(counts[:, number].T))
        for number, (rate, prior) in enumerate(zip(rates, priors, strict=True))
    ]


def _maximization_step(
    log: ClickLog,
    rate: Array,
    prior: RatePrior | GradedPrior,
    successes: Array,
    trials: Array,
    information: Array,
) -> PairRates:
    """The rates that follow from expected successes and trials, each of shape (pairs,).

    `information` is how many trials of each pair were observed.
    """
    # Several positions can each say that one trial failed, which must not go below 0 successes.
    observed_successes = np.clip(rate * information + successes - rate * trials, 0.0, information)
    known = log.pairs.trials(observed_successes, information)
    goal, own = prior.rates(known), prior.own_strength(known)
    length = (information + own) / (np.maximum(trials, information) + own)
    return replace(goal, pair=rate + length * (goal.pair - rate))


def _state(rates: list[PairRates]) -> Array:
    return np.stack([rate.pair for rate in rates])


@compiled()  # type: ignore[untyped-decorator]
def _expect(
    part: int,
    of: Rows,
    attractiveness: Array,
    satisfaction: Array,
    positions: int,
    counts: Array,
) -> None:
    """Adds up successes, trials and observed trials of each rate: shape (pairs, rates, 3).

    Given a click at k, all positions above were examined and did not satisfy. Given none, with
    p = P(click at k) and j < k, position j was examined with probability (R_j - p) / (1 - p),
    clicked with (R_j a_j - p u_j) / (1 - p), where u_j = P(click | examined, not satisfied), and
    satisfying with R_j a_j s_j / (1 - p); position k was examined with (R_k - p) / (1 - p). From
    the last position to the first, `silent` is the sum of 1 / (1 - p) over positions without a
    click, `reached` the number of clicks less the sum of p / (1 - p) over those positions, and
    `odds` the sum of p / (1 - p) over all positions.
    """
    satisfaction_step = np.int64(len(satisfaction) > 1)
    examined = np.empty(positions)
    for row in range(of.parts[part], of.parts[part + 1]):
        weight, first, now = of.sessions[row], of.starts[row], 1.0
        length = of.starts[row + 1] - first
        for position in range(length):
            number = of.pair[first + position]
            examined[position] = now
            now *= 1 - attractiveness[number] * satisfaction[number * satisfaction_step]
        silent = reached = odds = 0.0
        for position in range(length - 1, -1, -1):
            number = of.pair[first + position]
            attractive = attractiveness[number]
            satisfying = satisfaction[number * satisfaction_step]
            click = examined[position] * attractive
            inverse_skip = 1 / (1 - click)
            stay = 1 / (1 - attractive * satisfying)
            successes = click * silent + attractive * (1 - satisfying) * stay * reached
            trials = examined[position] * silent + reached
            own = (examined[position] - click) * inverse_skip
            of_pair = counts[number]
            if len(of_pair) > 1:
                of_pair[1, 0] += weight * click * satisfying * silent
                of_pair[1, 1] += weight * successes
                of_pair[1, 2] += (
                    weight * satisfying * (1 - satisfying) * odds * ((attractive * stay) ** 2)
                )
            of_pair[0, 2] += weight * own
            of_pair[0, 2] += (
                weight * attractive * (1 - attractive) * odds * ((satisfying * stay) ** 2)
            )
            if of.clicks[first + position]:
                of_pair[0, 0] += weight * (successes + 1)
                of_pair[0, 1] += weight * (trials + 1)
                reached += 1
            else:
                of_pair[0, 0] += weight * successes
                of_pair[0, 1] += weight * (trials + own)
                silent += inverse_skip
                reached -= click * inverse_skip
            odds += click * inverse_skip
