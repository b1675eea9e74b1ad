"""Rates of query-document pairs from few trials: a two-level prior, learned from the log."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from clicks.inference.beta_binomial import CHUNKS, TwoLevels, two_level_likelihood
from clicks.log.large_arrays import large_zeros, pieces
from clicks.log.threads import compiled, for_each_part
from clicks.log.trials import Array, Trials

# The prior has three parameters. From so many pairs or documents their standard errors are a few
# per cent, and the loss of likelihood grows with the square of the error.
MOST_TO_LEARN_FROM = 10_000
FIRST_TO_LEARN_FROM = 5_000  # for initial values
TOLERANCE = 1e-7  # relative change of the log-likelihood
# Weak normal priors of the three parameters: the logit of the mean rate is 0 with a standard
# deviation of 2; the logarithms of strengths are those of 10 trials, with a factor of 4.
STRENGTH, SPREADS = np.log(10.0), np.array([2.0, np.log(4.0), np.log(4.0)])


@dataclass(frozen=True)
class RatePrior:
    """The prior distribution of the rates of documents and pairs.

    A document has a rate, and the pairs of queries with this document have rates around it:

        document rate ~ Beta(mean * document_strength, (1 - mean) * document_strength)
        pair rate     ~ Beta(document rate * pair_strength, (1 - document rate) * pair_strength)

    so that a document's clicks under other queries inform its rate under a query that never showed
    it.

    Attributes:
        mean: mean of all rates, in (0, 1).
        document_strength: strength of the prior of document rates, in trials, above 0; the larger,
            the less documents differ.
        pair_strength: strength of the prior of pair rates, in trials, above 0; the larger, the less
            the pairs of one document differ.
    """

    mean: float
    document_strength: float
    pair_strength: float

    def own_strength(self, known: Trials) -> Array:
        """Strength of each pair's prior if its document is known, in trials, shape (pairs,)."""
        return np.full(len(known.trials), self.pair_strength)

    def rates(self, known: Trials) -> "PairRates":
        """Posterior mean rates.

        Args:
            known: successes and trials of each pair.

        Returns:
            For pairs, given their own trials and those of the other pairs of their documents; for
            documents, given all their trials.
        """
        weight = self.document_strength
        of_document = known.of_documents[:2]
        return PairRates(
            pair=_rate_pairs(known, self),
            document=(of_document[0] + self.mean * weight) / (of_document[1] + weight),
            mean=self.mean,
        )


@dataclass(frozen=True)
class PairRates:
    """Expected rates of the pairs and documents of a log, and of everything else.

    Attributes:
        pair: rate of each pair of the log, float64 in (0, 1), shape (pairs,).
        document: expected rate of an unseen pair with each document of the log, float64 in (0, 1),
            shape (documents,).
        mean: expected rate of a pair whose document is not in the log, in (0, 1).
        trials: strength of the posterior of each pair's rate, in trials: those of its prior and its
            own; float64 above 0, shape (pairs,). None where it was not asked for.
    """

    pair: Array
    document: Array
    mean: float
    trials: Array | None = None

    def of(self, pair: NDArray[np.int64], document: NDArray[np.int64]) -> Array:
        """Looks up the rate of each pair, or else of its document, or else the mean.

        Args:
            pair: numbers of pairs, -1 where a pair is not in the log; int64, any shape.
            document: numbers of their documents, -1 where it is not in the log; same shape.

        Returns:
            Rates in (0, 1), float64, same shape.
        """
        of_document = np.where(document >= 0, self.document[document], self.mean)
        return np.where(pair >= 0, self.pair[pair], of_document)


def learn_prior(
    known: Trials, first: RatePrior | None = None, most: int = MOST_TO_LEARN_FROM
) -> RatePrior:
    """Learns the prior from the log (empirical Bayes).

    Maximizes a composite likelihood (Varin, Reid & Firth, Statistica Sinica 2011), the sum of two
    kinds of beta-binomial log-likelihoods. First, of each pair's successes given those of the other
    pairs of its document; the distribution of the pair's rate is approximated by the Beta
    distribution with the mean and the variance that the two levels imply. Second, of the successes
    of each document that has several pairs. As the pairs of one document differ, n trials of a pair
    count there as (s + 1) n / (s + n), with s = 10.

    Args:
        known: successes and trials of each pair, not all 0.
        first: a prior to start from, such as the one of an earlier EM iteration.
        most: the largest number of pairs, and of documents, to learn from; if there are more, so
            many are drawn at random, always the same ones.
    """
    if first is None and len(known.trials) > most > FIRST_TO_LEARN_FROM:
        first = learn_prior(known, most=FIRST_TO_LEARN_FROM)
    document_successes, document_trials, _ = known.of_documents
    tried = np.flatnonzero(known.trials > 0)
    drawn = draw(tried, most)
    successes, trials = known.successes[drawn], known.trials[drawn]
    other_successes = np.maximum(document_successes[known.document[drawn]] - successes, 0.0)
    other_trials = np.maximum(document_trials[known.document[drawn]] - trials, other_successes)
    shared_successes, shared_trials = _shared(known, most)
    no_others = np.zeros(len(shared_successes))

    def loss(parameters: Array) -> tuple[float, Array]:
        mean, document_strength, pair_strength = _unpack(parameters)
        sums = two_level_likelihood(
            *(successes, trials, other_successes, other_trials),
            mean,
            document_strength,
            pair_strength,
        )
        if len(shared_successes):
            sums += two_level_likelihood(
                *(shared_successes, shared_trials, no_others, no_others),
                mean,
                document_strength,
                np.inf,
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
    """Discounted successes and trials of documents with several pairs, each shape (documents,)."""
    shared = draw(np.flatnonzero(known.of_documents[2] > 1), most)
    if len(shared) == 0:
        return np.zeros(0), np.zeros(0)
    successes, trials = np.zeros((2, known.documents))
    for some in pieces(len(known.trials)):
        share = (np.exp(STRENGTH) + 1) / (np.exp(STRENGTH) + known.trials[some])
        document = known.document[some]
        successes += np.bincount(document, known.successes[some] * share, known.documents)
        trials += np.bincount(document, known.trials[some] * share, known.documents)
    return successes[shared], trials[shared]


def draw(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """All of the numbers, or `most` of them drawn at random, always the same ones."""
    if len(numbers) <= most:
        return numbers
    return numbers[np.random.default_rng(0).integers(len(numbers), size=most)]


def _unpack(parameters: Array) -> tuple[float, float, float]:
    return expit(parameters[0]), np.exp(parameters[1]), np.exp(parameters[2])


def _rate_pairs(known: Trials, prior: RatePrior) -> Array:
    """Posterior mean rates of pairs.

    The prior of a pair, given the other pairs of its document, is the Beta distribution with the
    mean and the variance of the pair rate. With the document rate m ~ Beta of strength `others`,
    that variance is E[m](1 - E[m]) (1/(s+1) + s/(s+1)/(others+1)); the variance of a Beta of
    strength w is E[m](1 - E[m]) / (w+1).
    """
    rates: Array = large_zeros(len(known.trials), np.float64)
    of = KnownTrials(known.successes, known.trials, known.document, known.of_documents)
    levels = TwoLevels(prior.mean, prior.document_strength, prior.pair_strength)
    for_each_part(_fill_rates, CHUNKS, of, levels, rates)
    return rates


class KnownTrials(NamedTuple):
    """The arrays of `Trials`, for compiled functions."""

    successes: Array
    trials: Array
    document: NDArray[np.int64]
    of_documents: Array


@compiled()  # type: ignore[untyped-decorator]
def _fill_rates(chunk: int, of: KnownTrials, prior: TwoLevels, rates: Array) -> None:
    pairs = len(rates)
    for pair in range(chunk * pairs // CHUNKS, (chunk + 1) * pairs // CHUNKS):
        successes, trials, document = of.successes[pair], of.trials[pair], of.document[pair]
        others = max(of.of_documents[1, document] - trials, 0.0) + prior.document_strength
        other_successes = of.of_documents[0, document] - successes
        expected = (other_successes + prior.mean * prior.document_strength) / others
        spread = (1 + prior.pair_strength / (others + 1)) / (prior.pair_strength + 1)
        strength = 1 / spread - 1
        rates[pair] = (successes + expected * strength) / (trials + strength)
