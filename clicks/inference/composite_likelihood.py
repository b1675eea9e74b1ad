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

from clicks.inference.anderson import Extrapolation, from_logits, to_logits
from clicks.inference.beta_binomial import CHUNKS
from clicks.inference.graded_prior import GradedPrior
from clicks.inference.rate_prior import PairRates, RatePrior
from clicks.log.click_log import ClickLog, Rows
from clicks.log.threads import compiled, for_each_part, in_parallel
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
    far, extrapolation = to_logits(start.ravel()), Extrapolation(np.ones(start.size))
    iterations, converged = 0, False
    while not converged and iterations < max_iterations:
        rates = _em_step(log, start, priors)
        end = _state(rates)
        iterations += 1
        converged = bool(np.abs(end - start).mean() < tolerance)
        far = extrapolation.next_start(far, to_logits(end.ravel()))
        start = from_logits(far).reshape(end.shape)
    return CompositeFit(rates, iterations, converged)


def _em_step(log: ClickLog, rates: Array, priors: list[RatePrior | GradedPrior]) -> list[PairRates]:
    satisfaction = rates[1] if len(rates) > 1 else np.ones(1)
    sums = np.zeros((6, rates.shape[1]))
    for_each_part(
        _expect, len(log.parts) - 1, log.rows, rates[0], satisfaction, log.positions, sums
    )
    observed = np.empty((len(rates), 3, rates.shape[1]))
    for_each_part(_observe, CHUNKS, rates[0], satisfaction, sums, observed)
    return [
        _maximization_step(log, rate, prior, *of_rate)
        for rate, prior, of_rate in zip(rates, priors, observed, strict=True)
    ]


def _maximization_step(
    log: ClickLog,
    rate: Array,
    prior: RatePrior | GradedPrior,
    successes: Array,
    trials: Array,
    em_trials: Array,
) -> PairRates:
    """The rates that follow from what `_observe` wrote of one of them."""
    known = log.pairs.trials(successes, trials)
    goal = prior.rates(known)
    pair = in_parallel(
        lambda rate, goal, trials, em_trials, own: (
            rate + (trials + own) / (em_trials + own) * (goal - rate)
        ),
        *(rate, goal.pair, trials, em_trials, prior.own_strength(known)),
    )
    return replace(goal, pair=pair)


def _state(rates: list[PairRates]) -> Array:
    return np.stack([rate.pair for rate in rates])


@compiled()  # type: ignore[untyped-decorator]
def _expect(
    part: int,
    of: Rows,
    attractiveness: Array,
    satisfaction: Array,
    positions: int,
    sums: Array,
) -> None:
    """Adds up what the positions of sessions say of the pairs there, shape (6, pairs).

    Given a click at k, all positions above were examined and did not satisfy. Given none, with
    p = P(click at k) and j < k, position j was examined with probability (R_j - p) / (1 - p),
    clicked with (R_j a_j - p u_j) / (1 - p), where u_j = P(click | examined, not satisfied), and
    satisfying with R_j a_j s_j / (1 - p); position k was examined with (R_k - p) / (1 - p).

    Of these, what is not the same in all sessions is summed for each pair j, times their number:
    R_j `silent`, the sum of R_j / (1 - p) over the positions below that have no click; `reached`,
    the number of clicks below less the sum of p / (1 - p) over the same positions; `odds`, the sum
    of p / (1 - p) over all positions below; (R_j - p_j) / (1 - p_j), if j has no click and if it
    has one; and the clicks on j.
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
            click = examined[position] * attractiveness[number]
            inverse_skip = weight / (1 - click)
            sums[0, number] += examined[position] * silent
            sums[1, number] += reached
            sums[2, number] += odds
            if of.clicks[first + position]:
                sums[4, number] += (examined[position] - click) * inverse_skip
                sums[5, number] += weight
                reached += weight
            else:
                sums[3, number] += (examined[position] - click) * inverse_skip
                silent += inverse_skip
                reached -= click * inverse_skip
            odds += click * inverse_skip


@compiled()  # type: ignore[untyped-decorator]
def _observe(
    chunk: int, attractiveness: Array, satisfaction: Array, sums: Array, observed: Array
) -> None:
    """Writes for each rate what `_observe_rate` does, shape (rates, 3, pairs)."""
    satisfaction_step, pairs = np.int64(len(satisfaction) > 1), len(attractiveness)
    for pair in range(chunk * pairs // CHUNKS, (chunk + 1) * pairs // CHUNKS):
        attractive, satisfying = attractiveness[pair], satisfaction[pair * satisfaction_step]
        silent, reached, odds = sums[0, pair], sums[1, pair], sums[2, pair]
        stay = 1 / (1 - attractive * satisfying)
        clicked = attractive * silent + attractive * (1 - satisfying) * stay * reached
        trials = silent + reached + sums[3, pair] + sums[5, pair]
        information = attractive * (1 - attractive) * odds * (satisfying * stay) ** 2
        information += sums[3, pair] + sums[4, pair]
        _observe_rate(observed[0], pair, attractive, clicked + sums[5, pair], trials, information)
        if len(observed) > 1:
            successes = attractive * satisfying * silent
            information = satisfying * (1 - satisfying) * odds * (attractive * stay) ** 2
            _observe_rate(observed[1], pair, satisfying, successes, clicked, information)


@compiled()  # type: ignore[untyped-decorator]
def _observe_rate(
    observed: Array, pair: int, rate: float, successes: float, trials: float, information: float
) -> None:
    """Writes successes and trials that were observed, and the trials of EM, which are no fewer.

    `information` is how many trials were observed.
    """
    # Several positions can each say that one trial failed, which must not go below 0 successes.
    slope = successes - rate * trials
    observed[0, pair] = min(max(rate * information + slope, 0.0), information)
    observed[1, pair] = information
    observed[2, pair] = max(trials, information)
