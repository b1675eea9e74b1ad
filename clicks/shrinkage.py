"""Rates of query-document pairs from few trials: a two-level prior, learned from the log itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, expit, logit

Array = NDArray[np.float64]

# Three numbers are learned; more pairs or documents would not change them by a per cent.
MOST_TO_LEARN_FROM = 20_000
# Where the log tells nothing of these numbers: a rate of one half, give or take 2 in logits, and
# strengths of ten trials, give or take a factor of four.
MEAN_SPREAD, STRENGTH, STRENGTH_SPREAD = 2.0, np.log(10.0), np.log(4.0)


@dataclass(frozen=True)
class Trials:
    """What is known of the rate of each query-document pair.

    Attributes:
        successes: of each pair, shape (pairs,).
        trials: of each pair, shape (pairs,); like successes, they may be expected ones.
        document: number of each pair's document, shape (pairs,).
        documents: how many documents there are.
    """

    successes: Array
    trials: Array
    document: NDArray[np.int64]
    documents: int

    def of_documents(self) -> tuple[Array, Array]:
        """Successes and trials of each document under all queries, shape (documents,)."""
        successes = total(self.document, self.successes, self.documents)
        return successes, total(self.document, self.trials, self.documents)


def total(number: NDArray[np.int64], values: Array, count: int) -> Array:
    """Sums the values that have the same number: float64, shape (count,)."""
    return np.bincount(number, values, count).astype(np.float64, copy=False)


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
        successes, trials = known.of_documents()
        weight = self.document_strength
        others = np.maximum(trials[known.document] - known.trials, 0.0) + weight
        other_successes = successes[known.document] - known.successes
        expected = (other_successes + self.mean * weight) / others
        strength = _strength_of_others(others, self.pair_strength)
        return PairRates(
            pair=(known.successes + expected * strength) / (known.trials + strength),
            document=(successes + self.mean * weight) / (trials + weight),
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


def learn_prior(known: Trials) -> RatePrior:
    """Learns the prior from the log (empirical Bayes).

    Maximises the sum of the logarithms of two kinds of beta-binomial probabilities (a composite
    likelihood: Varin, Reid & Firth, Statistica Sinica 2011): of the successes of each pair given
    those of the other pairs of its document, where the distribution of the pair's rate is taken to
    be the Beta distribution with the mean and the variance that the two levels give it; and of the
    successes of each document that has several pairs. As pairs of one document differ, a pair's
    n trials count there as its (s + 1) n / (s + n), with s = 10.
    """
    document_hits, document_tries = known.of_documents()
    drawn = _draw(np.flatnonzero(known.trials > 0))
    of_document = known.document[drawn]
    pairs = _Counts.of(
        known.successes[drawn],
        known.trials[drawn],
        document_hits[of_document] - known.successes[drawn],
        document_tries[of_document] - known.trials[drawn],
    )
    share = (np.exp(STRENGTH) + 1) / (np.exp(STRENGTH) + known.trials)
    several = np.bincount(known.document[known.trials > 0], minlength=known.documents) > 1
    shared = _draw(np.flatnonzero(several))
    documents = _Counts.of(
        total(known.document, known.successes * share, known.documents)[shared],
        total(known.document, known.trials * share, known.documents)[shared],
    )

    def loss(parameters: Array) -> float:
        mean, document_strength, pair_strength = _unpack(parameters)
        others = np.maximum(pairs.other_tries, pairs.other_hits) + document_strength
        expected = (pairs.other_hits + mean * document_strength) / others
        likelihood = pairs.log_likelihood(expected, _strength_of_others(others, pair_strength))
        likelihood += documents.log_likelihood(mean, document_strength)
        unlikely = (parameters[0] / MEAN_SPREAD) ** 2
        unlikely += np.sum(((parameters[1:] - STRENGTH) / STRENGTH_SPREAD) ** 2)
        return float(unlikely / 2 - likelihood)

    overall = (known.successes.sum() + 1) / (known.trials.sum() + 2)
    start = np.array([logit(overall), STRENGTH, STRENGTH])
    found = minimize(loss, start, method="L-BFGS-B", bounds=[(-12, 12), (-7, 14), (-7, 14)])
    return RatePrior(*map(float, _unpack(found.x)))


@dataclass(frozen=True)
class _Counts:
    """Distinct counts of successes and trials, and how many pairs or documents have them."""

    hits: Array
    tries: Array
    other_hits: Array
    other_tries: Array
    multiplicity: Array

    @classmethod
    def of(cls, *counts: Array) -> "_Counts":
        """Counts what is alike; expected trials are alike to a hundredth."""
        columns = [*counts, *([np.zeros_like(counts[0])] * (4 - len(counts)))]
        distinct, multiplicity = np.unique(
            np.column_stack(columns).round(2), axis=0, return_counts=True
        )
        hits, tries, other_hits, other_tries = distinct.T
        return cls(hits, tries, other_hits, other_tries, multiplicity.astype(np.float64))

    def log_likelihood(self, mean: Array | float, strength: Array | float) -> float:
        """Of the successes, beta-binomial with a prior of this mean and strength."""
        alpha, beta = mean * strength, (1 - mean) * strength
        misses = np.maximum(self.tries - self.hits, 0.0)
        probability = betaln(self.hits + alpha, misses + beta) - betaln(alpha, beta)
        return float(self.multiplicity @ probability)


def _draw(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(numbers) <= MOST_TO_LEARN_FROM:
        return numbers
    return np.random.default_rng(0).choice(numbers, MOST_TO_LEARN_FROM, replace=False)


def _unpack(parameters: Array) -> tuple[float, float, float]:
    return expit(parameters[0]), np.exp(parameters[1]), np.exp(parameters[2])


def _strength_of_others(others: Array, pair_strength: float) -> Array:
    """Strength of the Beta that has a pair rate's variance, given `others` trials of its document.

    With document rate m ~ Beta of strength `others`, the variance of a pair rate is
    E[m](1 - E[m]) (1/(s+1) + s/(s+1)/(others+1)), and that of a Beta of strength w is
    E[m](1 - E[m]) / (w+1).
    """
    spread = (1 + pair_strength / (others + 1)) / (pair_strength + 1)
    return 1 / spread - 1
