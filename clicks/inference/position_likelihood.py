"""Fits the rates of a chain model to the chance of a click at each position by itself.

Where the user always reads on after a skip, and stops after a click that satisfies,

    P(click at k) = a_k R_k,    R_k = prod over j < k of (1 - a_j s_j)

with attractiveness a and satisfaction s (in the cascade model s = 1). The sum over positions of
the logarithms of the chances of what was seen there is a composite likelihood (Lindsay,
Contemporary Mathematics 1988; Varin, Reid & Firth, Statistica Sinica 2011). Its maximum tends to
the truth where the model is right. Where it is not, that of the likelihood trades the chances of
clicks alone for those given earlier clicks, and this one does not. It is also defined for clicks
that the model holds to be impossible together.
"""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.special import expit, logit

from clicks.inference.anderson import Extrapolation
from clicks.inference.rate_prior import PairRates, RatePrior
from clicks.log.click_log import ClickLog
from clicks.log.trials import Array, Trials


@dataclass(frozen=True)
class MarginalFit:
    """Where the fit ended.

    Attributes:
        rates: attractiveness and, if there was a prior of it, satisfaction.
        iterations: of EM.
        converged: whether it ended by the tolerance.
    """

    rates: list[PairRates]
    iterations: int
    converged: bool


def fit_marginals(
    log: ClickLog,
    first: list[PairRates],
    priors: list[RatePrior],
    max_iterations: int = 300,
    tolerance: float = 1e-4,
) -> MarginalFit:
    """Maximises the composite likelihood of the clicks and the priors, by EM.

    EM takes each position of a session for a session of its own, of which only that position's
    click was seen. What it fills in for one session, once for each position, must not count as
    evidence of other pairs of the document. So a pair's trials are its Fisher information, in
    trials that were seen (times a (1 - a)), with as many successes as give the same slope of the
    likelihood at its rate a; the way to the rates that follow is made as short as EM's. The priors
    are given: of the model's likelihood, whose trials are those of the log. Each iteration
    starts from where the last few lead (`clicks.inference.anderson`).

    Args:
        log: the sessions.
        first: rates to begin with: attractiveness and, unless each click satisfies, satisfaction.
        priors: of these rates.
        max_iterations: the most iterations, at least 1.
        tolerance: stop once an iteration changes the rates by no more, on average.
    """
    rates = first
    start = _state(rates)
    far, extrapolation = logit(start.ravel()), Extrapolation(np.ones(start.size))
    iterations, converged = 0, False
    while not converged and iterations < max_iterations:
        rates = _step(log, start, priors)
        end = _state(rates)
        iterations += 1
        converged = bool(np.abs(end - start).mean() < tolerance)
        far = extrapolation.onward(far, logit(end.ravel()))
        start = expit(far).reshape(end.shape)
    return MarginalFit(rates, iterations, converged)


def _step(log: ClickLog, rates: Array, priors: list[RatePrior]) -> list[PairRates]:
    satisfaction = rates[1] if len(rates) > 1 else np.ones(1)
    counts = np.zeros((rates.shape[1], len(rates), 3))
    _expect(
        *(log.parts, log.starts, log.pair, log.clicks, log.sessions, rates[0], satisfaction),
        *(log.positions, counts),
    )
    return [
        _improve(log, rate, prior, *np.ascontiguousarray(counts[:, number].T))
        for number, (rate, prior) in enumerate(zip(rates, priors, strict=True))
    ]


def _improve(
    log: ClickLog, rate: Array, prior: RatePrior, hits: Array, tries: Array, seen: Array
) -> PairRates:
    """The rates that expected hits and tries lead to, where so many tries were seen."""
    # Several positions may tell of one try that it missed, which is not less than no hit.
    seen_hits = np.clip(rate * seen + hits - rate * tries, 0.0, seen)
    known = Trials(seen_hits, seen, log.pairs.document, len(log.pairs.documents))
    goal = prior.rates(known)
    length = (seen + prior.pair_strength) / (np.maximum(tries, seen) + prior.pair_strength)
    return replace(goal, pair=rate + length * (goal.pair - rate))


def _state(rates: list[PairRates]) -> Array:
    return np.stack([rate.pair for rate in rates])


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _expect(
    parts: NDArray[np.int64],
    starts: NDArray[np.int64],
    pair: NDArray[np.int32],
    clicks: NDArray[np.bool_],
    sessions: Array,
    attractiveness: Array,
    satisfaction: Array,
    positions: int,
    counts: Array,
) -> None:
    """Adds up hits, tries and tries seen of each rate of each pair: shape (pairs, rates, 3).

    Given a click at k, all above were read and did not satisfy. Given none, with p = P(click at
    k) and j < k, j was read with chance (R_j - p) / (1 - p), clicked with chance (R_j a_j - p u_j)
    / (1 - p), where u_j = P(click | read, not satisfied), and satisfied with chance R_j a_j s_j /
    (1 - p); k was read with chance (R_k - p) / (1 - p). From the last position to the first,
    `silent` is the sum of 1 / (1 - p) where there was no click, `reached` that of clicks less
    that of p / (1 - p), and `odds` that of p / (1 - p) everywhere.
    """
    satisfaction_step = np.int64(len(satisfaction) > 1)
    for part in prange(len(parts) - 1):
        read = np.empty(positions)
        for row in range(parts[part], parts[part + 1]):
            weight, first, now = sessions[row], starts[row], 1.0
            length = starts[row + 1] - first
            for position in range(length):
                number = pair[first + position]
                read[position] = now
                now *= 1 - attractiveness[number] * satisfaction[number * satisfaction_step]
            silent = reached = odds = 0.0
            for position in range(length - 1, -1, -1):
                number = pair[first + position]
                attractive = attractiveness[number]
                satisfying = satisfaction[number * satisfaction_step]
                click = read[position] * attractive
                unseen = 1 / (1 - click)
                stay = 1 / (1 - attractive * satisfying)
                hits = click * silent + attractive * (1 - satisfying) * stay * reached
                tries = read[position] * silent + reached
                own = (read[position] - click) * unseen
                of_pair = counts[number]
                if len(of_pair) > 1:
                    of_pair[1, 0] += weight * click * satisfying * silent
                    of_pair[1, 1] += weight * hits
                    of_pair[1, 2] += (
                        weight * satisfying * (1 - satisfying) * odds * ((attractive * stay) ** 2)
                    )
                of_pair[0, 2] += weight * own
                of_pair[0, 2] += (
                    weight * attractive * (1 - attractive) * odds * ((satisfying * stay) ** 2)
                )
                if clicks[first + position]:
                    of_pair[0, 0] += weight * (hits + 1)
                    of_pair[0, 1] += weight * (tries + 1)
                    reached += 1
                else:
                    of_pair[0, 0] += weight * hits
                    of_pair[0, 1] += weight * (tries + own)
                    silent += unseen
                    reached -= click * unseen
                odds += click * unseen
