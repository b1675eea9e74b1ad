"""The shape of a query log: how often queries are searched, which ones, and when.

Where the numbers come from:

* How often a query is searched follows a discrete power law, P(k) ~ k ** -a. With a = 2.1 it gives
  what Silverstein, Henzinger, Marais & Moricz, "Analysis of a very large web search engine query
  log", SIGIR Forum 1999, counted in six weeks of AltaVista: 64 % of distinct queries once (they
  counted 63.7 %), 15 % twice (16.2 %), 6 % three times (6.5 %), 15 % more often (13.6 %), and 3.97
  searches a query (3.97), if none is searched more than 3,755 times. By rank that is Zipf's law of
  exponent 1 / (a - 1) = 0.91; others fit 0.83 (Baeza-Yates et al., "The impact of caching on search
  engines", SIGIR 2007). Asked for more or fewer searches a query, the law keeps its form and
  changes its exponent.
* Frequent queries are shorter: multiple-word queries are shared less (Xie & O'Hallaron, "Locality
  in search engine queries and its implications for caching", INFOCOM 2002); the popular queries of
  a week have 1.7 terms on average and all searches 2.2 (Beitzel et al., "Hourly analysis of a very
  large topically categorized web query log", SIGIR 2004). Queries take their place in the order of
  frequency by a Plackett-Luce draw that favours short ones; LENGTH_PULL and MORE_WORDS are the
  round numbers with which simulated logs have 1.8 and 2.1.
* Lengths are one word and a Poisson number of further ones, which fits short queries (Arampatzis &
  Kamps, "A study of query length", SIGIR 2008); they end at six.
* Searches fall evenly over 43 days, AltaVista's six weeks. So queries keep coming up that were
  never searched before: some 18 % of the searches after four fifths of the log; Google says 15 % of
  those of a day (Gomes, "Our latest quality improvements for Search", 2017).
"""

import numpy as np
from numpy.typing import NDArray

from corpus.errors import InputError

SEARCHES_PER_QUERY = 3.97
LENGTH_PULL = 1.5
MORE_WORDS = 2.2
MOST_WORDS = 6
SECONDS = 43 * 24 * 3600
STEEPEST = 64.0  # an exponent at which every query is searched once


def default_searches(queries: int) -> int:
    """The number of searches of a log with so many distinct queries, 3.97 a query."""
    return round(SEARCHES_PER_QUERY * queries)


def check_searches(queries: int, searches: int) -> None:
    """Refuses a log that is too short for its queries.

    Raises:
        InputError: fewer searches than queries.
    """
    if searches < queries:
        raise InputError(f"{searches:,} sessions cannot cover {queries:,} queries; ask for more")


def power_law(queries: int, searches: int) -> NDArray[np.int64]:
    """Searches of each query by a discrete power law, the most frequent query first.

    The law's exponent is found so that the frequencies add up to `searches`. They are its quantiles
    at (i - 1/2) / queries, rather than draws, whose sum would be anyone's guess: its mean is mostly
    in its few highest values. What the quantiles lack of the sum is the most frequent query's.

    Args:
        queries: the number of distinct queries, at least 1.
        searches: the number of searches, at least the number of queries.

    Returns:
        int64 of shape (queries,), descending, each at least 1, with the sum `searches`.

    Raises:
        InputError: fewer searches than queries.
    """
    check_searches(queries, searches)
    log_count = np.log(np.arange(1, searches - queries + 2))
    position = (np.arange(queries, 0, -1) - 0.5) / queries

    def quantiles(exponent: float) -> NDArray[np.int64]:
        mass = np.cumsum(np.exp(-exponent * log_count))
        return 1 + np.searchsorted(mass, position * mass[-1])

    flatter, steeper = 0.0, STEEPEST
    for _ in range(40):
        middle = (flatter + steeper) / 2
        if quantiles(middle).sum() > searches:
            flatter = middle
        else:
            steeper = middle
    frequency = quantiles(steeper)
    frequency[0] += searches - frequency.sum()
    return frequency.astype(np.int64)


def draw_lengths(queries: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Words of each distinct query, int64 from 1 to 6, shape (queries,)."""
    words = 1 + rng.poisson(MORE_WORDS, size=queries)
    return np.minimum(words, MOST_WORDS).astype(np.int64)


def draw_frequencies(
    words: NDArray[np.int64], searches: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deals out the frequencies of a log, more often the high ones to short queries.

    Args:
        words: number of words of each query, shape (queries,).
        searches: the number of searches, at least the number of queries.
        rng: the source of randomness.

    Returns:
        Searches of each query, int64, at least 1, shape (queries,), with the sum `searches`.

    Raises:
        InputError: fewer searches than queries.
    """
    length = (words - words.mean()) / (words.std() or 1.0)
    order = np.argsort(LENGTH_PULL * length - rng.gumbel(size=len(words)), kind="stable")
    frequency = np.empty(len(words), dtype=np.int64)
    frequency[order] = power_law(len(words), searches)
    return frequency


def draw_times(searches: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """When each search of a log took place, in seconds from its start: int64, never falling."""
    return np.sort(rng.integers(SECONDS, size=searches))
