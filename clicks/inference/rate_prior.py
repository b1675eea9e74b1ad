"""Rates of query-document pairs from few trials: a two-level prior, learned from the log itself."""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from clicks.inference.beta_binomial import two_level_likelihood
from clicks.log.trials import Array, Trials

# Three numbers are learned; of so many pairs or documents their standard errors are a few per cent,
# and what an error costs in likelihood goes with its square.
MOST_TO_LEARN_FROM = 10_000
FIRST_TO_LEARN_FROM = 5_000  # for a start
TOLERANCE = 1e-7  # of the log-likelihood, far less than a nat
# Where the log tells nothing of these numbers: a rate of one half, give or take 2 in logits, and
# strengths of ten trials, give or take a factor of four.
STRENGTH, SPREADS = np.log(10.0), np.array([2.0, np.log(4.0), np.log(4.0)])


@dataclass(frozen=True)
class RatePrior:
    """How the rates of pairs and documents spread.

    A document has a rate of its own, and each pair of a query with it has a rate around that:

        document rate ~ Beta(mean * document_strength, (1 - mean) * document_strength)
        pair rate     ~ Beta(document rate * pair_strength, (1 - document rate) * pair_strength)

    so that what a document got under other queries says something of a query that never showed
    it. Strengths are in trials.

    Attributes:
        mean: of all rates, in (0, 1).
        document_strength: how alike documents are.
        pair_strength: how alike the queries of one document are.
    """

    mean: float
    document_strength: float
    pair_strength: float

    def rates(self, known: Trials) -> "PairRates":
        """Posterior means of pairs, given the other pairs of their documents, and of documents."""
        weight = self.document_strength
        of_document = known.of_documents[:2]
        return PairRates(
            pair=_rate_pairs(
                *(known.successes, known.trials, known.document, *of_document),
                *(self.mean, weight, self.pair_strength),
            ),
            document=(of_document[0] + self.mean * weight) / (of_document[1] + weight),
            mean=self.mean,
        )


@dataclass(frozen=True)
class PairRates:
    """A rate for each pair of a log, for its documents, and for all else.

    Attributes:
        pair: float64 in (0, 1), shape (pairs,).
        document: expected rate of a query's pair with the document, shape (documents,).
        mean: expected rate of a pair with an unknown document.
    """

    pair: Array
    document: Array
    mean: float

    def of(self, pair: NDArray[np.int64], document: NDArray[np.int64]) -> Array:
        """The rate of each pair; where its number is -1, of its document, or else of all."""
        of_document = np.where(document >= 0, self.document[document], self.mean)
        return np.where(pair >= 0, self.pair[pair], of_document)


def learn_prior(
    known: Trials, first: RatePrior | None = None, most: int = MOST_TO_LEARN_FROM
) -> RatePrior:
    """Learns the prior from the log (empirical Bayes).

    Maximises the sum of the logarithms of two kinds of beta-binomial probabilities (a composite
    likelihood: Varin, Reid & Firth, Statistica Sinica 2011): of the successes of each pair given
    those of the other pairs of its document, where the distribution of the pair's rate is taken to
    be the Beta distribution with the mean and the variance that the two levels give it; and of the
    successes of each document that has several pairs. As pairs of one document differ, a pair's
    n trials count there as its (s + 1) n / (s + n), with s = 10.

    Args:
        known: successes and trials, not all of which are 0.
        first: a prior to start from, such as that of an earlier iteration.
        most: pairs and documents to learn from, drawn where there are more.
    """
    if first is None and len(known.trials) > most > FIRST_TO_LEARN_FROM:
        first = learn_prior(known, most=FIRST_TO_LEARN_FROM)
    document_hits, document_tries, _ = known.of_documents
    tried = np.flatnonzero(known.trials > 0)
    drawn = _draw(tried, most)
    hits, tries = known.successes[drawn], known.trials[drawn]
    other_hits = np.maximum(document_hits[known.document[drawn]] - hits, 0.0)
    other_tries = np.maximum(document_tries[known.document[drawn]] - tries, other_hits)
    shared_hits, shared_tries = _shared(known, most)
    no_others = np.zeros(len(shared_hits))

    def loss(parameters: Array) -> tuple[float, Array]:
        mean, document_strength, pair_strength = _unpack(parameters)
        sums = two_level_likelihood(
            *(hits, tries, other_hits, other_tries), mean, document_strength, pair_strength
        )
        if len(shared_hits):
            sums += two_level_likelihood(
                *(shared_hits, shared_tries, no_others, no_others), mean, document_strength, np.inf
            )
        likelihood, slopes = sums[0], sums[1:]
        slopes[0] *= mean * (1 - mean)
        gap = (parameters - [0, STRENGTH, STRENGTH]) / SPREADS
        return float(gap @ gap / 2 - likelihood), gap / SPREADS - slopes

    overall = (known.successes.sum() + 1) / (known.trials.sum() + 2)
    start = np.array([logit(overall), STRENGTH, STRENGTH])
    if first:
        start = np.array(
            [logit(first.mean), *np.log([first.document_strength, first.pair_strength])]
        )
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-12, 12), (-7, 14), (-7, 14)],
        options={"ftol": TOLERANCE},
    )
    return RatePrior(*map(float, _unpack(found.x)))


def _shared(known: Trials, most: int) -> tuple[Array, Array]:
    """Successes and trials of documents of several pairs, each pair's for what they count."""
    shared = _draw(np.flatnonzero(known.of_documents[2] > 1), most)
    if len(shared) == 0:
        return np.zeros(0), np.zeros(0)
    share = (np.exp(STRENGTH) + 1) / (np.exp(STRENGTH) + known.trials)
    counted = Trials(known.successes * share, known.trials * share, known.document, known.documents)
    hits, tries, _ = counted.of_documents[:, shared]
    return hits, tries


def _draw(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(numbers) <= most:
        return numbers
    return numbers[np.random.default_rng(0).integers(len(numbers), size=most)]


def _unpack(parameters: Array) -> tuple[float, float, float]:
    return expit(parameters[0]), np.exp(parameters[1]), np.exp(parameters[2])


@njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _rate_pairs(
    successes: Array,
    trials: Array,
    document: NDArray[np.int64],
    document_successes: Array,
    document_trials: Array,
    mean: float,
    document_strength: float,
    pair_strength: float,
) -> Array:
    """Posterior means of pairs.

    What is expected of a pair has the strength of the Beta distribution with a pair rate's
    variance. With document rate m ~ Beta of strength `others`, the variance of a pair rate is
    E[m](1 - E[m]) (1/(s+1) + s/(s+1)/(others+1)), and that of a Beta of strength w is
    E[m](1 - E[m]) / (w+1).
    """
    rates = np.empty(len(successes))
    for pair in prange(len(successes)):
        all_trials = document_trials[document[pair]]
        others = max(all_trials - trials[pair], 0.0) + document_strength
        other_successes = document_successes[document[pair]] - successes[pair]
        expected = (other_successes + mean * document_strength) / others
        spread = (1 + pair_strength / (others + 1)) / (pair_strength + 1)
        strength = 1 / spread - 1
        rates[pair] = (successes[pair] + expected * strength) / (trials[pair] + strength)
    return rates
